"""Requantization: how a sum of products becomes an integer of 8 bits, in integers alone.

A sum `a` of channel `c` becomes

    t = clamp((a + (1 << (before - 1))) >> before, -2^17, 2^17 - 1)      nothing added if before = 0
    y = clamp(((t * M_c + (1 << (s_c - 1))) >> s_c) + zero, low, high)

where `>>` rounds down, so that each of the two steps rounds to the nearest and halves up. Thus one
multiplier of 18 x 18 bits with signs, as FPGAs have them, serves 32 bits of sum. It computes
``round(a x m_c) + zero`` with ``m_c ~ M_c / 2^(s_c - before)``, as Jacob et al. ("Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018, section 2.2) do
with multipliers of 32 bits.
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np

from .graph import Requantization

#: Bits of a multiplier, which is not negative, and of `t` beside its sign.
BITS: Final = 17

#: The largest shift: that of a multiplier of which 2^17 times makes half a step.
MAX_SHIFT: Final = 34

#: By how much the shifts of a layer's channels may differ: what 3 bits for each channel say.
SPREAD: Final = 7

_MOST: Final = (1 << BITS) - 1


def requantization(
    factors: np.ndarray, sums: tuple[np.ndarray, np.ndarray], zero: int, low: int, high: int
) -> Requantization:
    """Return the integers that stand for real factors.

    `before` is the least for which no sum is bounded by `t` that `low` and `high` do not bound,
    so that it costs as little precision as it can.

    Args:
        factors: float64 [channels], from sums to steps of the result; finite and not negative.
        sums: int64 [channels] each: the least and the greatest sum that can occur, in 32 bits.
    """
    found = (_scaled(factors, before, zero, low, high) for before in itertools.count())
    return next(how for how in found if _is_harmless(how, sums))


def _scaled(factors: np.ndarray, before: int, zero: int, low: int, high: int) -> Requantization:
    """Return multipliers with as many bits as the shifts' limits leave them."""
    after = np.ldexp(factors, before)
    _, exponents = np.frexp(np.where(after > 0, after, 1.0))
    best = np.where(after > 0, BITS - exponents, MAX_SHIFT)
    # A mantissa next to 1 is rounded up to it, and has a bit too many.
    best -= np.rint(np.ldexp(after, best)) > _MOST
    least = int(np.clip(best.min(), 1, MAX_SHIFT))
    shift = np.clip(best, least, min(least + SPREAD, MAX_SHIFT)).astype(np.int64)
    multiplier = np.minimum(np.rint(np.ldexp(after, shift)), _MOST).astype(np.int64)
    return Requantization(multiplier, shift, before, zero, low, high)


def _is_harmless(how: Requantization, sums: tuple[np.ndarray, np.ndarray]) -> bool:
    """Whether every sum that is bounded as `t` becomes the result's bound anyway."""
    least, greatest = (_before(extreme, how.before) for extreme in sums)
    low, high = (_after(np.full_like(least, bound), how) for bound in (-_MOST - 1, _MOST))
    fits = (least >= -_MOST - 1) | (low == how.low), (greatest <= _MOST) | (high == how.high)
    return bool(np.logical_and(*fits).all())


def _before(sums: np.ndarray, before: int) -> np.ndarray:
    return (sums + ((1 << before) >> 1)) >> before


def _after(t: np.ndarray, how: Requantization) -> np.ndarray:
    half = np.int64(1) << (how.shift - 1)
    rounded = (t * how.multiplier + half) >> how.shift
    return np.asarray(np.clip(rounded + how.zero, how.low, how.high))


def requantize(sums: np.ndarray, how: Requantization) -> np.ndarray:
    """Return int8 [..., channels] for sums, int64 of the same shape."""
    t = np.clip(_before(sums, how.before), -_MOST - 1, _MOST)
    return _after(t, how).astype(np.int8)


def ratios(factors: tuple[float, float]) -> tuple[tuple[int, int], int]:
    """Return the multipliers and the one shift of a sum of two scales.

    Args:
        factors: from the steps of each input to the result's; finite, not both 0.

    Returns:
        integers of at most 17 bits and a sign, and the shift of the sum of the products.
    """
    largest = max(abs(factor) for factor in factors)
    how = _scaled(np.array([largest]), 0, 0, -128, 127)
    shift = int(how.shift[0])
    first, second = (
        int(np.clip(np.rint(np.ldexp(factor, shift)), -_MOST, _MOST)) for factor in factors
    )
    return (first, second), shift


def reach(weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest sum of each channel, int64, whatever int8 comes in.

    Args:
        weights: int8 [channels, ...].
        bias: int64 [channels].
    """
    flat = weights.reshape(len(weights), -1).astype(np.int64)
    above, below = np.maximum(flat, 0).sum(axis=1), np.minimum(flat, 0).sum(axis=1)
    return bias + 127 * below - 128 * above, bias + 127 * above - 128 * below
