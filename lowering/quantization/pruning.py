"""Weights pruned to the pattern of `sparsity`, so that the node's outputs keep.

The squared error of one output channel that comes from changing its weights from w to v is
(v - w)ᵀ H (v - w), where H is the Gram matrix of the node's inputs on calibration data. Which
weights are kept is chosen by their size, or with regard to what the others can make up for:
optimal brain surgery, column by column (Frantar and Alistarh, "SparseGPT: Massive Language Models
Can Be Accurately Pruned in One-Shot", 2023). Either way those that are kept are then fitted again:
H restricted to them is solved for the least error, by conjugate gradients for all output channels
at once (one by one, each has another matrix to factorize). These start from the weights as they
were, and the error only falls. At last the bias takes up the change of the mean of the outputs.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

from ...errors import ModelError, Problem
from ..analysis.probe import Batches
from .gram import Moments, for_each
from .linear import Linear
from .scheme import Selection
from .sparsity import KEPT, OF, fours

#: What is added to the diagonal of a Gram matrix, relative to its mean: inputs that calibration
#: has not seen. Source: SparseGPT. Measured: 0.1 is worse on most models.
_DAMPING: Final = 0.01

#: Steps of conjugate gradients, and the part of the first residual at which they end.
_STEPS: Final = 60
_ENOUGH: Final = 1e-3

#: Columns whose changes are handed on one by one; further columns get them by matrix products.
_BLOCK: Final = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Pruned:
    """The constants of one node, float32; no bias for MatMul, which takes none."""

    weight: np.ndarray
    bias: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Pruning:
    """What `SparsifyWeights` writes: the constants of the pruned nodes, by name."""

    nodes: Mapping[str, Pruned]

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all of it, as hexadecimal digits."""
        found = hashlib.sha256()
        for name, item in sorted(self.nodes.items()):
            for array in (item.weight, item.bias):
                shape = "none" if array is None else str(array.shape)
                found.update(f"\0{name}\0{shape}\0".encode())
                found.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        return found.hexdigest()


def prune(
    model: ir.Model, nodes: Collection[str], batches: Batches, selection: Selection
) -> Pruning:
    """Return the pruned weights of nodes, and their biases.

    Args:
        model: float, canonical, channels-first; it is not changed.
        nodes: names of nodes that `sparsity.objections` has nothing against.
        batches: feeds by input name, at least one; run one by one, never held together.

    Raises:
        ModelError: ONNX Runtime does not take the model or a batch; inputs of a node are not
            finite.
    """
    linears = [Linear.of(node) for node in model.graph if node.name in nodes]
    pruned = functools.partial(_pruned, selection=selection)
    return Pruning(dict(for_each(model, linears, {}, batches, pruned)))


def _pruned(linear: Linear, seen: Moments, selection: Selection) -> tuple[str, Pruned]:
    name = str(linear.node.name)
    [weights] = linear.matrix(linear.weight)
    grams = seen.gram(about_mean=linear.bias is not None)
    if not np.isfinite(grams).all():
        raise ModelError(
            "the weights cannot be pruned by the calibration data",
            [Problem(name, "its inputs are not finite numbers")],
        )
    _damp(grams)
    if selection == "surgery":
        kept = _by_surgery(linear, weights, grams)
    else:
        kept = _largest(fours(linear, np.abs(weights))).reshape(weights.shape)
    found = fitted(weights, kept, grams)
    # The mean is taken up in the numbers that are written.
    written = np.ascontiguousarray(linear.like_weight(found[None])).astype(np.float32)
    if linear.bias is None:
        return name, Pruned(written, None)
    [mean] = seen.mean
    bias = linear.bias + mean @ (weights - linear.matrix(written)[0])
    return name, Pruned(written, bias.astype(np.float32))


def _damp(grams: np.ndarray) -> None:
    """Make Gram matrices positive definite; one that is zero becomes the identity."""
    diagonal = np.einsum("gkk->gk", grams)
    mean = diagonal.mean(axis=1, keepdims=True)
    diagonal += np.where(mean > 0, _DAMPING * mean, 1.0)


def _largest(figures: np.ndarray) -> np.ndarray:
    """Return which of the four along axis 1 are kept; of equal ones the first."""
    order = np.argsort(-figures, axis=1, kind="stable")[:, :KEPT]
    kept = np.zeros(figures.shape, bool)
    np.put_along_axis(kept, order, True, axis=1)
    return kept


def fitted(weights: np.ndarray, kept: np.ndarray, grams: np.ndarray) -> np.ndarray:
    """Return weights, zero but where `kept`, of which the error against `weights` is least.

    Args:
        weights: float64 (columns, outputs).
        kept: booleans of the same shape.
        grams: (parts, columns of a part, the same), positive definite; correlations between parts
            do not count.
    """
    wanted = weights.reshape(len(grams), -1, weights.shape[1])
    free = kept.reshape(wanted.shape)
    gram = grams.astype(np.float32)
    curvature = np.einsum("gkk->gk", gram)[:, :, None]
    left_out = np.where(free, 0, wanted).astype(np.float32)
    slope = np.where(free, gram @ left_out, 0)  # downwards
    change = np.zeros_like(slope)
    along = slope / curvature
    size = first = (slope * along).sum(axis=1, keepdims=True)
    for _ in range(_STEPS):
        if (size <= _ENOUGH**2 * first).all():
            break
        bent = np.where(free, gram @ along, 0)
        step = _ratio(size, (along * bent).sum(axis=1, keepdims=True))
        change += step * along
        slope -= step * bent
        scaled = slope / curvature
        before, size = size, (slope * scaled).sum(axis=1, keepdims=True)
        along = scaled + _ratio(size, before) * along
    found: np.ndarray = np.where(free, wanted + change, 0).reshape(weights.shape)
    return found


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Return a quotient; zero where there is nothing left to divide."""
    quotient: np.ndarray = np.divide(over, under, out=np.zeros_like(over), where=under > 0)
    return quotient


def _by_surgery(linear: Linear, weights: np.ndarray, grams: np.ndarray) -> np.ndarray:
    """Return which weights to keep, four by four: those that the later columns least make up for.

    Where the parts of the Gram matrices do not begin between fours, sizes alone decide.
    """
    order = fours(linear, np.arange(len(weights))[:, None]).swapaxes(1, 2).reshape(-1)
    width = grams.shape[1]
    parts = order.reshape(len(grams), -1)
    if (parts // width != np.arange(len(grams))[:, None]).any():
        return _largest(fours(linear, np.abs(weights))).reshape(weights.shape)
    kept = np.empty(weights.shape, bool)
    for part, gram in zip(parts, grams, strict=True):
        within = part % width
        kept[part] = _operated(weights[part], gram[within[:, None], within])
    return kept


def _operated(weights: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Return which of the columns of one part are kept, in their order, four by four."""
    factor = np.linalg.cholesky(np.linalg.inv(gram)).T
    left = weights.copy()
    kept = np.empty(weights.shape, bool)
    for start in range(0, len(left), _BLOCK):
        end = min(start + _BLOCK, len(left))
        error = np.zeros((end - start, left.shape[1]))
        for column in range(start, end):
            if column % OF == 0:
                four = slice(column, column + OF)
                pivots = np.diag(factor)[four, None]
                kept[four] = _largest(np.abs(left[four] / pivots)[None])[0]
            removed = np.where(kept[column], 0, left[column] / factor[column, column])
            error[column - start] = removed
            left[column:end] -= factor[column, column:end, None] * removed
        left[end:] -= factor[start:end, end:].T @ error
    return kept
