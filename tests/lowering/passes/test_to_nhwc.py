from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tapeout.lowering import dialect, provenance
from tapeout.lowering.passes.to_nhwc import ToNhwc

import support

RNG = np.random.default_rng(0)


def run(model: ir.Model) -> ir.Model:
    return ToNhwc()(model).model


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def test_conv_between_transposes() -> None:
    model = support.from_text(
        """g (float[1,3,8,8] x, float[4,3,3,3] w, float[4] b) => (float[1,4,4,4] y) {
            [conv] y = Conv<strides=[2,2], auto_pad="SAME_UPPER">(x, w, b)
        }""",
        w=draw(4, 3, 3, 3),
        b=draw(4),
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "\n".join(
        [
            '"conv/transpose" = Transpose <perm: ints = [0, 2, 3, 1]> (x)',
            '"y/transpose" = tapeout.ConvNhwc <kernel_shape: ints = [3, 3], '
            "strides: ints = [2, 2], dilations: ints = [1, 1], group: int = 1, "
            'pads: ints = [0, 0, 1, 1]> ("conv/transpose", w, b)',
            'y = Transpose <perm: ints = [0, 3, 1, 2]> ("y/transpose")',
        ]
    )
    assert after.graph[1].name == "conv"
    assert provenance.origins(after.graph[1]) == ("conv",)
    assert dialect.check(after) == []
    onnx.checker.check_model(ir.to_proto(after), full_check=True)
    assert not ToNhwc()(after).modified


@pytest.mark.parametrize("space", [(5,), (5, 6), (3, 4, 5)])
def test_transposed_convolutions_where_asked(space: tuple[int, ...]) -> None:
    rank = len(space)
    sizes = ",".join(map(str, (1, 4, *space)))
    model = support.from_text(
        f"""g (float[{sizes}] x, float[4,{",".join("3" * (rank + 1))}] w, float[6] b)
            => (float[{",".join("?" * (rank + 2))}] y) {{
            y = ConvTranspose<strides={[2] * rank}, group=2, output_padding={[1] * rank},
                pads={[1] * 2 * rank}>(x, w, b)
        }}""",
        w=draw(4, *[3] * (rank + 1)),
        b=draw(6),
    )
    assert not run(model.clone()).functions
    layouts = ToNhwc(transposed=True, volumes=rank == 3)
    after = support.assert_same_numbers(model, lambda it: layouts(it).model)
    assert [node.op_type for node in after.graph][1] == f"ConvTransposeN{'dhw'[3 - rank :]}c"
    assert dialect.check(after) == []


def test_definition_is_a_function_of_the_model() -> None:
    model = support.from_text(
        """g (float[1,3,8,8] x) => (float[1,3,4,4] y) {
            y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)
        }"""
    )
    after = run(model)
    assert list(after.functions) == [("tapeout", "MaxPoolNhwc", "")]
    function = ir.to_proto(after).functions[0]
    text = " ".join(onnx.printer.to_text(function).split())
    assert text == (
        '< domain: "tapeout", opset_import: ["" : 26] > '
        "MaxPoolNhwc <ceil_mode,dilations,kernel_shape,pads,strides>(x) => (y) { "
        "channels_first = Transpose <perm: ints = [0, 3, 1, 2]> (x) "
        "result = MaxPool <ceil_mode: int = @ceil_mode, dilations: ints = @dilations, "
        "kernel_shape: ints = @kernel_shape, pads: ints = @pads, strides: ints = @strides> "
        "(channels_first) y = Transpose <perm: ints = [0, 2, 3, 1]> (result) }"
    )


#: Node over x (float[2,4,9,8]) or s (float[2,4,9]), our operator, and the shape of the weight.
CONVERTED = {
    "grouped": ("Conv<group=2, pads=[1,0,1,2]>(x, w)", "ConvNhwc", (6, 2, 3, 3)),
    "depthwise": ("Conv<group=4>(x, w)", "ConvNhwc", (4, 1, 3, 3)),
    "dilated": ("Conv<dilations=[2,1]>(x, w)", "ConvNhwc", (5, 4, 3, 2)),
    "signal": ('Conv<auto_pad="SAME_LOWER">(s, w)', "ConvNwc", (5, 4, 3)),
    "max": ("MaxPool<kernel_shape=[3,2], ceil_mode=1, strides=[2,3]>(x)", "MaxPoolNhwc", None),
    "max of a signal": ("MaxPool<kernel_shape=[3], pads=[1,0]>(s)", "MaxPoolNwc", None),
    "average": (
        "AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x)",
        "AveragePoolNhwc",
        None,
    ),
    "average of what is there": (
        'AveragePool<kernel_shape=[3,3], auto_pad="SAME_UPPER">(x)',
        "AveragePoolNhwc",
        None,
    ),
    "average of a signal": ("AveragePool<kernel_shape=[2]>(s)", "AveragePoolNwc", None),
    "global average": ("GlobalAveragePool(x)", "GlobalAveragePoolNhwc", None),
    "global average of a signal": ("GlobalAveragePool(s)", "GlobalAveragePoolNwc", None),
    "global max": ("GlobalMaxPool(x)", "GlobalMaxPoolNhwc", None),
    "global max of a signal": ("GlobalMaxPool(s)", "GlobalMaxPoolNwc", None),
}


def over(node: str, weight: tuple[int, ...] | None) -> ir.Model:
    """Return a model of one node over x or s."""
    data = "float[2,4,9] s" if "(s" in node else "float[2,4,9,8] x"
    result = "float[a,b,c]" if "(s" in node else "float[a,b,c,d]"
    given = {} if weight is None else {"w": draw(*weight)}
    inputs = data if weight is None else f"{data}, float{list(weight)} w"
    model = support.from_text(f"g ({inputs}) => ({result} y) {{ a = {node} y = Neg(a) }}", **given)
    model.graph.outputs[0].shape = model.graph[0].outputs[0].shape
    return model


@pytest.mark.parametrize("name", CONVERTED)
def test_converts(name: str) -> None:
    node, wanted, weight = CONVERTED[name]
    after = support.assert_same_numbers(over(node, weight), run)
    assert [node.op_type for node in after.graph] == ["Transpose", wanted, "Transpose", "Neg"]
    assert dialect.check(after) == []
    onnx.checker.check_model(ir.to_proto(after), full_check=True)


@pytest.mark.parametrize("dtype", ["double", "int8", "uint8"])
def test_other_dtypes(dtype: str) -> None:
    model = support.from_text(
        f"""g ({dtype}[1,3,5,5] x) => ({dtype}[1,3,4,4] y) {{
            y = MaxPool<kernel_shape=[2,2]>(x)
        }}"""
    )
    after = support.assert_same_numbers(model, run, tolerance=0)
    assert after.graph[1].op_type == "MaxPoolNhwc"


def test_unused_indices_are_dropped() -> None:
    model = support.from_text(
        """g (float[1,3,8,8] x) => (float[1,3,4,4] y) {
            y, indices = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert after.graph[1].op_type == "MaxPoolNhwc"
    assert len(after.graph[1].outputs) == 1


LEFT = {
    "indices": "y, i = MaxPool<kernel_shape=[2,2]>(x)",
    "volume": "v = Reshape(x, s) a = MaxPool<kernel_shape=[1,2,2]>(v) y = Exp(a)",
    "transposed convolution": "y = ConvTranspose(x, w)",
}


@pytest.mark.parametrize("name", LEFT)
def test_leaves(name: str) -> None:
    outputs = {
        "indices": "float[1,3,7,7] y, int64[1,3,7,7] i",
        "volume": "float[1,1,3,7,7] y",
        "transposed convolution": "float[1,4,10,10] y",
    }[name]
    model = support.from_text(
        f"g (float[1,3,8,8] x, float[3,4,3,3] w) => ({outputs}) <int64[5] s = {{1,1,3,8,8}}>"
        f" {{ {LEFT[name]} }}",
        w=draw(3, 4, 3, 3),
    )
    assert not ToNhwc()(model).modified


def test_functions_that_nothing_uses_any_longer_go() -> None:
    model = run(over("GlobalMaxPool(x)", None))
    model.graph[1].op_type = "GlobalAveragePoolNhwc"
    assert ToNhwc()(model).modified
    assert list(model.functions) == [("tapeout", "GlobalAveragePoolNhwc", "")]
