"""The shapes of the inputs, all static: those of the file, and those that the user asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx
import onnx_ir as ir

from ...errors import Problem, UsageError
from .onnx_tensors import size_fault

Shapes = Mapping[str, tuple[int, ...]]

#: A dimension as the file has it: its size, its name, or neither.
_Dim = int | str | None


def fix_input_shapes(model: ir.Model, shapes: Shapes) -> dict[str, int]:
    """Make the shape of every input static.

    A symbolic first dimension is 1, unless `shapes` or a dimension of the same name says otherwise.
    Every other symbolic dimension has to be given.

    Returns:
        The size of each named dimension.

    Raises:
        UsageError: a shape is missing, contradicts the file or another one, or is for no input;
            lists them all, and what to write.
    """
    inputs = {str(value.name): value for value in model.graph.inputs}
    problems = list(_unknown(model, inputs, shapes))
    bound: dict[str, int] = {}
    for name, value in inputs.items():
        if name in shapes:
            problems += _contradictions(value, shapes[name], bound)
    for name, value in inputs.items():
        first = (_declared(value) or [None])[0]
        if isinstance(first, str) and name not in shapes:
            bound.setdefault(first, 1)
    for name, value in inputs.items():
        if name in shapes:
            value.shape = ir.Shape(shapes[name])
        else:
            problems += _fix(value, bound)
    if problems:
        raise UsageError("the shapes of the model's inputs do not work out", problems)
    return bound


def declared_dims(model: onnx.ModelProto) -> dict[str, tuple[_Dim, ...] | None]:
    """Return the dimensions of each input as the file has them; None for one without a shape."""
    constants = {tensor.name for tensor in model.graph.initializer}
    found: dict[str, tuple[_Dim, ...] | None] = {}
    for value in model.graph.input:
        if value.name not in constants:
            tensor = value.type.tensor_type
            found[value.name] = tuple(map(_dim, tensor.shape.dim)) if _has_shape(value) else None
    return found


def _has_shape(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"))


def _dim(dim: onnx.TensorShapeProto.Dimension) -> _Dim:
    if dim.HasField("dim_value"):
        return dim.dim_value if dim.dim_value >= 0 else None
    return dim.dim_param or None


def _declared(value: ir.Value) -> list[_Dim] | None:
    """Return a shape as the file has it; some exporters write -1 for a dimension of any size."""
    if value.shape is None:
        return None
    dims = (dim if isinstance(dim, int) else dim.value for dim in value.shape)
    return [None if isinstance(dim, int) and dim < 0 else dim for dim in dims]


def _unknown(model: ir.Model, inputs: Mapping[str, ir.Value], shapes: Shapes) -> Iterator[Problem]:
    for name in shapes:
        if name not in inputs:
            constant = name in model.graph.initializers
            what = "is a constant of the model" if constant else "is no input of the model"
            yield Problem(f"--shape {name}", what, f"its inputs: {', '.join(inputs) or 'none'}")


def _contradictions(
    value: ir.Value, wanted: tuple[int, ...], bound: dict[str, int]
) -> Iterator[Problem]:
    """Yield what speaks against a shape that the user asked for; note its named dimensions."""
    where = f"--shape {value.name}={_text(wanted)}"
    declared = _declared(value)
    if any(size < 0 for size in wanted):
        yield Problem(where, "has a negative dimension")
    elif value.dtype is not None and (fault := size_fault(value.dtype, wanted)):
        yield Problem(where, fault)
    if declared is None:
        return
    if len(declared) != len(wanted):
        yield Problem(
            where, f"has {len(wanted)} dimensions; the input has {len(declared)}: {_text(declared)}"
        )
        return
    for index, (dim, size) in enumerate(zip(declared, wanted, strict=True)):
        if isinstance(dim, int) and dim != size:
            yield Problem(where, f"dimension {index} is {dim} in the model, not {size}")
        elif isinstance(dim, str) and bound.setdefault(dim, size) != size:
            yield Problem(where, f"dimension {index} ({dim}) is {bound[dim]} elsewhere")


def _fix(value: ir.Value, bound: Mapping[str, int]) -> Iterator[Problem]:
    """Make a shape static that the user did not give."""
    where = f"input {value.name!r}"
    declared = _declared(value)
    if declared is None:
        yield Problem(where, "has no shape", f"write --shape {value.name}=... with its shape")
        return
    sizes = [bound.get(dim) if isinstance(dim, str) else dim for dim in declared]
    if sizes and declared[0] is None:
        sizes[0] = 1
    known = [size for size in sizes if size is not None]
    if len(known) == len(sizes):
        value.shape = ir.Shape(known)
        if value.dtype is not None and (fault := size_fault(value.dtype, tuple(known))):
            yield Problem(where, fault)
        return
    open_dims = [index for index, size in enumerate(sizes) if size is None]
    named = ", ".join(str(declared[index] or f"number {index}") for index in open_dims)
    template = _text(["N" if size is None else size for size in sizes])
    yield Problem(
        where,
        f"has dimensions of any size: {named}",
        f"write --shape {value.name}={template} with numbers for N",
    )


def _text(dims: Sequence[_Dim]) -> str:
    return "x".join("?" if dim is None else str(dim) for dim in dims)
