"""What the host computes before and after the hardware: steps as plain data, and what they do.

A bundle's manifest lists the steps, and its program runs this very file: numpy is all it needs.
Arrays are [frames, ...]; shapes and axes in a step count the frames' axis, whose length they leave
open, as axis 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

#: One step: ``op`` names it, the rest are its options.
Step = Mapping[str, Any]


def run(steps: Iterable[Step], array: np.ndarray) -> np.ndarray:
    """Return what the steps make of an array [frames, ...], one after the other.

    Raises:
        ValueError: there is no such step; quotes its name.
    """
    for step in steps:
        options = dict(step)
        operation = OPERATIONS.get(name := options.pop("op", None))
        if operation is None:
            raise ValueError(f"there is no step {name!r}: {', '.join(OPERATIONS)}")
        array = operation(array, **options)
    return array


def quantize(x: np.ndarray, scale: float, zero: int) -> np.ndarray:
    """Round float32 to int8: ONNX's QuantizeLinear, halves to even."""
    steps = np.rint(x / np.float32(scale)) + np.float32(zero)
    return np.clip(steps, -128, 127).astype(np.int8)


def dequantize(x: np.ndarray, scale: float, zero: int) -> np.ndarray:
    """Return the float32 numbers that integers stand for."""
    found: np.ndarray = (x.astype(np.int32) - zero).astype(np.float32) * np.float32(scale)
    return found


def reshape(x: np.ndarray, shape: list[int]) -> np.ndarray:
    """Give each frame another shape; the frames' own axis is left out of it."""
    return x.reshape(len(x), *shape)


def transpose(x: np.ndarray, perm: list[int]) -> np.ndarray:
    """Put the axes in another order; the frames' axis stays the first."""
    return x.transpose(perm)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """Return exponentials as shares of their sum."""
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=axis, keepdims=True)
    return found


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """Return the logarithms of `softmax`."""
    centred = x - x.max(axis=axis, keepdims=True)
    found: np.ndarray = centred - np.log(np.exp(centred).sum(axis=axis, keepdims=True))
    return found


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), without exponentials that overflow."""
    found: np.ndarray = np.float32(0.5) * (np.float32(1) + np.tanh(np.float32(0.5) * x))
    return found


def argmax(x: np.ndarray, axis: int, keepdims: bool) -> np.ndarray:
    """Return the index of the first of the largest numbers, int64."""
    return np.asarray(x.argmax(axis=axis, keepdims=keepdims), np.int64)


def cast(x: np.ndarray, dtype: str) -> np.ndarray:
    """Return the numbers in another dtype of numpy's."""
    return x.astype(dtype)


OPERATIONS: Mapping[str, Callable[..., np.ndarray]] = {
    "argmax": argmax,
    "cast": cast,
    "dequantize": dequantize,
    "log_softmax": log_softmax,
    "quantize": quantize,
    "reshape": reshape,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "tanh": np.tanh,
    "transpose": transpose,
}
