"""Weights of linear nodes as integers, rounded so that the node's outputs keep.

One run over the data gathers the moments of every node's inputs, as the float network gives them,
each quantized by itself. Then each node is rounded (`lattice`) and its bias corrected, so that the
mean of its outputs is the float node's (Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", 2019, section 4.2; here with measured means).

A ConvTranspose, and a MatMul with a stack of weights, is rounded to nearest and keeps its bias:
its outputs see different parts of its weight.

Weights that are pruned for sparse tensor cores keep their zeros.

The results are the same, to the byte, on the same machine, however many processors it has; on
another kind of processor, the BLAS library behind numpy may sum in another order and so, rarely,
round a weight to its other neighbour.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Final, Literal

import numpy as np
import onnx_ir as ir

from ...errors import ModelError, Problem
from ..analysis.probe import Batches
from . import lattice
from .gram import Moments, for_each, parameters_of
from .linear import Linear
from .parameters import Parameters, nearest_float8, of_weights
from .recipe import Weights
from .scheme import Scheme, limits, next_power_of_two
from .sparsity import is_sparse

Method = Literal["adaptive", "nearest"]

#: What is added to the diagonal of a Gram matrix, relative to its mean: inputs that calibration
#: has not seen. Measured: 0.01 to 0.1 are alike.
_DAMPING: Final = 0.1

#: Scales that are tried, relative to the one that holds the largest weight. A smaller one cuts
#: the largest weights and is finer for all others.
_RATIOS: Final = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7)
_POWERS: Final = (1.0, 0.5, 0.25)

#: The largest integer of a bias, so that its correction has room below 2**31.
_MOST_BIAS: Final = 2.0**30


def round_weights(
    model: ir.Model,
    nodes: Collection[str],
    activations: Mapping[str, Parameters],
    scheme: Scheme,
    batches: Batches,
    method: Method = "adaptive",
) -> dict[str, Weights]:
    """Return the integer weights and the biases of linear nodes, by the node's name.

    Args:
        model: float, canonical, channels-first; it is not changed.
        nodes: names of linear nodes of the main graph with a constant weight.
        activations: the parameters of quantized values, by name.
        batches: feeds by input name; run one by one, never held together.
        method: ``nearest`` rounds each weight by itself and leaves the biases; it needs no batches.

    Raises:
        ModelError: ONNX Runtime does not take the model or a batch.
        ValueError: a node is not linear with a constant weight, or there are no batches.
    """
    wanted = set(nodes)
    linears = [Linear.of(node) for node in model.graph if node.name in wanted]
    schemes = {linear.node: scheme.of(linear.node.op_type) for linear in linears}
    found = {
        str(linear.node.name): _nearest(linear, activations, schemes[linear.node])
        for linear in linears
    }
    if method == "adaptive":
        if not len(batches):
            raise ValueError("there is no data to round weights with")
        matrices = [linear for linear in linears if linear.is_matrix and linear.weight.size]

        def adapted(linear: Linear, seen: Moments) -> tuple[str, Weights]:
            name = str(linear.node.name)
            return name, _adapted(linear, found[name], seen, activations, schemes[linear.node])

        found.update(for_each(model, matrices, activations, batches, adapted))
    return found


def _nearest(linear: Linear, activations: Mapping[str, Parameters], scheme: Scheme) -> Weights:
    parameters = of_weights(linear.weight, linear.axis, scheme)
    least = _least_scale(linear, activations, scheme)
    parameters = _with_scale(parameters, np.maximum(parameters.scale, least))
    bias = None if linear.bias is None else linear.bias.astype(np.float32)
    return Weights(parameters.integers(linear.weight), parameters, bias)


def _least_scale(
    linear: Linear, activations: Mapping[str, Parameters], scheme: Scheme
) -> np.ndarray:
    """Return the scale, of each output channel or of all, below which int32 cannot hold the bias.

    Of the shape of the scales, and a power of two (or zero) where the scheme wants that.
    """
    channels = linear.weight.shape[linear.axis]
    given = parameters_of(linear.node.inputs[0], activations)
    if not scheme.integer_bias or linear.bias is None or given is None:
        return np.zeros(channels if scheme.per_channel else ())
    least = np.abs(linear.bias).astype(np.float64) / (float(given.scale) * _MOST_BIAS)
    # The groups of a transposed convolution share scales.
    least = least.reshape(-1, channels).max(axis=0)
    if not scheme.per_channel:
        least = least.max()
    return _powers_of_two(least) if scheme.power_of_two else np.asarray(least)


def _powers_of_two(scales: np.ndarray) -> np.ndarray:
    """Return the least power of two that is not below each scale; zero for zero."""
    power = np.vectorize(lambda scale: next_power_of_two(scale) if scale else 0.0, otypes=[float])
    return np.asarray(power(scales))


def _with_scale(parameters: Parameters, scale: np.ndarray) -> Parameters:
    scale = np.asarray(scale, np.float32).reshape(parameters.scale.shape)
    return dataclasses.replace(parameters, scale=scale)


def _adapted(
    linear: Linear,
    start: Weights,
    seen: Moments,
    activations: Mapping[str, Parameters],
    scheme: Scheme,
) -> Weights:
    """Return the weights rounded by the Gram matrix, or as they were where that is no better."""
    weights, plain = linear.matrix(linear.weight), linear.matrix(start.integers)
    # The bias takes up the mean of the error, where there is one.
    gram = seen.gram(about_mean=linear.bias is not None)
    if not np.isfinite(gram).all():
        raise ModelError(
            "the weights cannot be rounded by the calibration data",
            [Problem(str(linear.node.name), "its inputs are not finite numbers")],
        )
    most = limits(scheme.weights, narrow=True)[1]
    damped = _damped(gram)
    first = _by_output(start.parameters.scale, weights)
    least = _by_output(_least_scale(linear, activations, scheme), weights)
    grid = nearest_float8 if scheme.is_float else np.rint
    scale = first if scheme.is_float else _best_scale(weights, first, least, damped, scheme)
    pieces = (weights / scale).reshape(len(gram), -1, weights.shape[2])
    free = pieces != 0 if is_sparse(linear) else None
    integers = lattice.closest(pieces, damped, most, free, grid)
    integers = integers.reshape(weights.shape).astype(np.float64)
    after = _errors(weights - integers * scale, gram)
    before = _errors(weights - plain * first, gram)
    better = after <= before
    if not scheme.per_channel:
        better = np.broadcast_to(after.sum() <= before.sum(), better.shape)
    integers, scale = np.where(better, integers, plain), np.where(better, scale, first)
    return _weights_of(linear, start, integers, scale, seen, scheme)


def _weights_of(
    linear: Linear,
    start: Weights,
    integers: np.ndarray,
    scale: np.ndarray,
    seen: Moments,
    scheme: Scheme,
) -> Weights:
    given = scale.reshape(-1) if scheme.per_channel else scale[0, 0, 0]
    parameters = _with_scale(start.parameters, given)
    bias = None
    if linear.bias is not None:
        wanted = np.einsum("gk,gko->go", seen.mean, linear.matrix(linear.weight))
        given = np.einsum("gk,gko->go", seen.quantized, integers * scale)
        bias = (linear.bias + (wanted - given).reshape(-1)).astype(np.float32)
    shaped = linear.like_weight(integers).astype(scheme.weights.numpy())
    return Weights(np.ascontiguousarray(shaped), parameters, bias)


def _damped(gram: np.ndarray) -> np.ndarray:
    """Return Gram matrices that are positive definite: with a part of their mean on the diagonal.

    One that is zero, of inputs that never vary, becomes the identity.
    """
    diagonal = np.einsum("gkk->gk", gram)
    mean = diagonal.mean(axis=1, keepdims=True)
    damped = gram.copy()
    np.einsum("gkk->gk", damped)[...] += np.where(mean > 0, _DAMPING * mean, 1.0)
    return damped


def _best_scale(
    weights: np.ndarray, first: np.ndarray, least: np.ndarray, gram: np.ndarray, scheme: Scheme
) -> np.ndarray:
    """Return scales (groups, 1, outputs): of those tried the best for rounding to nearest.

    Errors are weighed by the diagonal of the Gram matrix, as those of different columns are hardly
    correlated.
    """
    most = limits(scheme.weights, narrow=True)[1]
    power = np.einsum("gkk->gk", gram).reshape(weights.shape[:2])[:, :, None]
    best, lowest = first, np.full(first.shape, np.inf)
    for ratio in _POWERS if scheme.power_of_two else _RATIOS:
        tried = np.maximum(first * np.float32(ratio), least).astype(np.float32)
        rounded = lattice.nearest(weights / tried, most) * tried
        error = (power * (weights - rounded) ** 2).sum(axis=1, keepdims=True)
        if not scheme.per_channel:
            error = np.broadcast_to(error.sum(), error.shape)
        best, lowest = np.where(error < lowest, tried, best), np.minimum(error, lowest)
    return best


def _errors(difference: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Return (groups, 1, outputs)."""
    groups, _, outputs = difference.shape
    found = lattice.errors(difference.reshape(len(gram), -1, outputs), gram)
    total: np.ndarray = found.reshape(groups, -1, 1, outputs).sum(axis=1)
    return total


def _by_output(vector: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return figures of output channels, or one for all, as (groups, 1, outputs of a group)."""
    groups, _, outputs = weights.shape
    return np.broadcast_to(vector, groups * outputs).reshape(groups, 1, outputs)
