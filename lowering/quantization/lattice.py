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

Weights are given in steps of their scale, which the error of a channel is only multiplied by: u, of
shape (groups, columns, outputs). Gram matrices are (groups, columns, columns).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: Gives each number its nearest on a grid: the integers, or the numbers of a format.
Grid = Callable[[np.ndarray], np.ndarray]

#: Columns whose errors are handed on one by one; further columns get them by matrix products.
_BLOCK = 32

#: Sweeps of coordinate descent; most channels rest after two or three.
_SWEEPS = 4


def nearest(u: np.ndarray, most: int | np.ndarray, grid: Grid = np.rint) -> np.ndarray:
    """Return the nearest integers, or numbers of a grid, at most `most` in magnitude."""
    found: np.ndarray = np.clip(grid(u), -most, most)
    return found


def errors(difference: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Return (groups, outputs): the error of each output channel that differs by `difference`."""
    found: np.ndarray = (difference * (gram @ difference)).sum(axis=1)
    return found


def closest(
    u: np.ndarray,
    gram: np.ndarray,
    most: int,
    free: np.ndarray | None = None,
    grid: Grid = np.rint,
) -> np.ndarray:
    """Return the integers, or numbers of a grid, float32, that give the least error found.

    Args:
        gram: float64, positive definite.
        most: the largest magnitude of an integer.
        grid: has zero and `most` on it.
        free: of the shape of `u`: where an integer may be other than zero; None: everywhere.
    """
    u = u.astype(np.float32)
    limit = np.full(u.shape, most, np.float32) if free is None else np.where(free, most, 0)
    limit = limit.astype(np.float32, copy=False)
    # The columns with the largest inputs are rounded first: most is left to make up for them.
    order = np.argsort(np.einsum("gkk->gk", gram), axis=1, kind="stable")
    groups = np.arange(len(gram))[:, None, None]
    turned = gram[groups, order[:, :, None], order[:, None, :]]
    factor = np.linalg.cholesky(turned).transpose(0, 2, 1)
    del turned
    factor = _by_pivot(factor)
    turned_u, turned_limit = (
        np.take_along_axis(array, order[:, :, None], axis=1) for array in (u, limit)
    )
    integers = _nearest_plane(turned_u, factor, turned_limit, grid)
    del factor
    back = np.argsort(order, axis=1, kind="stable")
    integers = np.take_along_axis(integers, back[:, :, None], axis=1)
    return _descended(u, _by_pivot(gram), limit, integers, grid)


def _by_pivot(matrix: np.ndarray) -> np.ndarray:
    """Return float32 rows divided by their diagonal elements."""
    pivots = np.einsum("gkk->gk", matrix)[:, :, None]
    divided: np.ndarray = np.divide(matrix, pivots, dtype=np.float64).astype(np.float32)
    return divided


def _nearest_plane(u: np.ndarray, factor: np.ndarray, limit: np.ndarray, grid: Grid) -> np.ndarray:
    target = u.copy()  # under the errors of the later blocks
    integers = np.empty_like(u)
    error = np.zeros_like(u)
    for start in reversed(range(0, u.shape[1], _BLOCK)):
        end = min(start + _BLOCK, u.shape[1])
        for k in reversed(range(start, end)):
            made = factor[:, k, None, k + 1 : end] @ error[:, k + 1 : end]
            integers[:, k] = nearest(target[:, k] + made[:, 0], limit[:, k], grid)
            error[:, k] = u[:, k] - integers[:, k]
        target[:, :start] += factor[:, :start, start:end] @ error[:, start:end]
    return integers


def _descended(
    u: np.ndarray, gram: np.ndarray, limit: np.ndarray, integers: np.ndarray, grid: Grid
) -> np.ndarray:
    """Give each weight its best integer, others as they are, until none changes.

    The slope along a column, over its curvature, says how many steps away its minimum lies; the
    error is the same on both sides of it, so that the nearest number is the best.
    """
    slope = gram @ (integers - u)
    lowest, highest = -limit - integers, limit - integers  # the changes that are allowed
    for _ in range(_SWEEPS):
        moved = False
        for start in range(0, u.shape[1], _BLOCK):
            block = slice(start, min(start + _BLOCK, u.shape[1]))
            near = slope[:, block].copy()
            change = np.empty_like(near)
            for k in range(near.shape[1]):
                if grid is np.rint:  # steps between integers are integers
                    step = np.rint(-near[:, k])
                else:
                    here = limit[:, start + k] - highest[:, start + k]
                    step = grid(here - near[:, k]) - here
                np.maximum(step, lowest[:, start + k], out=step)
                np.minimum(step, highest[:, start + k], out=step)
                change[:, k] = step
                near[:, k + 1 :] += (
                    gram[:, start + k + 1 : block.stop, start + k, None] * step[:, None]
                )
            if change.any():
                moved = True
                slope += gram[:, :, block] @ change
                lowest[:, block] -= change
                highest[:, block] -= change
        if not moved:
            break
    found: np.ndarray = limit - highest
    return found
