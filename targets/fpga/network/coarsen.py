"""Weights of channels that hardly vary, in coarser steps, so that they cost others no precision.

A channel whose weights are next to nothing has a tiny scale, and so a bias of up to 32 bits. All
channels of a layer are shifted right by as many bits as the widest sum needs: such a channel, which
is all but constant, would take the others' precision. So its weights and bias are first divided by
a power of two, which its factor makes up for: what that loses is next to nothing, too.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from .requantize import BITS, reach

#: After a shift by so many bits no sum of 32 bits is wider than `t`.
_MOST_SHIFTED: Final = 32 - BITS


def coarsened(
    weights: np.ndarray, bias: np.ndarray, factors: np.ndarray, span: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights, bias and factors with which the largest error of any channel is the least.

    Errors are bounds, in steps of the result: that of the shift, which is the larger the larger a
    channel's factor is, against that of coarser weights.

    Args:
        weights: int8 [channels, ...], for inputs less their zero point.
        bias: int64 [channels].
        factors: float64 [channels], from sums to steps of the result.
        span: steps from the result's zero point to its farther bound.
    """
    needed = _shifts(weights, bias, factors, span)
    best, least = needed * 0, np.inf
    for before in range(int(needed.max()), -1, -1):
        bits = np.maximum(needed - before, 0)
        error = (factors * (_lost(weights, bits) + (1 << before >> 1))).max()
        if error < least:
            best, least = bits, error
    by = np.ldexp(1.0, best)
    coarse = np.rint(weights / _beside(by, weights)).astype(np.int8)
    return coarse, np.rint(bias / by).astype(np.int64), factors * by


def _shifts(weights: np.ndarray, bias: np.ndarray, factors: np.ndarray, span: int) -> np.ndarray:
    """Return by how many bits each channel's sums are shifted if it is alone."""
    least, greatest = reach(weights, bias)
    largest = np.minimum(np.maximum(-least, greatest), 2.0 * span / np.maximum(factors, 1e-30))
    _, exponents = np.frexp(largest)
    return np.asarray(np.clip(exponents - BITS, 0, _MOST_SHIFTED))


def _lost(weights: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Return how far off a channel's sums may be if weights and bias have so many bits less."""
    by = _beside(np.ldexp(1.0, bits), weights)
    off = np.abs(weights - np.rint(weights / by) * by).reshape(len(weights), -1).sum(axis=1)
    return np.asarray(255 * off + (1 << bits >> 1))


def _beside(by: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return by.reshape(-1, *(1,) * (weights.ndim - 1))
