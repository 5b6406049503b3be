"""How far quantized numbers lie from those of the float model."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..reference import Arrays


def sqnr(reference: np.ndarray, actual: np.ndarray) -> float:
    """Return the signal-to-quantization-noise ratio in decibel, over all elements.

    10 log10(sum reference^2 / sum (reference - actual)^2), summed in float64; infinite where the
    two are equal, minus infinity where the reference is zero throughout and `actual` is not.

    Source: Nagel et al., "A White Paper on Neural Network Quantization", 2021, section 4.1.

    Args:
        reference: the float model's numbers, of any shape.
        actual: the quantized model's numbers, of the same shape.

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != actual.shape:
        raise ValueError(f"the shapes {reference.shape} and {actual.shape} differ")
    wanted = reference.astype(np.float64)
    return decibels(energy(wanted), energy(wanted - actual))


def of_outputs(pairs: Iterable[tuple[Arrays, Arrays]]) -> float:
    """Return the ratio in decibel over the floating-point outputs of all runs.

    Args:
        pairs: the reference's outputs by name, and the actual ones, of each run; taken one by one.
    """
    signal = noise = 0.0
    for wanted, actual in pairs:
        for name, array in wanted.items():
            if array.dtype.kind == "f":
                signal += energy(array)
                noise += energy(array.astype(np.float64) - actual[name])
    return decibels(signal, noise)


def energy(array: np.ndarray) -> float:
    """Return the sum of squares, in float64."""
    flat = array.astype(np.float64, copy=False).reshape(-1)
    return float(flat @ flat)


def decibels(signal: float, noise: float) -> float:
    """Return the ratio of two energies in decibel."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
