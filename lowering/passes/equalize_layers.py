"""Scale channels so that those of one tensor have like ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

import numpy as np
import onnx_ir as ir

from .. import affine
from ..analysis.calibrate import Calibration
from ..channels import Group, channel_groups, per_channel
from ..editing import Editor
from ..matching import array_of, sole_user

#: How far channels may lie apart: what is smaller than the largest by more counts as if it were
#: not. The scales then lie within 2^-10 .. 2^10, too.
_SPAN: Final = 2.0**10


@dataclasses.dataclass(frozen=True)
class EqualizeLayers(ir.passes.InPlacePass):
    """Scale the channels between linear operators, so that one scale of quantization fits them all.

    The outputs of a Conv, ConvTranspose, Gemm or MatMul are multiplied by a factor for each
    channel, through ReLU, residual Adds, pooling and reshapes, and the operators that read them
    divide by it. The factors are powers of two: every product and sum in between is rounded as
    before, so the network computes the same numbers, to the bit, as long as none leaves the normal
    range of float32. (A factor within √2 of the best costs next to nothing.)

    A channel's factor weighs what it is good for against what it costs:

    - weights with a scale per output channel: a producer's rows can be scaled at no cost, so the
      activations A (the largest magnitude: measured better than the root mean square) are weighed
      against the consumers' columns C:
      factor = √(C / A), as SmoothQuant (Xiao et al., "SmoothQuant: Accurate and Efficient
      Post-Training Quantization for Large Language Models", 2023). A depthwise convolution has one
      channel in a row and costs nothing: if all consumers are, factor = 1 / A;
    - weights with one scale: a producer's rows P count as much as the activations:
      factor = √(C / √(P A)). Where there are no statistics, √(C / P), as Nagel et al.,
      "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019.

    Under a Clip with an upper bound, such as ReLU6, a channel that reaches the bound keeps its
    scale, and no factor takes another there: on the calibration data the numbers are the same. A
    number beyond what calibration has seen may be cut at another place.

    Channels without activations or weights are left alone. A constant that several nodes share is
    copied.

    Attributes:
        calibration: the statistics of the values that will be quantized; others do not count.
        per_channel: whether every output channel's weights have their own scale;
        per_column: whether those of Gemm and MatMul do.
        growth: bytes; how much the pass may add to the model's constants.
    """

    calibration: Calibration
    per_channel: bool = True
    per_column: bool = True
    growth: int = 16 << 20

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for group in channel_groups(model):
            factors = self._factors(group)
            if np.any(factors != 1):
                self._apply(group, factors, edit)
        return edit.result(model)

    def _factors(self, group: Group) -> np.ndarray:
        """Return a power of two for each channel."""
        activations = self._activations(group)
        rows = _joined(group.count, [_rows(node) for node in group.producers])
        columns = _joined(
            group.count,
            [_columns(node, group, relative=self._has_scales(node)) for node in group.consumers],
        )
        alive = (rows > 0) & (columns > 0)
        if activations is not None:
            alive &= activations > 0
        if not alive.any():
            return np.ones(group.count)
        dear = [_rows(node) for node in group.producers if not self._has_scales(node)]
        if dear:
            rows = _joined(group.count, dear)
            costs = rows if activations is None else np.sqrt(rows * activations)
            ideal = np.sqrt(columns / np.where(alive, costs, 1))
        elif activations is None:
            return np.ones(group.count)
        else:
            ideal = columns / np.where(alive, activations, 1)
            if not all(_is_depthwise(node) for node in group.consumers):
                ideal = np.sqrt(ideal)
        exponents = np.where(alive, np.log2(np.where(alive, ideal, 1)), np.nan)
        return self._bounded(group, exponents)

    def _has_scales(self, node: ir.Node) -> bool:
        """Whether each output channel of a node's weights has a scale."""
        is_matrix = node.op_type in ("Gemm", "MatMul")
        return self.per_column if is_matrix else self.per_channel

    def _activations(self, group: Group) -> np.ndarray | None:
        """Return how large each channel is, relative to the largest of its tensor."""
        found = []
        for value, channels in group.values.items():
            statistics = self.calibration.values.get(str(value.name))
            if statistics is not None and statistics.largest is not None and channels.axis == 1:
                found.append(per_channel(statistics.largest, channels))
        return _joined(group.count, found) if found else None

    def _bounded(self, group: Group, exponents: np.ndarray) -> np.ndarray:
        """Return powers of two near 2^exponents (NaN: 1), or 1 where a ceiling asks for it.

        A common factor is free. It is chosen so that most channels keep their scale or, under a
        ceiling, those that reach it, or else so that none does.
        """
        limit = np.log2(_SPAN)
        room = self._room(group)
        if room is None:
            return np.ones(group.count)
        alive, full = ~np.isnan(exponents), room <= 0
        center = np.median(exponents[alive & full if (alive & full).any() else alive])
        steps = np.clip(np.rint(exponents - center), -limit, limit)
        if np.isfinite(room).any():
            if not full.any():
                steps += min(0.0, np.floor(np.min((room - steps)[alive])))
            steps = np.where(full, 0, np.minimum(steps, np.floor(room)))
        factors: np.ndarray = np.exp2(np.where(alive, steps, 0))
        return factors

    def _room(self, group: Group) -> np.ndarray | None:
        """Return the exponent up to which each channel stays below all ceilings; 0: it is there.

        None if it is not known how far a value under a ceiling goes.
        """
        room = np.full(group.count, np.inf)
        for value, bound in group.ceilings:
            statistics = self.calibration.values.get(str(value.name))
            channels = group.values[value]
            if statistics is None or statistics.largest is None or channels.axis != 1 or bound <= 0:
                return None
            largest = per_channel(statistics.largest, channels)
            with np.errstate(divide="ignore"):
                left = np.log2(bound / largest)
            # Below the bound, but by less than a factor of two: it may still not grow.
            left = np.where(largest < bound, np.maximum(left, 2.0**-20), 0)
            room = np.minimum(room, left)
        return room

    def _apply(self, group: Group, factors: np.ndarray, edit: Editor) -> None:
        """Write the scaled constants, all or, where one overflows or they grow too much, none."""
        scales: dict[ir.Node, list[np.ndarray]] = {}
        for node in group.producers:
            weight = array_of(node.inputs[1])
            if weight is not None:
                scales.setdefault(node, []).append(_output_factor(node, weight, factors))
        for node in group.consumers:
            weight = array_of(node.inputs[1])
            if weight is not None:
                spread = _spread(node, group, 1 / factors)
                scales.setdefault(node, []).append(_input_factor(node, weight, spread))
        found: list[tuple[ir.Node, int, np.ndarray]] = []
        for node, parts in scales.items():
            products = list(_products(node, parts, factors if node in group.producers else None))
            if any(product is None for _, product in products):
                return
            found.extend((node, index, array) for index, array in products if array is not None)
        shared = sum(
            array.nbytes
            for node, index, array in found
            if (value := node.inputs[index]) is not None and sole_user(value) is not node
        )
        if edit.grown + shared > self.growth:
            return
        for node, index, array in found:
            old = node.inputs[index]
            name = "weight" if index == 1 else "bias"
            dtype = old.dtype if old is not None else None
            edit.set_input(node, index, edit.constant(node, name, array, dtype))


def _products(
    node: ir.Node, parts: list[np.ndarray], factors: np.ndarray | None
) -> Iterator[tuple[int, np.ndarray | None]]:
    """Yield the inputs that change and what they become; None where that overflows."""
    weight: np.ndarray | None = array_of(node.inputs[1])
    for part in parts:
        weight = affine.scaled(weight, part) if weight is not None else None
    yield 1, weight
    bias = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is not None and factors is not None:
        yield 2, affine.scaled(np.broadcast_to(bias.reshape(-1), factors.shape), factors)


def _output_factor(node: ir.Node, weight: np.ndarray, factors: np.ndarray) -> np.ndarray:
    return factors if node.op_type == "MatMul" else affine.output_factor(node, weight, factors)


def _input_factor(node: ir.Node, weight: np.ndarray, factors: np.ndarray) -> np.ndarray:
    if node.op_type == "MatMul":
        return factors[:, None]
    return affine.input_factor(node, weight, factors)


def _spread(node: ir.Node, group: Group, figures: np.ndarray) -> np.ndarray:
    """Return figures of channels as those of the node's inputs, where a map was flattened."""
    value = node.inputs[0]
    return figures if value is None else np.repeat(figures, group.values[value].repeat)


def _rows(node: ir.Node) -> np.ndarray:
    """Return the largest weight of each output channel."""
    weight = np.abs(_weight(node))
    if node.op_type == "ConvTranspose":
        groups = node.attributes.get_int("group", 1)
        parts = weight.reshape(groups, -1, *weight.shape[1:])
        largest: np.ndarray = parts.max(axis=(1, *range(3, parts.ndim)), initial=0.0)
        return largest.reshape(-1)
    axis = _output_axis(node)
    return np.asarray(np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).max(axis=1))


def _columns(node: ir.Node, group: Group, *, relative: bool) -> np.ndarray:
    """Return each input channel's largest weight, or that relative to the largest of its row."""
    weight = np.abs(_weight(node))
    if relative and node.op_type != "ConvTranspose":
        rest = tuple(axis for axis in range(weight.ndim) if axis != _output_axis(node))
        largest = weight.max(axis=rest, keepdims=True)
        weight = weight / np.where(largest > 0, largest, 1)
    if node.op_type == "Conv":
        groups = node.attributes.get_int("group", 1)
        parts = weight.reshape(groups, -1, *weight.shape[1:])
        found = parts.max(axis=(1, *range(3, parts.ndim)), initial=0.0).reshape(-1)
    else:
        axis = 0 if node.op_type == "ConvTranspose" else 1 - _output_axis(node)
        found = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).max(axis=1)
    value = node.inputs[0]
    return found if value is None else per_channel(found, group.values[value])


def _weight(node: ir.Node) -> np.ndarray:
    weight = array_of(node.inputs[1])
    if weight is None:
        raise ValueError(f"node {node.name!r} has no constant weight")
    return weight.astype(np.float64)


def _output_axis(node: ir.Node) -> int:
    if node.op_type == "Conv":
        return 0
    transposed = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
    return 0 if transposed else 1


def _is_depthwise(node: ir.Node) -> bool:
    """Whether each row of the weight belongs to one input channel."""
    weight = array_of(node.inputs[1])
    return node.op_type == "Conv" and weight is not None and weight.shape[1] == 1


def _joined(count: int, figures: list[np.ndarray]) -> np.ndarray:
    """Return the largest of several figures of each channel, each relative to its largest.

    What is far below the largest is taken for as large as `_SPAN` allows; zero stays zero.
    """
    joined = np.zeros(count)
    for item in figures:
        relative = item / max(float(item.max(initial=0.0)), np.finfo(np.float64).tiny)
        joined = np.maximum(joined, np.where(relative > 0, np.maximum(relative, 1 / _SPAN), 0))
    return joined
