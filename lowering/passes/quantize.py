"""Write integers into a network: QuantizeLinear and DequantizeLinear, as a recipe says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from ...errors import Problem, TapeoutError
from ..clamps import clamp_of
from ..editing import Editor
from ..matching import array_of, is_op, shape_of
from ..quantization.parameters import Parameters, of_bias, of_range
from ..quantization.placement import Placement, data_inputs, is_inner, place
from ..quantization.recipe import Recipe, Weights
from ..quantization.scheme import limits, next_power_of_two


@dataclasses.dataclass(frozen=True)
class Quantize(ir.passes.InPlacePass):
    """Write a recipe into a canonical, channels-first model in float.

    Weights become constant integers behind a DequantizeLinear, and so do biases (int32, of the
    scale of input times weight), where the scheme says so, and constant operands. A value that is
    rounded gets one pair of QuantizeLinear and DequantizeLinear. All that reads what an integer
    kernel gives reads the rounded numbers; of what float code gives, only integer kernels do.
    Where integers are, `quantization.placement` says.

    An activation whose bounds are those of the integers that follow it is left out.

    A bias that int32 cannot hold at that scale (its channel's weights are next to nothing) has its
    channel's weights rounded again to a larger scale.

    Requires: the model that the recipe was made for, float32, static shapes.
    Ensures: a model in QDQ form, whose inputs and outputs are as before.

    Attributes:
        recipe: the parameters of every rounded value, and the weights of every linear node.

    Raises:
        TapeoutError: the recipe is not one for this model; names all that it lacks.
    """

    recipe: Recipe

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        placement = place(model, self.recipe.scheme, self.recipe.kept)
        _check(model, placement, self.recipe)
        writer = _Writer(Editor(model), self.recipe, placement, _values(model))
        for node in tuple(model.graph):
            if node.name in writer.integer:
                writer.constants_of(node)
        for name in placement.values:
            writer.round(name)
        return writer.edit.result(model)


def _check(model: ir.Model, placement: Placement, recipe: Recipe) -> None:
    problems = [
        Problem(f"value {name!r}", "the recipe has no parameters for it")
        for name in placement.values
        if name not in recipe.activations
    ]
    problems += [
        Problem(f"node {name!r}", "the recipe has no weights for it")
        for name in placement.nodes
        if name not in recipe.weights
    ]
    problems += [
        Problem(f"node {node.name!r}", "the recipe has a bias for it, but MatMul takes none")
        for node in model.graph
        if is_op(node, "MatMul")
        and (found := recipe.weights.get(str(node.name))) is not None
        and found.bias is not None
    ]
    if problems:
        raise TapeoutError("the recipe was made for another model", problems)


def _values(model: ir.Model) -> dict[str, ir.Value]:
    produced = (value for node in model.graph for value in node.outputs)
    return {str(value.name): value for value in (*model.graph.inputs, *produced)}


class _Writer:
    """Writes one recipe into one model."""

    def __init__(
        self, edit: Editor, recipe: Recipe, placement: Placement, values: dict[str, ir.Value]
    ) -> None:
        self.edit = edit
        self.integer = frozenset(placement.integer)
        self._recipe = recipe
        self._linear = frozenset(placement.nodes)
        self._values = values

    def constants_of(self, node: ir.Node) -> None:
        """Let an integer kernel read integer constants: its weight and bias, or its operands."""
        if node.name in self._linear:
            self._weights_of(node, self._recipe.weights[str(node.name)])
        for index in data_inputs(node):
            array = array_of(node.inputs[index])
            if array is not None:
                found = self._operand(node, array)
                self._set(node, index, f"input_{index}", found.integers(array), found)

    def _operand(self, node: ir.Node, array: np.ndarray) -> Parameters:
        """Return the parameters of a constant that is no weight."""
        scheme = self._recipe.scheme
        if scheme.same_in_concat and node.op_type == "Concat":
            return self._recipe.activations[str(node.outputs[0].name)]
        return of_range(float(array.min()), float(array.max()), scheme)

    def _weights_of(self, node: ir.Node, weights: Weights) -> None:
        source = node.inputs[0]
        integers, parameters, bias = weights.integers, weights.parameters, weights.bias
        if bias is None or source is None or not self._recipe.scheme.integer_bias:
            self._set(node, 1, "weight", integers, parameters)
            if bias is not None:
                self.edit.set_input(node, 2, self.edit.constant(node, "bias", bias, _FLOAT))
            return
        of_input = self._recipe.activations[str(source.name)]
        integers, parameters = _holding(
            bias, of_input, integers, parameters, power_of_two=self._recipe.scheme.power_of_two
        )
        self._set(node, 1, "weight", integers, parameters)
        of_sums = _of_channels(of_bias(of_input, parameters), len(bias))
        self._set(node, 2, "bias", of_sums.integers(bias.astype(np.float64)), of_sums)

    def _set(
        self, node: ir.Node, index: int, name: str, integers: np.ndarray, found: Parameters
    ) -> None:
        """Let a node read the real numbers of constant integers as its input `index`."""
        constant = self.edit.constant
        inputs = [
            constant(node, f"{name}_quantized", integers, found.dtype),
            constant(node, f"{name}_scale", found.scale, _FLOAT),
            constant(node, f"{name}_zero_point", found.zero_point, found.dtype),
        ]
        axis = None if found.axis is None else {"axis": found.axis}
        value = self.edit.insert(
            node,
            "DequantizeLinear",
            inputs,
            axis,
            name=name,
            dtype=_FLOAT,
            shape=integers.shape,
        )
        self.edit.set_input(node, index, value)

    def round(self, name: str) -> None:
        """Give a value its pair, and the rounded numbers to whoever must read them."""
        value, found = self._values[name], self._recipe.activations[name]
        readers = [
            use
            for use in value.uses()
            if use.node.name in self.integer and use.idx in data_inputs(use.node)
        ]
        producer = value.producer()
        given = producer is not None and producer.name in self.integer
        if producer is None or not given or not self._recipe.scheme.shared:
            rounded = self._pair(value, producer or readers[0].node, found, "dequantized")
            self._read(rounded, readers)
            return
        readers = list(value.uses())
        if not value.is_graph_output():
            self._read(self._pair(value, producer, found, "dequantized"), readers)
            self._saturate(value, producer, found)
            return
        rounded = self._pair(value, producer, found, "float")
        self._read(rounded, readers)
        value.name, rounded.name = rounded.name, value.name
        outputs = value.graph.outputs if value.graph is not None else []
        for index, output in enumerate(tuple(outputs)):
            if output is value:
                outputs[index] = rounded
        self._saturate(value, producer, found)

    def _saturate(self, value: ir.Value, activation: ir.Node, found: Parameters) -> None:
        """Leave out an activation inside a kernel whose bounds are those of the integers.

        Saturation does its work; runtimes look for their integer kernels right before a
        QuantizeLinear.
        """
        bounded = clamp_of(activation)
        if bounded is None or not is_inner(bounded[0], self.integer, self._recipe.scheme):
            return
        source, clamp = bounded
        low, high = limits(found.dtype)
        if (clamp.low is None or found.integers(np.array(clamp.low, np.float64)) == low) and (
            clamp.high is None or found.integers(np.array(clamp.high, np.float64)) == high
        ):
            self.edit.bypass(value, source)

    def _pair(self, value: ir.Value, near: ir.Node, found: Parameters, name: str) -> ir.Value:
        """Put a QuantizeLinear and a DequantizeLinear behind a value; return what the latter gives.

        The constants are called after the node that gives the value, or one that reads it.
        """
        side = "output" if value.producer() is near else "input"
        scale = self.edit.constant(near, f"{side}_scale", found.scale, _FLOAT)
        zero = self.edit.constant(near, f"{side}_zero_point", found.zero_point, found.dtype)
        shape = shape_of(value)
        integers = self.edit.follow(
            value,
            "QuantizeLinear",
            [value, scale, zero],
            name=f"{value.name}/quantized",
            dtype=found.dtype,
            shape=shape,
            sources=[near],
        )
        return self.edit.follow(
            integers,
            "DequantizeLinear",
            [integers, scale, zero],
            name=f"{value.name}/{name}",
            dtype=_FLOAT,
            shape=shape,
            sources=[near],
        )

    def _read(self, value: ir.Value, uses: Sequence[tuple[ir.Node, int]]) -> None:
        for node, index in uses:
            self.edit.set_input(node, index, value)


def _holding(
    bias: np.ndarray,
    of_input: Parameters,
    integers: np.ndarray,
    parameters: Parameters,
    *,
    power_of_two: bool,
) -> tuple[np.ndarray, Parameters]:
    """Return weights whose scales let int32 hold the bias, with room for the products' sum."""
    least = np.abs(bias.astype(np.float64)) / (_LARGEST_BIAS * float(of_input.scale))
    least = least.reshape(-1, parameters.scale.size).max(axis=0).reshape(parameters.scale.shape)
    if (least <= parameters.scale).all():
        return integers, parameters
    scale = np.maximum(least, parameters.scale).astype(np.float32)
    if power_of_two:
        scale = np.vectorize(next_power_of_two, otypes=[np.float32])(scale)
    changed = dataclasses.replace(parameters, scale=np.asarray(scale, np.float32))
    return changed.integers(parameters.reals(integers)), changed


def _of_channels(found: Parameters, count: int) -> Parameters:
    """Return the parameters of `count` channels for those of the channels of one group."""
    if found.axis is None or found.scale.size == count:
        return found
    groups = count // found.scale.size
    return dataclasses.replace(
        found, scale=np.tile(found.scale, groups), zero_point=np.tile(found.zero_point, groups)
    )


_FLOAT: Final = ir.DataType.FLOAT

#: A quarter of what int32 holds.
_LARGEST_BIAS: Final = float(1 << 30)
