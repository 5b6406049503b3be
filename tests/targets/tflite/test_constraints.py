"""Every constraint: what it refuses, what it lets through, and that the reason is told."""

from __future__ import annotations

import litert
import numpy as np
import pytest

from tapeout.errors import ModelError
from tapeout.lowering import recurrent
from tapeout.targets.tflite import constraints
from tapeout.targets.tflite.constraints import OPERATORS, check
from tapeout.targets.tflite.converters import CONVERTERS
from tapeout.targets.tflite.lower import to_tflite

import support

#: What is refused -> the graph, its constants, and what the message must name.
REFUSED: dict[str, tuple[str, dict[str, np.ndarray], tuple[str, ...]]] = {
    "unknown operator": (
        "g (float[2,2] x) => (float y) { y = Det(x) }",
        {},
        ("node 'y' (Det)", "'Det'"),
    ),
    "dtype of an input": (
        "g (double[2] x) => (double[2] y) { y = Abs(x) }",
        {},
        ("input 'x'", "node 'y' (Abs)", "'x' is DOUBLE"),
    ),
    "dtype in between": (
        "g (float[2] x) => (float[2] y) { e = Cast <to = 11> (x) y = Cast <to = 1> (e) }",
        {},
        ("'e' is DOUBLE", "uint8"),
    ),
    "dtype of a kernel": (
        "g (int64[2] x, int64[2] z) => (int64[2] y) { y = Div(x, z) }",
        {},
        ("node 'y' (Div)", "the kernel of DIV takes no int64 but float32, int32"),
    ),
    "int8 without a scale": (
        "g (int8[2] x, int8[2] z) => (int8[2] y) { y = Add(x, z) }",
        {},
        ("the kernel of ADD takes no int8",),
    ),
    "rank of a kernel": (
        "g (float[1,1,1,1,2,2] x, float[1,1,1,1,2,2] z) => (float[1,1,1,1,2,2] y)"
        " { y = MatMul(x, z) }",
        {},
        ("the kernel of BATCH_MATMUL takes 5 dimensions, not 6",),
    ),
    "rank": (
        "g (float[1,1,1,1,1,1,2] x) => (float[1,1,1,1,1,1,2] y) { y = Abs(x) }",
        {},
        ("takes 6 dimensions, not 7",),
    ),
    "no elements": (
        "g (float[0,2] x) => (float[0,2] y) { y = Abs(x) }",
        {},
        ("'x' has shape [0, 2]", "without elements"),
    ),
    "computed steering": (
        "g (float[4] x, int64[1] r) => (float[8] y) { y = Tile(x, r) }",
        {},
        ("input 1, 'r', is computed", "must be a constant"),
    ),
    "space of three dimensions": (
        "g (float[1,1,4,4,4] x) => (float[1,1,2,2,2] y)"
        " { y = MaxPool <kernel_shape = [2,2,2], strides = [2,2,2]> (x) }",
        {},
        ("there are 3",),
    ),
    "indices of a pooling": (
        "g (float[1,1,4,4] x) => (float[1,1,2,2] y, int64[1,1,2,2] i)"
        " { y, i = MaxPool <kernel_shape = [2,2], strides = [2,2]> (x) }",
        {},
        ("output 1, 'i', is asked for", "not their places"),
    ),
    "scales that are computed": (
        "g (float[4] x, float s, int8 z) => (int8[4] y) { y = QuantizeLinear(x, s, z) }",
        {},
        ("'s' is computed",),
    ),
    "unsigned integers": (
        "g (float[4] x, float s, uint8 z) => (float[4] y)"
        " { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }",
        {"s": np.array(0.1, np.float32), "z": np.array(3, np.uint8)},
        ("node 'q'", "node 'y'", "the integers are UINT8"),
    ),
    "a power that may be negative": (
        "g (int32[4] x, int32[4] p) => (int32[4] y) { y = Pow(x, p) }",
        {},
        ("may be negative",),
    ),
    "a power of another dtype": (
        "g (int64[4] x, int32[4] p) => (int64[4] y) { y = Pow(x, p) }",
        {},
        ("INT64 is raised to INT32",),
    ),
    "interpolated integers": (
        "g (uint8[1,1,4] x, float[3] s) => (uint8[1,1,8] y)"
        ' { y = Resize <mode = "linear"> (x, , s) }',
        {"s": np.array([1, 1, 2], np.float32)},
        ("mode = 'linear' of UINT8", "cast to float"),
    ),
    "an infinite output": (
        "g (float[4] x, bool[4] c, float l, float h) => (float[4] y)"
        " { m = Where(c, l, h) y = Add(x, m) }",
        {"l": np.array(-np.inf, np.float32), "h": np.array(0, np.float32)},
        ("'l'", "infinite in places", "largest finite"),
    ),
    "the greatest of what is scattered": (
        "g (float[4] x, int64[65,1] i, float[65] u) => (float[4] y)"
        ' { y = ScatterND <reduction = "max"> (x, i, u) }',
        {},
        ("node 'y' (ScatterND)", "65 updates in turn", "64 are the most"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_with_the_reason(name: str) -> None:
    graph, arrays, said = REFUSED[name]
    problems = check(support.from_text(graph, **arrays))
    assert problems
    message = "\n".join(map(str, problems))
    for words in said:
        assert words in message


def test_all_problems_are_reported_at_once_in_the_order_of_the_graph() -> None:
    model = support.from_text(
        "g (float[4] x, int64[1] r, int64[2] n) => (float[2,2] d)"
        " { t = Tile(x, r) u = Tile(x, r) s = Reshape(x, n) d0 = Det(s) d = Add(s, d0) }",
        n=np.array([2, 2]),
    )
    named = ["node 't' (Tile)", "node 'u' (Tile)", "node 'd0' (Det)"]
    assert [problem.where for problem in check(model)] == named
    with pytest.raises(ModelError) as caught:
        to_tflite(model)
    assert [problem.where for problem in caught.value.problems] == named


def test_too_many_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model = support.from_text(
        "g (float[64] x, float[64] w) => (float[64] y) { y = Mul(x, w) }",
        w=np.ones(64, np.float32),
    )
    assert check(model) == []
    monkeypatch.setattr(constraints, "MAX_WEIGHTS", 255)
    assert "take 256 bytes" in str(check(model)[0])


def test_every_row_is_of_an_operator_that_can_be_written() -> None:
    known = {name.removesuffix("Nhwc").removesuffix("Nwc") for _, name in CONVERTERS}
    assert set(OPERATORS) <= known | {"DequantizeLinear", *recurrent.GATES}


def test_every_constraint_says_its_reason() -> None:
    rows = [constraint for row in OPERATORS.values() for constraint in row]
    for constraint in (constraints.supported_dtypes, constraints.some_elements, *rows):
        assert (constraint.__doc__ or "").strip().endswith(".")


def test_masks_that_are_infinite_inside_are_taken() -> None:
    model = support.from_text(
        "g (float[2,4] x, float[2,4] m) => (float[2,4] y) { s = Add(x, m) y = Softmax(s) }",
        m=np.array([[0, 0, -np.inf, 0], [0, -np.inf, 0, 0]], np.float32),
    )
    litert.assert_same(model)
