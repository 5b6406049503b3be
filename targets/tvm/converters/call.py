"""One operator on its way into Relax: what a converter is given, and how it asks for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
from tvm import relax

from ..schedules.core import Core

#: TVM has no type hints: an expression is whatever `relax.Expr` is.
Expr: TypeAlias = Any
Shape: TypeAlias = tuple[int, ...]

#: Half precision: a way to store numbers; with float16 some cores compute products, too.
HALF = ("float16", "bfloat16")

#: What a converter returns: the node's output, or one expression for each of its outputs.
Converted: TypeAlias = Expr | Sequence[Expr]


@dataclasses.dataclass(frozen=True)
class Call:
    """One node, its inputs as Relax expressions, and the builder that gives results a name.

    Shapes and dtypes are the model's own, static and inferred by ONNX: a converter never asks
    Relax for them.

    Attributes:
        widened: half precision is computed in single: such inputs are given as float32, the dtypes
            below say so, and the result is rounded by the caller.
        core: what kernels of our own are made for; None: the target schedules them as it does
            TVM's.
    """

    node: ir.Node
    inputs: tuple[Expr | None, ...]
    builder: relax.BlockBuilder
    widened: bool = False
    core: Core | None = None

    def __getitem__(self, index: int) -> Expr:
        """Return a required input."""
        return self.inputs[index]

    def given(self, index: int) -> Expr:
        """Return a required input in the dtype that the model states, not widened."""
        return as_stored(self.inputs[index]) if self.widened else self.inputs[index]

    @property
    def native(self) -> Call:
        """The same as the model states it, where that is half precision that the core computes in.

        Else this.
        """
        values = [*self.node.inputs, *self.node.outputs]
        dtypes = {dtype_of(value) for value in values if value is not None}
        if self.core is None or not self.core.halves or dtypes != {"float16"}:
            return self
        inputs = tuple(
            None if item is None else self.given(k) for k, item in enumerate(self.inputs)
        )
        return dataclasses.replace(self, inputs=inputs, widened=False)

    def rounded(self, result: Expr) -> Expr:
        """Return the result in the dtype that the model states.

        What asks for it before a reshape lets the kernel that computes the result round it.
        """
        dtype = dtype_of(self.node.outputs[0])
        return relax.op.astype(result, dtype) if self.widened and dtype in HALF else result

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def emit(self, expression: Expr) -> relax.Var:
        """Bind an expression that is used more than once, so that it is computed once."""
        return bound(self.builder, expression)

    def shape(self, index: int = 0) -> Shape:
        """Return the shape of an input."""
        return shape_of(self.node.inputs[index])

    def rank(self, index: int = 0) -> int:
        return len(self.shape(index))

    def dtype(self, index: int = 0) -> str:
        """Return the dtype of an input, as TVM spells it."""
        return self._seen(dtype_of(self.node.inputs[index]))

    def out_shape(self, index: int = 0) -> Shape:
        return shape_of(self.node.outputs[index])

    def out_dtype(self, index: int = 0) -> str:
        return self._seen(dtype_of(self.node.outputs[index]))

    def _seen(self, dtype: str) -> str:
        return "float32" if self.widened and dtype in HALF else dtype

    def array(self, index: int) -> np.ndarray:
        """Return the value of a constant input."""
        value = self.node.inputs[index]
        if value is None or value.const_value is None:
            raise ValueError(f"input {index} of {self.node.op_type} is not a constant")
        return value.const_value.numpy().astype(self.dtype(index), copy=False)

    def ints(self, index: int) -> Shape:
        """Return the elements of a constant integer input."""
        return tuple(int(item) for item in self.array(index).reshape(-1))

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute's value: int, float, str, tuple or tensor; `default` if not given."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.value

    def axis(self, default: int, index: int = 0) -> int:
        """Return the attribute ``axis``, counted from the front."""
        return int(self.attr("axis", default)) % max(1, self.rank(index))


Converter = Callable[[Call], Converted]


def bound(builder: relax.BlockBuilder, expression: Expr) -> relax.Var:
    """Return a variable of the expression's value.

    One that is a variable already gets no second name: TVM does not fuse beyond it.
    """
    return expression if isinstance(expression, relax.Var) else builder.emit(expression)


def as_stored(expression: Expr) -> Expr:
    """Return half precision as it is, if an expression widens it; else the expression."""
    if not isinstance(expression, relax.Call) or str(expression.op.name) != "relax.astype":
        return expression
    source = expression.args[0]
    widens = str(source.ty.dtype) in HALF and str(expression.attrs.dtype) == "float32"
    return source if widens else expression


def core_of(call: Call) -> Core:
    """Return what kernels of our own are made for, where there is such a thing."""
    if call.core is None:
        raise ValueError(f"{call.node.op_type}: the target schedules kernels itself")
    return call.core


def shape_of(value: ir.Value | None) -> Shape:
    """Return a value's static shape."""
    if value is None or value.shape is None or not value.shape.is_static():
        raise ValueError(f"{value} has no static shape")
    return tuple(int(dim) for dim in value.shape.numpy())


def dtype_of(value: ir.Value | None) -> str:
    """Return a value's dtype as TVM spells it: ``float32``, ``bool``."""
    if value is None or value.dtype is None:
        raise ValueError(f"{value} has no dtype")
    return str(value.dtype.numpy())


def scalar(value: float | bool, dtype: str) -> Expr:
    """Return a constant of rank 0."""
    return relax.const(value, dtype)


def constant(array: np.ndarray) -> Expr:
    """Return a constant tensor with the array's own dtype and shape."""
    return relax.const(np.asarray(array, order="C"), str(array.dtype))


def is_float(dtype: str) -> bool:
    return dtype.startswith(("float", "bfloat"))


def reshaped(expression: Expr, shape: Sequence[int]) -> Expr:
    return relax.op.reshape(expression, tuple(shape))
