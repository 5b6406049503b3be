"""Every constraint: what it refuses, what it lets through, and that the reason is told."""

from __future__ import annotations

import numpy as np
import pytest

from tapeout.lowering import own_operators
from tapeout.lowering.dialect import DOMAIN
from tapeout.targets.tvm import constraints
from tapeout.targets.tvm.constraints import OPERATORS, check

import support

#: What is refused -> the graph, its constants, and what the message must name.
REFUSED: dict[str, tuple[str, dict[str, np.ndarray], tuple[str, ...]]] = {
    "unknown operator": (
        "g (float[2,2] x) => (float y) { y = Det(x) }",
        {},
        ("node 'y' (Det)", "'Det'"),
    ),
    "dtype": (
        "g (float[2] x) => (float[2] y) { e = Cast <to = 17> (x) y = Cast <to = 1> (e) }",
        {},
        ("'e' is FLOAT8E4M3FN", "integers of 8 to 64 bits"),
    ),
    "no elements": (
        "g (float[0,2] x, float[1] b) => (float[0,2] y) { y = Add(x, b) }",
        {},
        ("'y' has shape [0, 2]", "without elements"),
    ),
    "computed steering": (
        "g (float[4] x, int64[1] r) => (float[8] y) { y = Tile(x, r) }",
        {},
        ("input 1, 'r', is computed", "must be a constant"),
    ),
    "indices of a pooling": (
        "g (float[1,1,4,4] x) => (float[1,1,2,2] y, int64[1,1,2,2] i)"
        " { y, i = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x) }",
        {},
        ("output 1, 'i', is asked for", "where they were found"),
    ),
    "weighted maximum": (
        "g (float[1,1,4,4] x, float[1,4] r, int64[1] b) => (float[1,1,1,1] y)"
        ' { y = RoiAlign <mode = "max", sampling_ratio = 2> (x, r, b) }',
        {},
        ("mode = 'max'", "weighted neighbours"),
    ),
    "samples that depend on data": (
        "g (float[1,1,4,4] x, float[1,4] r, int64[1] b) => (float[1,1,1,1] y)"
        " { y = RoiAlign (x, r, b) }",
        {},
        ("sampling_ratio = 0", "is data"),
    ),
    "places in double precision": (
        "g (double[1,1,2,2] x, double[1,1,1,2] p) => (double[1,1,1,1] y) { y = GridSample(x, p) }",
        {},
        ("'x' is DOUBLE", "single precision"),
    ),
    "interpolated integers": (
        "g (uint8[1,1,4] x, float[3] s) => (uint8[1,1,8] y)"
        ' { y = Resize <mode = "linear"> (x, , s) }',
        {"s": np.array([1, 1, 2], np.float32)},
        ("mode = 'linear' of UINT8", "cast to float"),
    ),
    "a broken length": (
        "g (float[1,1,5] x, float[3] s) => (float[1,1,8] y)"
        ' { y = Resize <coordinate_transformation_mode = "align_corners", mode = "linear">'
        " (x, , s) }",
        {"s": np.array([1, 1, 1.7], np.float32)},
        ("align_corners to a length of 8.5", "give sizes"),
    ),
    "a region that is data": (
        "g (float[1,1,4] x, float[6] r, float[3] s) => (float[1,1,8] y)"
        ' { y = Resize <coordinate_transformation_mode = "tf_crop_and_resize"> (x, r, s) }',
        {"s": np.array([1, 1, 2], np.float32)},
        ("input 1, 'r', is computed",),
    ),
    "narrow integers": (
        "g (float[2] x, float s, int4 z) => (int4[2] y) { y = QuantizeLinear(x, s, z) }",
        {},
        ("INT4",),
    ),
    "many ranked": (
        "g (float[100000] x, int64[1] k) => (float[1] v, int64[1] i) { v, i = TopK(x, k) }",
        {"k": np.array([1])},
        ("100000 elements", "every other"),
    ),
    "many steps": (
        "g (float[600,1,1] x, float[1,1,1] w, float[1,1,1] r) => (float[600,1,1,1] y)"
        " { y = RNN <hidden_size = 1> (x, w, r) }",
        {},
        ("600 steps", "in pieces"),
    ),
    "short sequences": (
        "g (float[3,1,1] x, float[1,1,1] w, float[1,1,1] r, int32[1] n) => (float[3,1,1,1] y)"
        " { y = RNN <hidden_size = 1> (x, w, r, , n) }",
        {"n": np.array([2], np.int32)},
        ("sequence_lens, 'n', is [2]",),
    ),
    "other activations": (
        "g (float[3,1,1] x, float[1,1,1] w, float[1,1,1] r) => (float[3,1,1,1] y)"
        ' { y = RNN <hidden_size = 1, activations = ["Softsign"]> (x, w, r) }',
        {},
        ("activation 'Softsign'",),
    ),
    "parameters of activations": (
        "g (float[3,1,1] x, float[1,1,1] w, float[1,1,1] r) => (float[3,1,1,1] y)"
        " { y = RNN <hidden_size = 1, activation_alpha = [0.5]> (x, w, r) }",
        {},
        ("activation_alpha = [0.5]",),
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


def test_all_problems_are_reported_at_once() -> None:
    model = support.from_text(
        "g (float[4] x, int64[1] r, int64[2] n) => (float[2,2] d)"
        " { t = Tile(x, r) u = Tile(x, r) s = Reshape(x, n) d0 = Det(s) d = Add(s, d0) }",
        n=np.array([2, 2]),
    )
    assert [problem.where for problem in check(model)] == [
        "node 't' (Tile)",
        "node 'u' (Tile)",
        "node 'd0' (Det)",
    ]


def test_a_window_of_four_dimensions() -> None:
    model = support.from_text(
        "g (float[1,1,2,2,2,2] x) => (float[1,1,1,1,1,1] y)"
        " { y = MaxPool <kernel_shape = [2, 2, 2, 2]> (x) }"
    )
    assert "there are 4" in str(check(model)[0])


def test_lengths_that_say_the_whole_sequence_are_taken() -> None:
    model = support.from_text(
        "g (float[3,2,1] x, float[1,1,1] w, float[1,1,1] r, int32[2] n) => (float[3,1,2,1] y)"
        " { y = RNN <hidden_size = 1> (x, w, r, , n) }",
        n=np.array([3, 3], np.int32),
    )
    assert check(model) == []


def test_too_many_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model = support.from_text(
        "g (float[64] x, float[64] w) => (float[64] y) { y = Mul(x, w) }",
        w=np.ones(64, np.float32),
    )
    assert check(model) == []
    monkeypatch.setattr(constraints, "MAX_WEIGHTS", 255)
    assert "take 256 bytes" in str(check(model)[0])


def test_every_operator_with_a_converter_is_in_the_table_and_no_other() -> None:
    from tapeout.targets.tvm.converters import CONVERTERS

    assert {name for domain, name in CONVERTERS if domain == ""} == set(OPERATORS)
    own = {name for domain, name in CONVERTERS if domain == DOMAIN}
    assert own == set(own_operators.operators())
    assert {domain for domain, _ in CONVERTERS} == {"", DOMAIN}


def test_every_constraint_says_its_reason() -> None:
    rows = [constraint for row in OPERATORS.values() for constraint in row]
    for constraint in (constraints.supported_dtypes, constraints.some_elements, *rows):
        assert (constraint.__doc__ or "").strip().endswith(".")


def test_values_that_an_operator_leaves_out_are_no_problem() -> None:
    model = support.from_text(
        "g (float[4] x, float m) => (float[4] y) { y = Clip(x, , m) }", m=np.float32(1)
    )
    assert check(model) == []
