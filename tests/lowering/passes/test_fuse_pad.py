from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import dialect
from tapeout.lowering.passes.fuse_pad import FusePad

import support

WEIGHT = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)


def run(model: ir.Model) -> ir.Model:
    return FusePad()(model).model


def model_of(nodes: str, constants: str, channels: int, size: str) -> ir.Model:
    return support.from_text(
        f"""g (float[1,3,6,6] x, float[4,3,3,3] w)
            => (float[1,{channels},{size}] y, float[4,3,3,3] z) <{constants}> {{
            z = Neg(w)
            {nodes}
        }}""",
        w=WEIGHT,
    )


ZEROS = "int64[8] p = {0,0,1,0,0,0,2,1}"
LEAST = "float v = {-3.4028234663852886e38}"

#: Nodes, constants, channels and size of the output, pads and count_include_pad that come out.
FUSED = {
    "conv": ("a = Pad(x, p) y = Conv(a, w)", ZEROS, 4, "7,5", [1, 0, 2, 1], None),
    "conv that pads already": (
        "a = Pad(x, p) y = Conv<pads=[1,1,1,1], strides=[2,2]>(a, w)",
        ZEROS,
        4,
        "5,4",
        [2, 1, 3, 2],
        None,
    ),
    "conv that pads by name": (
        'a = Pad(x, p) y = Conv<auto_pad="SAME_UPPER">(a, w)',
        ZEROS,
        4,
        "9,7",
        [2, 1, 3, 2],
        None,
    ),
    "some axes": (
        "a = Pad(x, p, v, s) y = Conv(a, w)",
        "int64[2] p = {1,2}, int64[1] s = {-1}, float v = {0}",
        4,
        "4,7",
        [0, 1, 0, 2],
        None,
    ),
    "average": (
        "a = Pad(x, p) y = AveragePool<kernel_shape=[3,3]>(a)",
        ZEROS,
        3,
        "7,5",
        [1, 0, 2, 1],
        1,
    ),
    "average that counts pads": (
        "a = Pad(x, p) y = AveragePool<kernel_shape=[3,3], pads=[1,1,0,0], count_include_pad=1>(a)",
        ZEROS,
        3,
        "8,6",
        [2, 1, 2, 1],
        1,
    ),
    "max beside the least number": (
        "a = Pad(x, p, v) y = MaxPool<kernel_shape=[3,3]>(a)",
        f"{ZEROS}, {LEAST}",
        3,
        "7,5",
        [1, 0, 2, 1],
        None,
    ),
    "max after relu": (
        "r = Relu(x) a = Pad(r, p) y = MaxPool<kernel_shape=[3,3]>(a)",
        ZEROS,
        3,
        "7,5",
        [1, 0, 2, 1],
        None,
    ),
}


@pytest.mark.parametrize("name", FUSED)
def test_fuses(name: str) -> None:
    nodes, constants, channels, size, pads, counted = FUSED[name]
    after = support.assert_same_numbers(model_of(nodes, constants, channels, size), run)
    assert "Pad" not in [node.op_type for node in after.graph]
    last = after.graph[-1]
    assert last.attributes["pads"].as_ints() == tuple(pads)
    assert "auto_pad" not in last.attributes
    assert last.attributes.get_int("count_include_pad") == counted
    assert dialect.check(after) == []
    assert not FusePad()(after).modified


#: What stays, because the padding of the operator means something else.
LEFT = {
    "other numbers": ("a = Pad(x, p, v) y = Conv(a, w)", f"{ZEROS}, float v = {{1}}", 4, "7,5"),
    "reflected": ('a = Pad<mode="reflect">(x, p) y = Conv(a, w)', ZEROS, 4, "7,5"),
    "cropped": (
        "a = Pad(x, p) y = Conv(a, w)",
        "int64[8] p = {0,0,-1,0,0,0,2,1}",
        4,
        "5,5",
    ),
    "channels": (
        "b = Slice(x, s, e, one) a = Pad(b, p) y = Conv(a, w)",
        "int64[8] p = {0,1,0,0,0,0,0,0}, int64[1] s = {0}, int64[1] e = {2}, int64[1] one = {1}",
        4,
        "4,4",
    ),
    "max beside zeros": (
        "a = Pad(x, p) y = MaxPool<kernel_shape=[3,3]>(a)",
        ZEROS,
        3,
        "7,5",
    ),
    "windows without data": (
        "r = Relu(x) a = Pad(r, p) y = MaxPool<kernel_shape=[2,2]>(a)",
        "int64[8] p = {0,0,2,0,0,0,0,0}",
        3,
        "7,5",
    ),
    "sizes rounded up": (
        "r = Relu(x) a = Pad(r, p) y = MaxPool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(a)",
        ZEROS,
        3,
        "4,3",
    ),
    "average of what is there": (
        "a = Pad(x, p) y = AveragePool<kernel_shape=[3,3], pads=[1,1,0,0]>(a)",
        ZEROS,
        3,
        "8,6",
    ),
    "average beside ones": (
        "a = Pad(x, p, v) y = AveragePool<kernel_shape=[3,3]>(a)",
        f"{ZEROS}, float v = {{1}}",
        3,
        "7,5",
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_leaves(name: str) -> None:
    assert not FusePad()(model_of(*LEFT[name])).modified


def test_other_uses_of_the_padded_tensor() -> None:
    model = support.from_text(
        f"""g (float[1,3,6,6] x, float[4,3,3,3] w)
            => (float[1,4,7,5] y, float[1,3,9,7] z) <{ZEROS}> {{
            a = Pad(x, p)
            y = Conv(a, w)
            z = Neg(a)
        }}""",
        w=WEIGHT,
    )
    assert not FusePad()(model).modified


def test_computed_pads() -> None:
    model = support.from_text(
        """g (float[1,3,6,6] x, float[4,3,3,3] w, int64[8] p) => (float[1,4,7,5] y) {
            a = Pad(x, p)
            y = Conv(a, w)
        }""",
        w=WEIGHT,
    )
    model.graph[0].outputs[0].shape = ir.Shape([1, 3, 9, 7])
    assert not FusePad()(model).modified


def test_text() -> None:
    after = run(model_of("a = Pad(x, p) y = Conv(a, w)", ZEROS, 4, "7,5"))
    assert support.body(after).splitlines()[1] == (
        "y = Conv <kernel_shape: ints = [3, 3], strides: ints = [1, 1], dilations: ints = [1, 1], "
        "group: int = 1, pads: ints = [1, 0, 2, 1]> (x, w)"
    )
    assert list(after.graph.initializers) == ["w"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a = Pad(x, p) q = QuantizeLinear(a, s, z)", "r = DequantizeLinear(q, s, z)"),
        ("q = QuantizeLinear(x, s, z)", "a = Pad(q, p, z) r = DequantizeLinear(a, s, z)"),
        ("q = QuantizeLinear(x, s, z)", "d = DequantizeLinear(q, s, z) r = Pad(d, p)"),
    ],
)
@pytest.mark.parametrize(
    ("window", "size"),
    [("Conv(r, w)", "1,4,7,5"), ("AveragePool<kernel_shape=[3,3]>(r)", "1,3,7,5")],
)
def test_rounded_numbers(before: str, after: str, window: str, size: str) -> None:
    model = support.from_text(
        f"""g (float[1,3,6,6] x, float[4,3,3,3] w) => (float[{size}] y, float[4,3,3,3] v)
            <{ZEROS}, float s = {{0.03}}, uint8 z = {{97}}> {{
            {before} {after} y = {window} v = Neg(w)
        }}""",
        w=WEIGHT,
    )
    fused = support.assert_same_numbers(model, run)
    assert dialect.check(fused) == []
    kinds = [node.op_type for node in fused.graph if node.op_type != "Neg"]
    assert kinds == [
        "QuantizeLinear",
        "DequantizeLinear",
        window.partition("(")[0].partition("<")[0],
    ]
    assert [str(value.shape) for node in fused.graph for value in node.outputs][:2] == [
        "[1,3,6,6]",
        "[1,3,6,6]",
    ]


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ("q = QuantizeLinear(x, s, z) a = Pad(q, p) r = DequantizeLinear(a, s, z)", ""),
        (
            "a = Pad(x, p) o = QuantizeLinear(a, s, z) r = DequantizeLinear(o, s, z)",
            ", int8[1,3,9,7] o",
        ),
    ],
)
def test_rounded_numbers_that_stay_padded(nodes: str, outputs: str) -> None:
    """The integer 0 is no zero there; or the padded integers are used otherwise."""
    model = support.from_text(
        f"""g (float[1,3,6,6] x, float[4,3,3,3] w) => (float[1,4,7,5] y{outputs})
            <{ZEROS}, float s = {{0.03}}, int8 z = {{-9}}> {{ {nodes} y = Conv(r, w) }}""",
        w=WEIGHT,
    )
    assert not FusePad()(model).modified


@pytest.mark.parametrize("zero", [0, 1])
def test_maximum_of_integers_that_are_not_negative(zero: int) -> None:
    model = support.from_text(
        f"""g (uint8[1,3,6,6] x) => (float[1,3,7,5] y)
            <{ZEROS}, float s = {{0.03}}, uint8 z = {{{zero}}}> {{
            r = DequantizeLinear(x, s, z)
            a = Pad(r, p)
            y = MaxPool<kernel_shape=[3,3]>(a)
        }}"""
    )
    after = support.assert_same_numbers(model, run)
    kinds = [node.op_type for node in after.graph]
    assert kinds == ["DequantizeLinear", *["Pad"] * zero, "MaxPool"]
