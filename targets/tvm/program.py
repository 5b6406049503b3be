"""An engine's program: one function that calls the kernels, each with its places in memory.

TVM's virtual machine takes 0.2 us for each kernel, to allocate a tensor, to check it and to call:
more than small ones need for their work. Shapes are known here, so that nothing of it is left for
the device: intermediate tensors have places in one workspace, constants in one block of weights,
and

    infer(inputs..., outputs..., weights, workspace)

is a row of calls with addresses in them, once it has checked what it is given. `SIZES` tell how
large the last two are. An engine whose kernels are to be timed has each of these calls as a
function of its own, too, which takes the same.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.ir import Call, GlobalVar, PointerType, PrimType

from ...errors import TapeoutError
from . import in_place
from .build import CALL
from .schedules.core import Core
from .schedules.network import finished

#: The function of an engine that runs it once.
INFER: Final = "infer"

#: The functions of an engine that return the bytes of its weights, and of its workspace.
SIZES: Final = ("weights_size", "workspace_size")

#: Where tensors start, in bytes: code loads whole vectors from there (TVM's kAllocAlignment).
ALIGNMENT: Final = 64

#: TVM has no type hints.
Expr: TypeAlias = Any
Statement: TypeAlias = Any


@dataclasses.dataclass(frozen=True)
class Program:
    """What an engine is made of before it is machine code.

    Attributes:
        module: the kernels, `INFER` and `SIZES`; each `CALL`, if asked for.
        calls: the names of the kernels, in the order in which they run.
        weights: (bytes), uint8: the constants, each at its place.
        workspace: bytes of the intermediate tensors.
        inputs, outputs: bytes of each.
    """

    module: tvm.IRModule
    calls: tuple[str, ...]
    weights: np.ndarray
    workspace: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def program_of(
    module: tvm.IRModule, entry: str, core: Core | None = None, *, steps: bool = False
) -> Program:
    """Return the program of a module whose function `entry` calls kernels that write their results.

    Args:
        core: what the kernels are scheduled for; None: they are not.
        steps: whether each call is a function of its own, too.

    Raises:
        TapeoutError: it does something else.
    """
    found = _Steps(module[entry])
    kernels = {kernel: module[kernel] for kernel, _ in found.calls}
    if core is not None:
        kernels = finished(kernels, found.calls, found.intermediate, core)
    plan = in_place.plan(found.intermediate, found.calls, kernels, ALIGNMENT)
    for tensor, offset in zip(found.intermediate, plan.offsets, strict=True):
        tensor.place = _Place("workspace", offset)
    weights = np.concatenate(found.constants or [np.zeros(0, np.uint8)])
    for number, position in plan.over.items():
        found.call_over(number, position, kernels)
    functions = {kernel: _private(kernels[kernel]) for kernel, _ in found.calls}
    sizes = len(weights), plan.size
    every = range(len(found.calls))
    made = {INFER: every} | {f"{CALL}{k}": every[k : k + 1] for k in every if steps}
    for name, numbers in made.items():
        functions[GlobalVar(name)] = found.function(name, numbers, *sizes)
    for name, size in zip(SIZES, sizes, strict=True):
        functions[GlobalVar(name)] = _constant(name, size)
    return Program(
        module=tvm.IRModule(functions),
        calls=tuple(str(kernel.name_hint) for kernel, _ in found.calls),
        weights=weights,
        workspace=plan.size,
        inputs=tuple(_bytes(item.ty.shape, item.ty.dtype) for item in found.parameters),
        outputs=tuple(_bytes(item.shape, item.dtype) for item in found.types),
    )


@dataclasses.dataclass(frozen=True)
class _Place:
    """Bytes of an argument of `INFER`, from an offset on."""

    argument: str
    offset: int = 0


@dataclasses.dataclass
class _Tensor:
    """What a kernel writes: so many bytes, from its first call to the last that reads them."""

    size: int
    first: int = -1
    last: int = -1
    place: _Place | None = None


#: What a name in ``main`` stands for; kernels themselves return nothing.
_Value: TypeAlias = "_Place | _Tensor | list[_Value] | None"


class _Steps:
    """The calls of ``main``, and what they are made on.

    Attributes:
        calls: kernels and their arguments.
        intermediate: the tensors that are no outputs.
        constants: in their order among the weights, each with what fills it up to `ALIGNMENT`.
        copies: (from, to): outputs that no kernel writes where they belong.
    """

    def __init__(self, main: relax.Function) -> None:
        self.parameters = list(main.params)
        self.calls: list[tuple[GlobalVar, list[_Place | _Tensor]]] = []
        self.constants: list[np.ndarray] = []
        self.copies: list[tuple[_Place, _Place, int]] = []
        self._tensors: list[_Tensor] = []
        self._known: dict[bytes, _Place] = {}
        self._end = 0
        self._values: dict[Any, _Value] = {
            parameter: _Place(_input(k)) for k, parameter in enumerate(main.params)
        }
        for block in main.body.blocks:
            for binding in block.bindings:
                self._values[binding.var] = self._bound(binding.value)
        is_several = isinstance(main.ret_ty, tvm.ir.TupleType)
        self.types = list(main.ret_ty.fields) if is_several else [main.ret_ty]
        result = self._value(main.body.body)
        for k, value in enumerate(result if isinstance(result, list) else [result]):
            self._give(value, _Place(_output(k)), self.types[k])
        self.intermediate = [item for item in self._tensors if item.place is None]

    def call_over(
        self, number: int, position: int, kernels: dict[GlobalVar, tirx.PrimFunc]
    ) -> None:
        """Let a call give one argument for its result and an input that has the same place.

        Args:
            kernels: get one for that, if there is none.
        """
        kernel, given = self.calls[number]
        name = f"{kernel.name_hint}_over_{position}"
        known = {str(item.name_hint): item for item in kernels}
        over = known.get(name, GlobalVar(name))
        if name not in known:
            kernels[over] = in_place.written_over(kernels[kernel], position)
        self.calls[number] = over, [*given[:position], *given[position + 1 :]]

    def function(self, name: str, numbers: range, weights: int, workspace: int) -> tirx.PrimFunc:
        """Return a function that makes the calls of these numbers; after the last, the copies.

        Args:
            weights, workspace: so many bytes are given for each.
        """
        inputs = [(_input(k), item.ty) for k, item in enumerate(self.parameters)]
        outputs = [(_output(k), item) for k, item in enumerate(self.types)]
        tensors = [
            tirx.decl_buffer(list(map(int, item.shape)), str(item.dtype), name=name)
            for name, item in [*inputs, *outputs]
        ]
        blocks = [
            tirx.decl_buffer((size,), "uint8", name=name)
            for name, size in (("weights", weights), ("workspace", workspace))
        ]
        arguments = {str(item.name): item for item in [*tensors, *blocks]}

        def address(place: _Place) -> Expr:
            argument = arguments[place.argument]
            index = [tirx.const(0, "int64") for _ in argument.shape]
            if place.offset:
                index = [tirx.const(place.offset, "int64")]
            return tirx.address_of(tirx.BufferLoad(argument, index))

        called = [
            _required(Call(kernel, [address(_placed(item)) for item in given], ret_ty="int32"))
            for kernel, given in self.calls[numbers.start : numbers.stop]
        ]
        copied = [
            tirx.Evaluate(tirx.call_extern("handle", "memcpy", address(to), address(source), size))
            for source, to, size in (self.copies if numbers.stop == len(self.calls) else ())
        ]
        steps = [*called, *copied]
        body = tirx.SeqStmt(steps) if len(steps) > 1 else steps[0]
        return tirx.PrimFunc([*tensors, *blocks], body, attrs=_public(name))

    def _bound(self, value: Expr) -> _Value:
        """Return what the value of a binding stands for; note what it calls."""
        if not isinstance(value, Call):
            return self._value(value)
        if isinstance(value.op, GlobalVar):
            self._call(value)
            return None
        match str(getattr(value.op, "name", "")):
            case "relax.builtin.alloc_tensor":
                self._tensors.append(_Tensor(_bytes(value.args[0].values, value.args[1].value)))
                return self._tensors[-1]
            case "relax.reshape":
                return self._value(value.args[0])
        raise TapeoutError(f"TVM's program does something else than to call a kernel: {value}")

    def _call(self, call: Call) -> None:
        given: list[_Place | _Tensor] = []
        for argument in call.args:
            value = self._value(argument)
            if value is None or isinstance(value, list):
                raise TapeoutError(f"TVM's program gives a kernel what is no tensor: {argument}")
            if isinstance(value, _Tensor):
                value.first = len(self.calls) if value.first < 0 else value.first
                value.last = len(self.calls)
            given.append(value)
        self.calls.append((call.op, given))

    def _value(self, expression: Expr) -> _Value:
        match expression:
            case relax.Var():
                return self._values[expression]
            case relax.Tuple():
                return [self._value(field) for field in expression.fields]
            case relax.TupleGetItem():
                items = self._value(expression.tuple_value)
                assert isinstance(items, list)
                return items[int(expression.index)]
        return self._constant(expression.value.numpy())

    def _constant(self, array: np.ndarray) -> _Place:
        """Return where a constant is among the weights, which have equal bytes once."""
        data = array.tobytes()
        if data not in self._known:
            self._known[data] = _Place("weights", self._end)
            spare = -len(data) % ALIGNMENT
            self._end += len(data) + spare
            self.constants += [np.frombuffer(data, np.uint8), np.zeros(spare, np.uint8)]
        return self._known[data]

    def _give(self, value: _Value, output: _Place, type_: Any) -> None:
        """Have the output written where it belongs, or copied there."""
        if isinstance(value, _Tensor) and value.place is None:
            value.place = output
        elif isinstance(value, _Tensor | _Place):
            self.copies.append((_placed(value), output, _bytes(type_.shape, type_.dtype)))
        else:
            raise TapeoutError(f"TVM's program returns what is no tensor: {value}")


def _placed(value: _Place | _Tensor) -> _Place:
    place = value.place if isinstance(value, _Tensor) else value
    if place is None:
        raise TapeoutError("a tensor of TVM's program has no place")
    return place


def _constant(name: str, value: int) -> tirx.PrimFunc:
    """Return a function that returns a number."""
    body = tirx.stmt.Return(tirx.const(value, "int64"))
    return tirx.PrimFunc([], body, ret_type=PrimType("int64"), attrs=_public(name))


def _public(name: str) -> Any:
    """Return the attributes of a function that is called from outside."""
    return tvm.ir.make_node("ir.DictAttrs", global_symbol=name, s_tir=True)


def _required(call: Expr) -> Statement:
    """Return a call of a kernel that ends what calls it if it goes wrong."""
    failed = tirx.stmt.Return(tirx.const(-1, "int32"))
    return tirx.IfThenElse(call != tirx.const(0, "int32"), failed, None)


def _private(kernel: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return a kernel that is called with addresses, by the code of the same engine only.

    It returns 0, or what went wrong: see `tir_pipeline`.
    """
    addresses = [
        tirx.Var(f"{item.name}_data", PointerType(PrimType(str(item.dtype)), "global"))
        for item in kernel.params
    ]
    tensors = [
        tirx.DeclBuffer(tensor, data=address)
        for tensor, address in zip(kernel.params, addresses, strict=True)
    ]
    # TVM's own kernels ask where in its memory a tensor starts.
    starts = {item.elem_offset for item in kernel.params if isinstance(item.elem_offset, tirx.Var)}
    zero = (tirx.Var, lambda var: tirx.const(0, str(var.ty.dtype)) if var in starts else var)
    body = tvm_ffi.structural_map(tirx.SeqStmt([*tensors, kernel.body]), zero)
    function = tirx.PrimFunc(addresses, body, ret_type=PrimType("int32"), attrs=kernel.attrs)
    return function.without_attr("global_symbol")


def _bytes(shape: Iterable[Any], dtype: Any) -> int:
    return math.prod(map(int, shape)) * np.dtype(str(dtype)).itemsize


def _input(position: int) -> str:
    return f"input{position}"


def _output(position: int) -> str:
    return f"output{position}"
