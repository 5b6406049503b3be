from __future__ import annotations

import numpy as np
import pytest

from tapeout.errors import TapeoutError, UsageError
from tapeout.lowering.passes.sparsify_weights import SparsifyWeights
from tapeout.lowering.pipeline import pass_text
from tapeout.lowering.quantization.pruning import Pruned, Pruning

import support

TEXT = """g (float[1, 4] x, float[4, 2] w, float[4, 2] v) => (float[1, 2] y, float[1, 2] z) {
    y = Gemm(x, w)
    z = MatMul(x, v)
}"""
DENSE = np.arange(1, 9, dtype=np.float32).reshape(4, 2)
SPARSE = np.where([[1], [0], [1], [0]], DENSE, 0).astype(np.float32)
PRUNING = Pruning({"y": Pruned(SPARSE, np.ones(2, np.float32)), "z": Pruned(SPARSE, None)})


def run(pruning: Pruning = PRUNING, keep: str = "") -> dict[str, list[list[float]]]:
    model = support.from_text(TEXT, w=DENSE, v=DENSE)
    found = support.Reference(SparsifyWeights(pruning, keep)(model).model).run(
        {"x": np.ones((1, 4), np.float32)}
    )
    return {name: array.tolist() for name, array in found.items()}


def test_weights_are_written_and_a_bias_is_added() -> None:
    assert run() == {"y": [[7, 9]], "z": [[6, 8]]}


def test_a_node_to_keep_stays_dense() -> None:
    assert run(keep="y") == {"y": [[16, 20]], "z": [[6, 8]]}


def test_the_text_names_the_numbers_by_their_digest() -> None:
    text = pass_text(SparsifyWeights(PRUNING, "y"))
    assert text == f"sparsify-weights{{pruning={PRUNING.digest[:12]},keep=y}}"


def test_a_pruning_of_another_model_is_refused_with_all_that_is_missing() -> None:
    other = Pruning({name: Pruned(SPARSE, None) for name in ("a", "b")})
    with pytest.raises(TapeoutError, match="another model") as caught:
        run(other)
    assert [problem.where for problem in caught.value.problems] == ["node 'a'", "node 'b'"]
    with pytest.raises(UsageError, match="keep"):
        run(keep="q")
