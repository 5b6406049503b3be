"""One node on its way into TFLite: what a converter is given, and how it asks for more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from ...lowering.matching import array_of, shape_of
from ...lowering.run_time import rounds_at_run_time
from . import kernels
from .flatbuffer import Quantization, Writer

Shape = tuple[int, ...]

#: The name of an operator's table of options, and its fields.
Options = tuple[str, Mapping[str, Any]]


class NotSaidError(Exception):
    """A node cannot be said in TFLite; the message says why."""


@dataclasses.dataclass(frozen=True)
class Constant:
    """A constant input: its numbers, or integers with the parameters that give them meaning."""

    array: np.ndarray
    quantization: Quantization | None = None

    def reals(self) -> np.ndarray:
        """Return the float32 numbers that it stands for."""
        found = self.quantization
        if found is None:
            return self.array.astype(np.float32, copy=False)
        shape = [1] * self.array.ndim
        if len(found.scale) > 1:
            shape[found.axis] = -1
        steps = self.array.astype(np.int64) - found.zero_point.reshape(shape)
        return np.asarray(steps.astype(np.float32) * found.scale.reshape(shape))

    def transposed(self, perm: Sequence[int]) -> Constant:
        """Permute the axes; the axis of the scales goes along."""
        found = self.quantization
        if found is not None and len(found.scale) > 1:
            found = dataclasses.replace(found, axis=list(perm).index(found.axis))
        return Constant(self.array.transpose(perm), found)

    def part(self, start: int, stop: int) -> Constant:
        """Return some of a vector, the scales along with it."""
        found = self.quantization
        if found is not None and len(found.scale) > 1:
            scale, zero = found.scale[start:stop], found.zero_point[start:stop]
            found = dataclasses.replace(found, scale=scale, zero_point=zero)
        return Constant(self.array[start:stop], found)

    def reshaped(self, shape: Sequence[int], axis: int) -> Constant:
        """Change the shape; `axis` is where the scales then lie, if there are many."""
        found = self.quantization
        if found is not None and len(found.scale) > 1:
            found = dataclasses.replace(found, axis=axis)
        return Constant(self.array.reshape(shape), found)


class Values(Protocol):
    """The tensors of the model's values, as `lower` keeps them."""

    def tensor(self, value: ir.Value, *, integer: bool) -> int: ...
    def constant(self, value: ir.Value) -> Constant | None: ...


@dataclasses.dataclass(frozen=True)
class Said:
    """What a node says by itself: its attributes and shapes."""

    node: ir.Node

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute's value; `default` if it is not given."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.value

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def shape(self, index: int = 0) -> Shape:
        return static(self.node.inputs[index])

    def out_shape(self, index: int = 0) -> Shape:
        return static(self.node.outputs[index])

    def rank(self, index: int = 0) -> int:
        return len(self.shape(index))

    def axis(self, default: int, index: int = 0) -> int:
        """Return the attribute ``axis``, counted from the front."""
        return int(self.attr("axis", default)) % max(1, self.rank(index))


@dataclasses.dataclass(frozen=True)
class Call(Said):
    """One node with its tensors.

    Attributes:
        integer: it computes on int8: its data inputs are the integers behind a DequantizeLinear,
            its output goes into a QuantizeLinear.
        results: the values that are written: the outputs of the node or, where what follows is
            part of the operator, of that.
        activation: the name of the fused activation, of ActivationFunctionType.
    """

    writer: Writer
    values: Values
    results: tuple[ir.Value, ...]
    integer: bool = False
    activation: str = "NONE"

    # Constants.

    def array(self, index: int) -> np.ndarray:
        """Return the numbers of a constant input."""
        found = array_of(self.node.inputs[index])
        if found is None:
            raise NotSaidError(f"input {index} of {self.node.op_type} is not a constant")
        return found

    def ints(self, index: int) -> Shape:
        """Return the elements of a constant integer input."""
        return tuple(int(item) for item in self.array(index).reshape(-1))

    def constant(self, index: int) -> Constant | None:
        """Return a constant input, integers as they are stored; None if it is not constant."""
        value = self.node.inputs[index]
        return self.values.constant(value) if value is not None else None

    # Tensors.

    def input(self, index: int = 0) -> int:
        """Return the tensor of an input: of its integers if the node computes on them."""
        value = self.node.inputs[index]
        if value is None:
            raise NotSaidError(f"input {index} of {self.node.op_type} is not given")
        return self.values.tensor(value, integer=self.integer)

    def output(self, index: int = 0) -> int:
        """Return the tensor of an output."""
        return self.values.tensor(self.results[index], integer=False)

    def make(self, array: np.ndarray | Constant, name: str = "constant") -> int:
        """Return a constant tensor."""
        item = array if isinstance(array, Constant) else Constant(array)
        return self.writer.constant(f"{self.node.name}/{name}", item.array, item.quantization)

    @property
    def dynamic(self) -> bool:
        """Whether it computes in float, by kernels that round the data to 8 bits as they run."""
        return not self.integer and rounds_at_run_time(self.node)

    def weights(self, item: Constant) -> int:
        """Return a constant operand; where the node computes in float, as float numbers.

        Weights of kernels that round the data are int8.
        """
        if not self.integer and item.quantization is not None and item.array.dtype == np.int32:
            return self.make(item.reals(), "bias")  # DEQUANTIZE takes no int32
        stored = self.make(item, "weights" if item.array.ndim > 1 else "bias")
        stays = self.integer or (self.dynamic and item.array.dtype == np.int8)
        if stays or (item.quantization is None and item.array.dtype != np.float16):
            return stored
        return self.writer.reals(stored, f"{self.node.name}/weights_{stored}")

    def int32(self, numbers: Sequence[int], name: str) -> int:
        """Return a constant vector of int32, as most operators want their parameters."""
        return self.make(np.array(numbers, np.int32), name)

    def temporary(self, shape: Sequence[int], like: int, name: str) -> int:
        """Return a new tensor with the dtype and quantization of another."""
        known = self.writer.tensors[like]
        full = f"{self.node.name}/{name}"
        return self.writer.tensor(full, shape, known.dtype, known.quantization)

    def cast(self, tensor: int, dtype: str, name: str) -> int:
        """Return a tensor's numbers in a dtype: itself if they have it."""
        known = self.writer.tensors[tensor]
        if known.dtype == dtype:
            return tensor
        made = self.writer.tensor(f"{self.node.name}/{name}", known.shape, dtype)
        self.emit("CAST", [tensor], made, ("CastOptions", {}))
        return made

    def shape_of(self, tensor: int) -> Shape:
        return self.writer.tensors[tensor].shape

    # Operators.

    def emit(
        self,
        operator: str,
        inputs: Sequence[int],
        output: int | Sequence[int] | None = None,
        options: tuple[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Add an operator; `output` is that of the node unless given.

        Integers whose meaning the kernel chooses are rescaled to what the output's mean.
        """
        if output is None:
            output = [self.output(index) for index in range(len(self.results))]
        outputs = [output] if isinstance(output, int) else list(output)
        given = [self._given(operator, inputs, index) for index in outputs]
        self.writer.operator(operator, inputs, given, options)
        for made, wanted in zip(given, outputs, strict=True):
            if made != wanted:
                self.writer.operator("QUANTIZE", [made], [wanted], ("QuantizeOptions", {}))

    def _given(self, operator: str, inputs: Sequence[int], output: int) -> int:
        """Return what a kernel can write where `output` is wanted."""
        known = self.writer.tensors[output]
        chosen = kernels.meaning_of(operator, [self.writer.tensors[index] for index in inputs])
        if chosen is None or known.quantization is None or chosen.key == known.quantization.key:
            return output
        name = f"{self.node.name}/unscaled_{output}"
        return self.writer.tensor(name, known.shape, known.dtype, chosen)

    def reshape(self, tensor: int, shape: Sequence[int], output: int | None = None) -> int:
        """Give a tensor another shape."""
        if output is None:
            if self.shape_of(tensor) == tuple(shape):
                return tensor
            output = self.temporary(shape, tensor, f"reshaped_{len(self.writer.tensors)}")
        sizes = self.int32(shape, "shape")
        options = ("ReshapeOptions", {"newShape": np.array(shape, np.int32)})
        self.emit("RESHAPE", [tensor, sizes], output, options)
        return output

    def transpose(self, tensor: int, perm: Sequence[int], output: int | None = None) -> int:
        """Permute a tensor's axes."""
        if output is None:
            shape = [self.shape_of(tensor)[axis] for axis in perm]
            output = self.temporary(shape, tensor, f"transposed_{len(self.writer.tensors)}")
        inputs = [tensor, self.int32(perm, "perm")]
        self.emit("TRANSPOSE", inputs, output, ("TransposeOptions", {}))
        return output


Converter = Callable[[Call], None]


def static(value: ir.Value | None) -> Shape:
    """Return a value's static shape."""
    shape = shape_of(value)
    if shape is None:
        raise NotSaidError(f"{value} has no static shape")
    return shape
