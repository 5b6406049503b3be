"""Rounding weights so that the outputs keep: the closest point of a lattice, approximately.

The error of one output channel that comes from rounding its weights w to s q is
(w - s q)ᵀ H (w - s q), where H is the Gram matrix of the inputs. Round-to-nearest is its minimum
only where H is diagonal. AdaRound (Nagel et al., "Up or Down? Adaptive Rounding for Post-Training
Quantization", 2020) minimizes it by gradient descent on a relaxation. Here the same objective is
minimized directly, which is faster by orders of magnitude, has no step sizes, and can only go
down: first the weights one by one, each taking over the errors of those before it (OPTQ; Frantar
et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", 2022),
then coordinate descent: each weight's best integer given all others, until none changes.

OPTQ is Babai's nearest-plane algorithm (Chen et al., "The Geometry of LLM Quantization: GPTQ as
Babai's Nearest Plane Algorithm", 2025): with the Cholesky factor R of H = Rᵀ R, from the last
column to the first, each is rounded to its target under the errors already made. That needs no
inverse of H.

Everywhere: weights and integers are (groups, columns, outputs), scales (groups, 1, outputs), Gram
matrices (groups, columns, columns), all float64.
"""

from __future__ import annotations

import numpy as np

#: Columns whose errors are handed on one by one; further columns get them by matrix products.
_BLOCK = 64

#: Sweeps of coordinate descent; most channels rest after two or three.
_SWEEPS = 4


def nearest(weights: np.ndarray, scale: np.ndarray, most: int) -> np.ndarray:
    """Return the nearest integers, at most `most` in magnitude."""
    found: np.ndarray = np.clip(np.rint(weights / scale), -most, most)
    return found


def errors(weights: np.ndarray, rounded: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Return (groups, outputs): the error of each output channel."""
    difference = weights - rounded
    found: np.ndarray = (difference * (gram @ difference)).sum(axis=1)
    return found


def closest(weights: np.ndarray, scale: np.ndarray, gram: np.ndarray, most: int) -> np.ndarray:
    """Return the integers that give the least error found.

    Args:
        gram: positive definite.
        most: the largest magnitude of an integer.
    """
    # The columns with the largest inputs are rounded first: most is left to make up for them.
    order = np.argsort(np.einsum("gkk->gk", gram), axis=1, kind="stable")
    back = np.argsort(order, axis=1, kind="stable")
    factor = np.linalg.cholesky(_both(gram, order)).transpose(0, 2, 1)
    integers = _nearest_plane(_rows(weights, order), scale, factor, most)
    del factor
    return _descended(weights, scale, gram, most, _rows(integers, back))


def _nearest_plane(
    weights: np.ndarray, scale: np.ndarray, factor: np.ndarray, most: int
) -> np.ndarray:
    integers, error = np.empty_like(weights), np.zeros_like(weights)
    later = np.zeros_like(weights)  # what the errors of later blocks add to each target
    pivots = np.einsum("gkk->gk", factor)
    for start in reversed(range(0, weights.shape[1], _BLOCK)):
        end = min(start + _BLOCK, weights.shape[1])
        for k in reversed(range(start, end)):
            made = factor[:, k, None, k + 1 : end] @ error[:, k + 1 : end]
            target = weights[:, k] + (made[:, 0] + later[:, k]) / pivots[:, k, None]
            integers[:, k] = np.clip(np.rint(target / scale[:, 0]), -most, most)
            error[:, k] = weights[:, k] - integers[:, k] * scale[:, 0]
        later[:, :start] += factor[:, :start, start:end] @ error[:, start:end]
    return integers


def _descended(
    weights: np.ndarray, scale: np.ndarray, gram: np.ndarray, most: int, integers: np.ndarray
) -> np.ndarray:
    curvature = np.einsum("gkk->gk", gram)[:, :, None]
    slope = gram @ (integers * scale - weights)
    for _ in range(_SWEEPS):
        moved = False
        for start in range(0, weights.shape[1], _BLOCK):
            block = slice(start, start + _BLOCK)
            old, near = integers[:, block].copy(), slope[:, block].copy()
            for k in range(near.shape[1]):
                column = start + k
                step = near[:, k] / curvature[:, column] / scale[:, 0]
                best = np.clip(np.rint(integers[:, column] - step), -most, most)
                change = (best - integers[:, column]) * scale[:, 0]
                if change.any():
                    integers[:, column] = best
                    near += gram[:, block, column, None] * change[:, None, :]
            change = (integers[:, block] - old) * scale
            if change.any():
                slope += gram[:, :, block] @ change
                moved = True
        if not moved:
            break
    return integers


def _rows(array: np.ndarray, order: np.ndarray) -> np.ndarray:
    return np.take_along_axis(array, order[:, :, None], axis=1)


def _both(gram: np.ndarray, order: np.ndarray) -> np.ndarray:
    groups = np.arange(len(gram))[:, None, None]
    found: np.ndarray = gram[groups, order[:, :, None], order[:, None, :]]
    return found
