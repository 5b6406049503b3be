from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.lowering import provenance
from tapeout.lowering.passes.fold_batch_norm import FoldBatchNorm

import support

RNG = np.random.default_rng(0)


def run(model: ir.Model) -> ir.Model:
    return FoldBatchNorm()(model).model


def draw(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def statistics(channels: int) -> dict[str, np.ndarray]:
    """Return scale s, bias b, mean m and variance v of a BatchNormalization."""
    values = {name: draw(channels) for name in "sbm"}
    return values | {"v": np.abs(draw(channels)) + np.float32(0.1)}


BN = "BatchNormalization(a, s, b, m, v)"
STATISTICS = "float[4] s, float[4] b, float[4] m, float[4] v"


def test_into_conv_behind_a_pad() -> None:
    model = support.from_text(
        f"""g (float[1,3,5,5] x, float[4,3,3,3] w, {STATISTICS}) => (float[1,4,5,5] y)
            <int64[8] p = {{0,0,1,1,0,0,1,1}}> {{
            padded = Pad(x, p)
            [conv] a = Conv(padded, w)
            [norm] n = {BN}
            y = Relu(n)
        }}""",
        w=draw(4, 3, 3, 3),
        **statistics(4),
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == (
        'padded = Pad (x, p)\na = Conv (padded, "conv/weight", "conv/bias")\ny = Relu (a)'
    )
    assert list(after.graph.initializers) == ["p", "conv/weight", "conv/bias"]
    assert provenance.origins(after.graph[1]) == ("conv", "norm")
    assert not FoldBatchNorm()(after).modified


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_into_conv_transpose(groups: int) -> None:
    model = support.from_text(
        f"""g (float[2,8,3,3] x, float[8,{4 // groups},2,2] w, float[4] c, {STATISTICS})
            => (float[2,4,4,4] y) {{
            a = ConvTranspose<group={groups}>(x, w, c)
            y = {BN}
        }}""",
        w=draw(8, 4 // groups, 2, 2),
        c=draw(4),
        **statistics(4),
    )
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph] == ["ConvTranspose"]


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("bias", ["", ", c"])
def test_into_gemm(turned: int, bias: str) -> None:
    shape = (4, 6) if turned else (6, 4)
    model = support.from_text(
        f"""g (float[2,6] x, float[{shape[0]},{shape[1]}] w, float[1,4] c, {STATISTICS})
            => (float[2,4] y) {{
            a = Gemm<transB={turned}, alpha=0.5, beta=3.0>(x, w{bias})
            y = {BN}
        }}""",
        w=draw(*shape),
        c=draw(1, 4),
        **statistics(4),
    )
    after = support.assert_same_numbers(model, run)
    (gemm,) = after.graph
    assert "beta" not in gemm.attributes
    assert after.graph.initializers["a/bias"].shape == (4,)


def test_a_chain_of_constants_per_channel_on_both_sides() -> None:
    model = support.from_text(
        """g (float[1,3,5,5] x, float[3,1,1] mean, float[3,1,1] deviation, float[4,3,2,2] w,
            float[4] c, float[1,4,1,1] g, float[4,1,1] o) => (float[1,4,4,4] y)
            <float two = {2}, float one = {1}> {
            d = Sub(x, mean)
            e = Div(d, deviation)
            a = Conv(e, w, c)
            h = Mul(g, a)
            i = Sub(o, h)
            j = Div(i, two)
            y = Add(one, j)
        }""",
        mean=draw(3, 1, 1),
        deviation=np.abs(draw(3, 1, 1)) + np.float32(0.5),
        w=draw(4, 3, 2, 2),
        c=draw(4),
        g=draw(1, 4, 1, 1),
        o=draw(4, 1, 1),
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == 'y = Conv (x, "a/weight_1", "a/bias_1")'
    assert provenance.origins(after.graph[0]) == ("d", "e", "a", "h", "i", "j", "y")


def test_where_the_operator_pads_only_the_scale_folds_backwards() -> None:
    text = """g (float[1,3,5,5] x, float[3,1,1] mean, float[3,1,1] scale, float[4,3,3,3] w)
        => (float[1,4,5,5] y) {
        d = Sub(x, mean)
        e = Mul(d, scale)
        y = Conv<PADS>(e, w)
    }"""
    figures = {"mean": draw(3, 1, 1), "scale": draw(3, 1, 1), "w": draw(4, 3, 3, 3)}
    for pads in ("pads=[1,1,1,1]", 'auto_pad="SAME_UPPER"'):
        model = support.from_text(text.replace("PADS", pads), **figures)
        after = support.assert_same_numbers(model, run)
        assert [node.op_type for node in after.graph] == ["Sub", "Conv"]


def test_a_batch_norm_before_a_conv_that_pads_becomes_mul_and_add() -> None:
    model = support.from_text(
        f"""g (float[1,4,5,5] a, float[2,4,3,3] w, {STATISTICS}) => (float[1,2,5,5] y) {{
            [norm] n = {BN}
            y = Conv<pads=[1,1,1,1]>(n, w)
        }}""",
        w=draw(2, 4, 3, 3),
        **statistics(4),
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == (
        '"norm/scaled" = Mul (a, "norm/scale")\nn = Add ("norm/scaled", "norm/offset")\n'
        "y = Conv <pads: ints = [1, 1, 1, 1]> (n, w)"
    )
    assert after.graph.initializers["norm/scale"].shape == (4, 1, 1)
    assert after.graph[0].outputs[0].shape == (1, 4, 5, 5)
    assert [provenance.origins(node) for node in after.graph] == [("norm",), ("norm",), ("y",)]
    assert not FoldBatchNorm()(after).modified


def test_a_batch_norm_before_gemm_and_conv_without_pads() -> None:
    model = support.from_text(
        f"""g (float[1,4,5,5] a, float[2,2,3,3] w, {STATISTICS}, float[2,4] q, float[4,3] u)
            => (float[1,2,3,3] y, float[2,3] z) {{
            n = {BN}
            y = Conv<group=2>(n, w)
            r = BatchNormalization(q, s, b, m, v)
            z = Gemm<alpha=2.0>(r, u)
        }}""",
        w=draw(2, 2, 3, 3),
        u=draw(4, 3),
        **statistics(4),
    )
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph] == ["Conv", "Gemm"]


def test_through_transposes() -> None:
    model = support.from_text(
        """g (float[1,5,5,3] x, float[3] mean, float[4,3,2,2] w, float[4] c, float[4] g)
            => (float[1,4,4,4] y) {
            d = Sub(x, mean)
            t = Transpose<perm=[0,3,1,2]>(d)
            a = Conv(t, w)
            u = Transpose<perm=[0,2,3,1]>(a)
            h = Mul(u, g)
            y = Add(h, c)
        }""",
        mean=draw(3),
        w=draw(4, 3, 2, 2),
        c=draw(4),
        g=draw(4),
    )
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph] == ["Transpose", "Conv", "Transpose"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes(dtype: type) -> None:
    name = {np.float16: "float16", np.float32: "float", np.float64: "double"}[dtype]
    model = support.from_text(
        f"""g ({name}[2,6] x, {name}[4,6] w, {name}[4] s, {name}[4] b, {name}[4] m, {name}[4] v)
            => ({name}[2,4] y) {{
            a = Gemm<transB=1>(x, w)
            y = {BN}
        }}""",
        w=draw(4, 6, dtype=dtype),
        **{key: value.astype(dtype) for key, value in statistics(4).items()},
    )
    after = support.assert_same_numbers(model, run, tolerance=4 * float(np.finfo(dtype).eps))
    assert [node.op_type for node in after.graph] == ["Gemm"]
    assert after.graph.initializers["a/weight"].dtype == after.graph.inputs[0].dtype


KEEPS = {
    "a value used twice": "a = Conv(x, w) h = Mul(a, g) y = Add(h, a)",
    "an output in between": "a = Conv(x, w) y = Identity(a) i = Mul(a, g) z = Identity(i)",
    "a weight that is not constant": "a = Conv(x, k) y = Mul(a, g)",
    "a bias that is not constant": "a = Conv(x, w, c) y = Mul(a, g)",
    "a constant along width": "a = Conv(x, w) y = Mul(a, wide)",
    "a constant that broadcasts": "a = Conv(x, w) h = Mul(a, five) y = ReduceMax<keepdims=1>(h, o)",
    "a factor that is not constant": "a = Conv(x, w) y = Mul(a, f)",
    "constant / x": "a = Conv(x, w) y = Div(g, a)",
    "division by zero": "a = Conv(x, w) y = Div(a, zero)",
}


@pytest.mark.parametrize("name", KEEPS)
def test_keeps(name: str) -> None:
    model = support.from_text(
        f"""g (float[1,3,4,4] x, float[4,3,1,1] w, float[4,3,1,1] k, float[4] c, float f,
            float[4,1,1] g, float[4] wide, float[5,1,1,1] five) => (float[1,4,4,4] y)
            <int64[1] o = {{0}}, float zero = {{0}}> {{
            {KEEPS[name]}
        }}""",
        w=draw(4, 3, 1, 1),
        g=draw(4, 1, 1),
        wide=draw(4),
        five=draw(5, 1, 1, 1),
    )
    if name == "an output in between":
        model.graph.outputs.append(model.graph[0].outputs[0])
    assert not FoldBatchNorm()(model).modified


@pytest.mark.parametrize(
    "node",
    [
        "y, p, q = BatchNormalization<training_mode=1>(a, s, b, m, v)",
        "y = BatchNormalization(a, s, f, m, v)",
    ],
)
def test_keeps_a_batch_norm_that_trains_or_has_variable_parameters(node: str) -> None:
    model = support.from_text(
        f"""g (float[1,4,2,2] x, float[4,4,1,1] w, {STATISTICS}, float[4] f)
            => (float[1,4,2,2] y) {{
            a = Conv(x, w)
            {node}
        }}""",
        w=draw(4, 4, 1, 1),
        **statistics(4),
    )
    assert not FoldBatchNorm()(model).modified


def test_keeps_what_would_overflow() -> None:
    model = support.from_text(
        """g (float16[2,4] x, float16[4,4] w, float16 f) => (float16[2,4] y) {
            a = Gemm(x, w)
            y = Mul(a, f)
        }""",
        w=np.full((4, 4), 3e4, np.float16),
        f=np.array(8, np.float16),
    )
    assert not FoldBatchNorm()(model).modified


def test_a_shared_weight_is_copied_only_as_far_as_allowed() -> None:
    model = support.from_text(
        """g (float[1,4] x, float[4,4] w, float[4] g, float[4] h) => (float[1,4] y, float[1,4] z) {
            a = Gemm(x, w)
            b = Gemm(x, w)
            y = Mul(a, g)
            z = Mul(b, h)
        }""",
        w=draw(4, 4),
        g=draw(4),
        h=draw(4),
    )
    text = ir.to_onnx_text(model)
    after = support.assert_same_numbers(model, lambda m: FoldBatchNorm(growth=63)(m).model)
    assert ir.to_onnx_text(after) == text
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph] == ["Gemm", "Gemm"]


def test_an_offset_alone_leaves_the_weight_as_it_is() -> None:
    weight = draw(4, 3, 1, 1)
    model = support.from_text(
        """g (float[1,3,2,2] x, float[4,3,1,1] w, float[4,1,1] c) => (float[1,4,2,2] y) {
            a = Conv(x, w)
            y = Add(a, c)
        }""",
        w=weight,
        c=draw(4, 1, 1),
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == 'y = Conv (x, w, "a/bias")'
    kept = after.graph.initializers["w"].const_value
    assert kept is not None
    assert np.shares_memory(kept.numpy(), weight)


@st.composite
def convolutions(drawn: st.DrawFn) -> tuple[str, dict[str, np.ndarray]]:
    """Draw a Conv or ConvTranspose of any attributes, with affine nodes on both sides."""
    integers = lambda low, high: drawn(st.integers(low, high))  # noqa: E731 - shorter than a def
    rank, groups, turned = integers(1, 3), integers(1, 3), drawn(st.booleans())
    inside, outside = groups * integers(1, 2), groups * integers(1, 2)
    kernel = [integers(1, 3) for _ in range(rank)]
    attributes = {
        "group": groups,
        "strides": [integers(1, 2) for _ in range(rank)],
        "dilations": [integers(1, 2) for _ in range(rank)],
        "pads": [integers(0, 1) for _ in range(rank)] * 2,
    }
    rng = np.random.default_rng(integers(0, 1000))
    shape = (inside, outside // groups) if turned else (outside, inside // groups)
    ones = [1] * rank
    constants = {
        "w": rng.standard_normal((*shape, *kernel)),
        "c": rng.standard_normal(outside),
        "before": rng.standard_normal((inside, *ones)),
        "shift": rng.standard_normal((inside, *ones)),
        "behind": rng.standard_normal((1, outside, *ones)),
        "s": rng.standard_normal(outside),
        "b": rng.standard_normal(outside),
        "m": rng.standard_normal(outside),
        "v": rng.random(outside) + 0.1,
    }
    listed = ", ".join(f"{name}={value}" for name, value in attributes.items())
    nodes = ["p = Mul(x, before)"]
    nodes.append(f"q = {'Add' if drawn(st.booleans()) else 'Mul'}(p, shift)")
    bias = ", c" if drawn(st.booleans()) else ""
    nodes.append(f"a = {'ConvTranspose' if turned else 'Conv'}<{listed}>(q, w{bias})")
    nodes.append(f"n = {BN}")
    nodes.append("y = Div(n, behind)")
    inputs = ", ".join(
        f"float{list(array.shape)} {name}".replace(" ", "", array.ndim - 1)
        for name, array in constants.items()
    )
    dims = ",".join(str(dim) for dim in (integers(1, 2), inside, *[7] * rank))
    result = ",".join(f"d{index}" for index in range(rank + 2))
    text = f"g (float[{dims}] x, {inputs}) => (float[{result}] y) {{ {' '.join(nodes)} }}"
    return text, {name: array.astype(np.float32) for name, array in constants.items()}


@settings(max_examples=60)
@given(convolutions())
def test_any_convolution(drawn: tuple[str, dict[str, np.ndarray]]) -> None:
    text, constants = drawn
    after = support.assert_same_numbers(support.from_text(text, **constants), run, tolerance=1e-4)
    kinds = [node.op_type for node in after.graph]
    assert kinds[-1].startswith("Conv")
    assert set(kinds) <= {"Mul", "Add", "Conv", "ConvTranspose"}


def integers(behind: str, bias: str = "") -> ir.Model:
    """Return a convolution whose weights, and perhaps bias, are integers, and what follows."""
    bias_model = "c = DequantizeLinear<axis=0>(ci, cs)" if bias == "c" else ""
    return support.from_text(
        f"""g (float[1,3,5,5] x, int8[4,3,3,3] w, float[4] ws, {STATISTICS},
               float[4,1,1] k, float[4] f) => (float[1,4,3,3] y)
            <int32[4] ci = {{100,-200,300,-400}}, float cs = {{0.01}}> {{
            r = DequantizeLinear<axis=0>(w, ws)
            {bias_model}
            a = Conv(x, r{", " * bool(bias)}{bias})
            {behind}
        }}""",
        w=RNG.integers(-127, 128, (4, 3, 3, 3), np.int8),
        ws=RNG.uniform(0.01, 0.1, 4).astype(np.float32),
        k=draw(4, 1, 1),
        f=draw(4),
        **statistics(4),
    )


@pytest.mark.parametrize(
    ("behind", "bias", "left"),
    [
        (f"y = {BN}", "", ["Conv", "Mul", "Add"]),
        (f"y = {BN}", "f", ["Conv", "Mul", "Add"]),
        (f"y = {BN}", "c", ["Conv", "Mul", "Add"]),
        ("y = Add(a, k)", "", ["Conv"]),
        ("e = Add(k, a) y = Sub(e, k)", "f", ["Conv"]),
        (f"h = Add(a, k) y = {BN.replace('(a', '(h')}", "", ["Conv", "Mul", "Add"]),
        ("y = Mul(a, k)", "", ["Conv", "Mul"]),
        ("y = Add(a, k)", "c", ["Conv", "Add"]),
    ],
)
def test_behind_weights_that_are_integers(behind: str, bias: str, left: list[str]) -> None:
    after = support.assert_same_numbers(integers(behind, bias), run)
    kinds = [node.op_type for node in after.graph if node.op_type != "DequantizeLinear"]
    assert kinds == left
    conv = next(node for node in after.graph if node.op_type == "Conv")
    weight = conv.inputs[1]
    assert weight is not None
    assert weight.name == "r"
    assert not FoldBatchNorm()(after).modified


def test_before_weights_that_are_integers() -> None:
    model = support.from_text(
        """g (float[1,3,5,5] x, int8[4,3,3,3] w) => (float[1,4,3,3] y)
            <float s = {0.5}, float[3,1,1] k = {1,2,3}> {
            r = DequantizeLinear(w, s)
            m = Mul(x, k)
            y = Conv(m, r)
        }""",
        w=RNG.integers(-127, 128, (4, 3, 3, 3), np.int8),
    )
    assert not FoldBatchNorm()(model).modified
