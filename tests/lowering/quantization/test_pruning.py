"""Pruned weights: the pattern to the last one, and outputs no worse than by magnitude alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.errors import ModelError
from tapeout.lowering.analysis.probe import Batches
from tapeout.lowering.matching import array_of, is_op
from tapeout.lowering.quantization import lattice
from tapeout.lowering.quantization.conversion import conversion
from tapeout.lowering.quantization.linear import Linear
from tapeout.lowering.quantization.pruning import Pruned, Pruning, fitted, prune
from tapeout.lowering.quantization.scheme import SCHEMES, Selection, SparseScheme
from tapeout.lowering.quantization.sparsity import fours, is_sparse
from tapeout.lowering.quantization.sqnr import of_outputs
from tapeout.lowering.reference import Reference

import quantized
import support

SPARSE = [item for item in SCHEMES.values() if isinstance(item, SparseScheme)]
RNG = np.random.default_rng(0)


def by_magnitude(model: ir.Model, names: tuple[str, ...]) -> ir.Model:
    """Return the model with the two smaller weights of every four zero, and nothing else."""
    model = model.clone()
    for node in model.graph:
        weight = node.inputs[1] if node.name in names else None
        if weight is not None:
            linear = Linear.of(node)
            [matrix] = linear.matrix(linear.weight)
            sizes = fours(linear, np.abs(matrix))
            larger = sizes > np.sort(sizes, axis=1)[:, 1:2]
            left = np.where(larger.reshape(matrix.shape), matrix, 0)
            array = np.ascontiguousarray(linear.like_weight(left[None]).astype(np.float32))
            weight.const_value = ir.Tensor(array)
    return model


def similarity(wanted: list[quantized.Feeds], model: ir.Model, batches: Batches) -> float:
    reference = Reference(model)
    return of_outputs(zip(wanted, map(reference.run, batches), strict=True))


@pytest.mark.parametrize("name", support.NAMES)
def test_real_networks_get_the_pattern_and_keep_better_than_by_magnitude(name: str) -> None:
    model = quantized.real_model(name)
    batches = quantized.real_batches(name, model, 24)
    seen, unseen = batches[:16], batches[16:]
    reference = Reference(model)
    wanted = [reference.run(batch) for batch in unseen]
    for scheme in SPARSE:
        found = conversion(model, scheme, seen)
        result = found.converted({})
        assert found.nodes
        assert not found.fixed.keys() & set(found.nodes)
        for node in result.graph:
            if node.name in found.nodes:
                linear = Linear.of(node)
                assert is_sparse(linear)
                assert np.count_nonzero(linear.weight) == linear.weight.size // 2
        plain = similarity(wanted, by_magnitude(model, found.nodes), unseen)
        assert similarity(wanted, result, unseen) > plain


def test_what_is_kept_is_fitted_by_least_squares() -> None:
    inputs = RNG.standard_normal((2, 24, 200)) + RNG.standard_normal((2, 1, 200))
    grams = inputs @ inputs.transpose(0, 2, 1) / 200
    weights, kept = RNG.standard_normal((48, 5)), RNG.random((48, 5)) < 0.5
    found = fitted(weights, kept, grams)
    assert (found[~kept] == 0).all()
    for part, output in np.ndindex(2, 5):
        mine = slice(24 * part, 24 * part + 24)
        free = kept[mine, output]
        x = inputs[part]
        exact, *_ = np.linalg.lstsq(x[free].T, x.T @ weights[mine, output], rcond=None)
        np.testing.assert_allclose(found[mine, output][free], exact, atol=2e-3)


def test_inputs_that_are_always_zero_leave_the_weights_that_are_kept() -> None:
    weights, kept = RNG.standard_normal((8, 3)), np.ones((8, 3), bool)
    kept[::2] = False
    found = fitted(weights, kept, np.eye(8)[None])
    np.testing.assert_allclose(found, np.where(kept, weights, 0))


def gemm(samples: int = 40, *, first: float | None = None) -> tuple[ir.Model, Batches]:
    """Return a Gemm whose inputs are alike, with data; its first number may be given."""
    model = support.from_text(
        "g (float[4, 32] x, float[32, 16] w) => (float[4, 16] y) { y = Gemm(x, w) }",
        w=RNG.standard_normal((32, 16)).astype(np.float32),
    )
    data = RNG.standard_normal((samples, 4, 32)) + 2 * RNG.standard_normal((samples, 4, 1)) + 1
    if first is not None:
        data[0, 0, 0] = first
    return model, [{"x": item.astype(np.float32)} for item in data]


@pytest.mark.parametrize("selection", ["magnitude", "surgery"])
def test_a_new_bias_keeps_the_mean_of_the_outputs(selection: Selection) -> None:
    model, batches = gemm()
    [dense] = model.graph
    found = prune(model, ["y"], batches, selection).nodes["y"]
    x = np.concatenate([batch["x"] for batch in batches]).astype(np.float64)
    before, after = x @ Linear.of(dense).weight, x @ found.weight + found.bias
    np.testing.assert_allclose(after.mean(axis=0), before.mean(axis=0), atol=1e-5)


def test_surgery_leaves_less_error_than_magnitude() -> None:
    model, batches = gemm()
    [dense] = model.graph
    x = np.concatenate([batch["x"] for batch in batches]).astype(np.float64)
    wanted = x @ Linear.of(dense).weight
    errors = []
    for scheme in SPARSE:
        item = prune(model, ["y"], batches, scheme.selection).nodes["y"]
        errors.append(np.square(x @ item.weight + item.bias - wanted).sum())
    assert errors[1] < errors[0]


@pytest.mark.parametrize("name", ["digits_cnn", "resnet8_cifar10"])
@pytest.mark.parametrize("scheme", ["tensorrt", "weights-int8"])
def test_zeros_survive_in_integers(name: str, scheme: str) -> None:
    model = quantized.real_model(name)
    batches = quantized.real_batches(name, model, 8)
    found = conversion(model, SPARSE[0], batches)
    sparse = found.converted({})
    zeros = {str(n.name): Linear.of(n).weight == 0 for n in sparse.graph if n.name in found.nodes}
    result = conversion(sparse, SCHEMES[scheme], batches).converted({})
    checked = 0
    for node in result.graph:
        producer = node.inputs[1].producer() if len(node.inputs) > 1 and node.inputs[1] else None
        if node.name in zeros and is_op(producer, "DequantizeLinear"):
            assert producer is not None
            integers = array_of(producer.inputs[0])
            assert integers is not None
            assert (integers[zeros[str(node.name)]] == 0).all()
            checked += 1
    assert checked >= 2  # few weights are not worth rounding alone


def test_the_lattice_leaves_zero_what_is_not_free() -> None:
    u = RNG.uniform(-7, 7, (2, 40, 6)).astype(np.float32)
    inputs = RNG.standard_normal((2, 40, 300)) + 2 * RNG.standard_normal((2, 1, 300))
    gram = inputs @ inputs.transpose(0, 2, 1) / 300
    free = RNG.random(u.shape) < 0.5
    found = lattice.closest(np.where(free, u, 0), gram, 7, free)
    assert (found[~free] == 0).all()
    nearest = lattice.nearest(np.where(free, u, 0), 7)
    error, plain = (lattice.errors(np.where(free, u, 0) - item, gram) for item in (found, nearest))
    assert (error <= plain * (1 + 1e-6)).all()


@pytest.mark.filterwarnings("ignore:invalid value")
def test_inputs_that_are_not_finite_are_refused_with_the_node() -> None:
    model, batches = gemm(first=np.inf)
    with pytest.raises(ModelError, match="pruned") as caught:
        prune(model, ["y"], batches, "magnitude")
    assert caught.value.problems[0].where == "y"


def test_the_digest_tells_every_number() -> None:
    item = Pruned(np.ones((2, 2), np.float32), np.zeros(2, np.float32))
    other = [
        dataclasses.replace(item, weight=np.eye(2, dtype=np.float32)),
        dataclasses.replace(item, weight=np.ones((1, 4), np.float32)),
        dataclasses.replace(item, bias=None),
    ]
    digests = {Pruning({"y": each}).digest for each in (item, *other)}
    assert len(digests | {Pruning({"z": item}).digest}) == 5
    assert Pruning({"y": item}).digest in digests
