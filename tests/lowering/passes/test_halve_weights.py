"""Weights in half precision, and back: what is stored shorter, what stays, and that no more is."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.errors import UsageError
from tapeout.lowering import dialect
from tapeout.lowering.canonical import canonical
from tapeout.lowering.passes.halve_weights import HalveWeights, unfit
from tapeout.lowering.passes.widen_weights import WidenWeights

import quantized
import support

RNG = np.random.default_rng(0)


def network(**changed: np.ndarray) -> ir.Model:
    """Two products and a sum that reads the second weight as well."""
    arrays = {
        "w": RNG.standard_normal((8, 4)).astype(np.float32),
        "b": RNG.standard_normal(8).astype(np.float32),
        "v": RNG.standard_normal((8, 8)).astype(np.float32),
        **changed,
    }
    return support.from_text(
        """g (float[8,4] x, float[8,4] w, float[8] b, float[8,8] v) => (float[8,8] y) {
            p = Gemm <transB = 1> (x, w, b) q = MatMul(p, v) y = Add(q, v)
        }""",
        **arrays,
    )


def test_weights_are_cast_from_half_precision() -> None:
    model = network()
    after = support.assert_same_numbers(
        model, lambda item: HalveWeights(minimum=32)(item).model, tolerance=1e-3
    )
    assert dialect.check(after) == []
    assert support.body(after) == (
        '"p/float32" = Cast <to: int = 1> ("p/halves")\n'
        'p = Gemm <transB: int = 1> (x, "p/float32", b)\n'
        "q = MatMul (p, v)\n"
        "y = Add (q, v)"
    )
    assert after.graph.initializers["p/halves"].dtype == ir.DataType.FLOAT16
    assert HalveWeights(minimum=32)(after).modified is False


@pytest.mark.parametrize("options", [{"minimum": 33}, {"keep": "p", "minimum": 1}, {"exact": True}])
def test_weights_that_stay(options: dict[str, object]) -> None:
    assert HalveWeights(**options)(network()).modified is False  # type: ignore[arg-type]  # of several types


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (np.full((8, 4), 65536, np.float32), "its weights: 6.554e+04 is beyond 65504"),
        (np.full((8, 4), 1e-9, np.float32), "its weights: 100.00% of its norm is lost"),
    ],
)
def test_what_half_precision_cannot_hold_stays_and_is_named(
    weight: np.ndarray, reason: str
) -> None:
    model = network(w=weight)
    assert HalveWeights(minimum=1)(model).modified is False
    (name, why), *rest = unfit(model).items()
    assert not rest
    assert (name, why[: len(reason)]) == ("p", reason)


def test_names_that_are_not_there() -> None:
    with pytest.raises(UsageError) as caught:
        HalveWeights(keep="p;nowhere")(network())
    assert [item.where for item in caught.value.problems] == ["node 'nowhere'"]


@pytest.mark.parametrize("name", ["digits_cnn", "ad_autoencoder"])
def test_widened_and_lowered_weights_are_halved_again_to_the_bit(name: str) -> None:
    halved = HalveWeights()(quantized.real_model(name)).model
    batches = quantized.real_batches(name, halved, 2)
    wide = WidenWeights()(halved.clone()).model
    assert "Cast" not in [node.op_type for node in wide.graph]
    for batch in batches:
        support.assert_same_numbers(halved, lambda _: wide, batch)
    again = HalveWeights(exact=True)(canonical("nhwc").run(wide)).model
    assert dialect.check(again) == []
    assert halves_of(again) == halves_of(halved) != []


def halves_of(model: ir.Model) -> list[bytes]:
    """Return the numbers of every constant in half precision, sorted: layouts may differ."""
    return [
        np.sort(value.const_value.numpy(), axis=None).tobytes()
        for value in model.graph.initializers.values()
        if value.const_value is not None and value.dtype == ir.DataType.FLOAT16
    ]
