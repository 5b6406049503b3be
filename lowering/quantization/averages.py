"""Scales of averages: no further from those of their inputs than integer kernels take."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

from ..matching import is_op, shape_of, sole_user
from .parameters import Parameters
from .scheme import Scheme, next_power_of_two

#: ONNX Runtime's QLinearGlobalAveragePool takes scales of which input / (output x count) is at
#: least the first and less than the second. What is coarser than the first is zero in every output;
#: what is finer than the second is finer than the average of integers can be.
_LEAST: Final = 2.0**-32
_MOST: Final = 2.0**8


def in_reach(
    model: ir.Model, ranges: Mapping[str, Parameters], scheme: Scheme
) -> dict[str, Parameters]:
    """Return the parameters of values, the scales raised where an average's lie too far apart.

    That is where an average is next to nothing although its inputs are not, or its output has the
    parameters of a Concat beside whose other inputs it is nothing. Values that share parameters
    still do.

    Args:
        ranges: parameters of values by name, one object for those that share them.
    """
    found = dict(ranges)
    while raised := _raised(model, found):
        name, least = raised
        scale = next_power_of_two(least) if scheme.power_of_two else least
        old = found[name]
        new = dataclasses.replace(old, scale=np.array(scale, np.float32))
        found.update({other: new for other, item in found.items() if item is old})
    return found


def _raised(model: ir.Model, found: Mapping[str, Parameters]) -> tuple[str, float] | None:
    """Return a value whose scale is too small, and what it must be; None if there is none."""
    for source, result, count in _averages(model, found):
        x, y = float(found[source].scale), float(found[result].scale)
        # With room for the rounding of float32.
        if x / (y * count) >= _MOST:
            return result, 2 * x / (_MOST * count)
        if x / (y * count) < _LEAST:
            return source, 2 * y * count * _LEAST
    return None


def _averages(model: ir.Model, found: Mapping[str, Parameters]) -> Iterator[tuple[str, str, int]]:
    """Yield the input, the output and how many numbers are averaged, where both are rounded."""
    for node in model.graph:
        if not is_op(node, "GlobalAveragePool") or node.inputs[0] is None:
            continue
        result = node.outputs[0]
        user = sole_user(result)
        if result.name not in found and user is not None:
            result = user.outputs[0]  # an activation inside the kernel
        shape = shape_of(node.inputs[0])
        if shape is not None and node.inputs[0].name in found and result.name in found:
            yield str(node.inputs[0].name), str(result.name), math.prod(shape[2:])
