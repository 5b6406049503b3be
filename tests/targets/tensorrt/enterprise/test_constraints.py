from __future__ import annotations

import numpy as np
import pytest

from tapeout.targets.tensorrt.enterprise.constraints import unsupported
from tapeout.targets.tensorrt.enterprise.operators import table_for

import support

OLD, NEW = table_for("10.3"), table_for("10.15")

I64 = np.int64
ONE, ZERO = np.float32(1), np.float32(0)


def found(graph: str, version: str = "10.15", **constants: np.ndarray | np.generic) -> list[str]:
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    model = support.from_text(graph, **arrays)
    return [str(problem) for problem in unsupported(model, table_for(version))]


#: A graph, its constants, and what is said of it; empty: it is taken.
CASES = {
    "an operator": (
        "m (float[2,3] x) => (float[2,3] y) { y = Gelu (x) }",
        {},
        "",
    ),
    "no operator": (
        "m (float[1,2,2] x) => (float[1] y) { y = Det (x) }",
        {},
        "is not in the list of operators for TensorRT 10.15",
    ),
    "a dtype": ("m (double[2] x) => (double[2] y) { y = Exp (x) }", {}, "'x' is DOUBLE"),
    "what a cast gives": (
        "m (float[2] x) => (double[2] y) { y = Cast <to=11> (x) }",
        {},
        "'y' is DOUBLE",
    ),
    "a condition": (
        "m (bool[2] c, float[2] x) => (float[2] y) { y = Where (c, x, x) }",
        {},
        "",
    ),
    "an index": (
        "m (float[4] x, int32[2] i) => (float[2] y) { y = Gather (x, i) }",
        {},
        "",
    ),
    "pooling over images": (
        "m (float[1,2,4,4] x) => (float[1,2,3,3] y) { y = MaxPool <kernel_shape=[2,2]> (x) }",
        {},
        "",
    ),
    "pooling over signals": (
        "m (float[1,2,4] x) => (float[1,2,3] y) { y = MaxPool <kernel_shape=[2]> (x) }",
        {},
        "the input has 3 dimensions",
    ),
    "gaps in a window": (
        "m (float[1,2,4,4] x) => (float[1,2,2,2] y) "
        "{ y = AveragePool <kernel_shape=[2,2], dilations=[2,2]> (x) }",
        {},
        "dilations = [2, 2]",
    ),
    "indices of a maximum": (
        "m (float[1,2,4,4] x) => (float[1,2,3,3] y, int64[1,2,3,3] i) "
        "{ y, i = MaxPool <kernel_shape=[2,2]> (x) }",
        {},
        "output 1, 'i', is asked for",
    ),
    "symmetric quantization": (
        "m (float[2] x, float s, int8 z) => (int8[2] y) { y = QuantizeLinear (x, s, z) }",
        {"s": ONE, "z": np.int8(0)},
        "",
    ),
    "a zero point": (
        "m (float[2] x, float s, int8 z) => (int8[2] y) { y = QuantizeLinear (x, s, z) }",
        {"s": ONE, "z": np.int8(3)},
        "its zero point is 3",
    ),
    "unsigned integers": (
        "m (float[2] x, float s) => (uint8[2] y) { y = QuantizeLinear (x, s) }",
        {"s": ONE},
        "'y' is UINT8",
    ),
    "a mode of resizing": (
        "m (float[1,1,2,2] x, float[4] s) => (float[1,1,4,4] y) "
        '{ y = Resize <mode="cubic"> (x, , s) }',
        {"s": np.array([1, 1, 2, 2], np.float32)},
        "mode = 'cubic'",
    ),
    "resizing": (
        "m (float[1,1,2,2] x, float[4] s) => (float[1,1,4,4] y) "
        '{ y = Resize <mode="linear", coordinate_transformation_mode="asymmetric"> (x, , s) }',
        {"s": np.array([1, 1, 2, 2], np.float32)},
        "",
    ),
    "the largest": (
        "m (float[9] x, int64[1] k) => (float[3] y, int64[3] i) { y, i = TopK (x, k) }",
        {"k": np.array([3], I64)},
        "",
    ),
    "too many of them": (
        "m (float[4000] x, int64[1] k) => (float[3840] y, int64[3840] i) { y, i = TopK (x, k) }",
        {"k": np.array([3840], I64)},
        "K = 3840",
    ),
    "in any order": (
        "m (float[9] x, int64[1] k) => (float[3] y, int64[3] i) { y, i = TopK <sorted=0> (x, k) }",
        {"k": np.array([3], I64)},
        "sorted = 0",
    ),
    "computed axes": (
        "m (float[2,3] x, int64[1] a) => (float[1,1] y) { y = ReduceSum (x, a) }",
        {},
        "input 1, 'a', is computed",
    ),
    "statistics of a normalization": (
        "m (float[2,3] x, float[3] s) => (float[2,3] y, float[2,1] v) "
        "{ y, u, v = LayerNormalization (x, s) }",
        {"s": np.ones(3, np.float32)},
        "output 2, 'v', is asked for",
    ),
    "sums of what is scattered": (
        "m (float[4] x, int64[1,1] i, float[1] u) => (float[4] y) "
        '{ y = ScatterND <reduction="add"> (x, i, u) }',
        {},
        "reduction = 'add'",
    ),
    "activations of two directions": (
        "m (float[2,1,3] x, float[2,4,3] w, float[2,4,4] r) => (float[2,2,1,4] y) { y = RNN "
        '<hidden_size=4, direction="bidirectional", activations=["Tanh","Relu"]> (x, w, r) }',
        {},
        "activations = ['Tanh', 'Relu']",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_list_of_operators(name: str) -> None:
    graph, constants, told = CASES[name]
    problems = found(graph, **constants)
    if told:
        assert len(problems) == 1
        assert told in problems[0]
        assert "TensorRT 10.15" in problems[0]
    else:
        assert problems == []


def test_every_node_is_told_with_the_version_of_the_list() -> None:
    graph = """m (float[1,2,2] x, double[2] w) => (float[1] y, double[2] v) {
        y = Det (x)
        v = Exp (w)
    }"""
    problems = found(graph, "10.3")
    assert [problem.split(":")[0] for problem in problems] == [
        "node 'y' (Det)",
        "node 'v' (Exp)",
    ]
    assert all("TensorRT 10.3" in problem for problem in problems)


@pytest.mark.parametrize(("version", "taken"), [("10.3", False), ("10.15", True)])
def test_newer_versions_take_more(version: str, taken: bool) -> None:
    graph = "m (float[2,3] x, float[3] s) => (float[2,3] y) { y = RMSNormalization (x, s) }"
    assert (found(graph, version, s=np.ones(3, np.float32)) == []) == taken
