"""The 2:4 pattern: where it is looked for, and which nodes sparse kernels take."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.quantization.linear import Linear
from tapeout.lowering.quantization.sparsity import is_sparse, objections

import support


def node_of(operator: str, x: list[int], weight: np.ndarray, y: list[int]) -> ir.Model:
    return support.from_text(
        f"g (float{x} x, float{list(weight.shape)} w) => (float{y} y) {{ y = {operator}(x, w) }}",
        w=weight,
    )


def pattern(channels: int, *, broken: bool) -> np.ndarray:
    """Return ones at two of every four consecutive channels, each time others; or at three once."""
    places = np.arange(channels // 4)
    found = np.zeros((len(places), 4), np.float32)
    found[places, places % 4] = found[places, (places + 1) % 4] = 1
    found[-1, :3] = 1 if broken else found[-1, :3]
    return found.reshape(-1)


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("operator", ["Conv", "Gemm", "Gemm<transB=1>", "MatMul"])
def test_the_pattern_runs_along_the_input_channels(operator: str, *, broken: bool) -> None:
    row = pattern(16, broken=broken)
    if operator == "Conv":
        weight = np.broadcast_to(row[None, :, None, None], (8, 16, 3, 3)).copy()
        model = node_of("Conv<pads=[1,1,1,1]>", [1, 16, 4, 4], weight, [1, 8, 4, 4])
    else:
        weight = np.tile(row, (8, 1)) if "transB" in operator else np.tile(row[:, None], (1, 8))
        model = node_of(operator, [2, 16], weight, [2, 8])
    [node] = model.graph
    assert is_sparse(Linear.of(node)) is not broken
    [reason] = objections(model).values()
    assert reason == (None if broken else "its weights have the pattern already")


#: Operator, shapes of input, weight and output, and what speaks against it.
REFUSED = {
    "Conv": ([1, 3, 4, 4], (8, 3, 1, 1), [1, 8, 4, 4], "3 input channels, no multiple of 16"),
    "MatMul": ([2, 32], (32, 10), [2, 10], "10 output channels, no multiple of 8"),
    "Conv<group=4>": ([1, 64, 4, 4], (8, 16, 1, 1), [1, 8, 4, 4], "in 4 groups"),
    "ConvTranspose": ([1, 16, 4, 4], (16, 8, 1, 1), [1, 8, 4, 4], "no ConvTranspose"),
    "MatMul<>": ([3, 2, 16], (3, 16, 8), [3, 2, 8], "3 dimensions, not 2"),
}


@pytest.mark.parametrize("operator", REFUSED)
def test_nodes_that_sparse_kernels_do_not_take_are_named_with_the_reason(operator: str) -> None:
    x, w, y, why = REFUSED[operator]
    model = node_of(operator.replace("<>", ""), x, np.ones(w, np.float32), y)
    assert why in (objections(model)["y"] or "")


def test_a_product_of_two_computed_values_is_named() -> None:
    model = support.from_text(
        "g (float[16, 16] x) => (float[16, 16] y) { y = MatMul(x, x) }",
    )
    assert objections(model) == {"y": "its weight is computed"}
