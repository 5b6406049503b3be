"""What would make a model need less memory, each remedy computed on the model itself."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Literal, get_args

import onnx_ir as ir

from ...units import format_bytes
from .arena import Arena, lower_bound
from .memory import liveness
from .order import Order
from .program import Program, Storage
from .tensors import bytes_of, dtype_of, elements_of, packed, shape_of

Lever = Literal["order", "batch", "fp16", "int8-weights", "int8"]
LEVERS: Final[tuple[Lever, ...]] = get_args(Lever)

_TEXT: Final[dict[Lever, str]] = {
    "order": "run the nodes in an order that keeps less alive",
    "batch": "compile for a batch of 1",
    "fp16": "keep weights and activations in 16-bit floats",
    "int8-weights": "keep the weights in 8 bits",
    "int8": "keep weights and activations in 8 bits",
}
#: The levers that change numbers, the gentlest first; at most one of them is pulled.
_PRECISIONS: Final[tuple[Lever, ...]] = ("fp16", "int8-weights", "int8")

_SCALE: Final = 4  # bytes of the float32 scale of one output channel


@dataclasses.dataclass(frozen=True)
class Fix:
    """One remedy.

    Attributes:
        levers: what is done, together.
        text: the same in words, with what it frees.
        memory: bytes needed afterwards, an estimate.
        frees: bytes less than now.
        missing: bytes over the limit afterwards; 0 if it fits, or if there is no limit.
        lossless: the outputs stay the same numbers.
    """

    levers: tuple[Lever, ...]
    text: str
    memory: int
    frees: int
    missing: int
    lossless: bool

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, eq=False)
class Need:
    """What a model needs now.

    Attributes:
        program: in the order in which it runs.
        parameters: the initializers that it reads.
        arena: the plan for its activations.
        order: the best order that is known.
    """

    program: Program
    parameters: Sequence[ir.Value]
    arena: Arena
    order: Order

    def memory(self, levers: Collection[Lever] = ()) -> int:
        """Return the bytes of parameters and arena, once some levers are pulled: an estimate.

        ``fp16`` and ``int8`` hold for every float tensor, model inputs and outputs included.
        ``batch`` divides what has a first dimension that the batch divides. The best order for the
        model as it is stands for the best one. The arena is taken to lie as far above the bound of
        its liveness, in proportion, as it does now.
        """
        batch = _batch(self.program) if "batch" in levers else 1
        float_bytes = 1 if "int8" in levers else 2 if "fp16" in levers else None
        program = self.program.resized(lambda item: _size(item, float_bytes, batch))
        alive = liveness(program, self.order.steps if "order" in levers else None)
        bound = lower_bound(alive.buffers, self.arena.alignment)
        weigh = _weight_of(levers)
        weights = sum(weigh(value) for value in self.parameters)
        return weights + math.ceil(bound * (1 + self.arena.gap))

    def fixes(
        self, needed: int, limit: int | None, levers: Collection[Lever] = LEVERS
    ) -> tuple[Fix, ...]:
        """Return the remedies, the cheapest first; each frees more than all before it.

        What changes no number is the cheapest, and a gentler change is cheaper than a harder one.

        Args:
            needed: bytes that the model really needs now, where that is known better than from
                here; what a remedy frees is taken off it.
            limit: bytes that it may need, if there is a limit.
            levers: those that the target and the device offer.
        """
        now = self.memory()
        found: list[Fix] = []
        for pulled in self._choices(levers):
            frees = min(now - self.memory(pulled), needed)
            if frees <= max((fix.frees for fix in found), default=0):
                continue
            memory = needed - frees
            missing = 0 if limit is None else max(0, memory - limit)
            text = f"{' and '.join(_TEXT[lever] for lever in pulled)}: {format_bytes(memory)}"
            text += f" instead of {format_bytes(needed)}, {format_bytes(frees)} less"
            text += f"; still {format_bytes(missing)} too much" if missing else ""
            lossless = not set(pulled) & set(_PRECISIONS)
            found.append(Fix(pulled, text, memory, frees, missing, lossless))
        return tuple(found)

    def _choices(self, levers: Collection[Lever]) -> list[tuple[Lever, ...]]:
        """Return every combination of an order, a batch and a precision, the cheapest first."""
        several = _batch(self.program) > 1
        orders: list[Lever] = ["order"] if "order" in levers else []
        batches: list[Lever] = ["batch"] if "batch" in levers and several else []
        precisions = [lever for lever in _PRECISIONS if lever in levers]
        choices = itertools.product([None, *precisions], [None, *batches], [None, *orders])
        return [
            tuple(lever for lever in reversed(choice) if lever is not None)
            for choice in choices
            if any(choice)
        ]


def _batch(program: Program) -> int:
    """Return the first dimension of the model's inputs, if it is the same for all; else 1."""
    shapes = [shape_of(item.values[0]) for item in program.storages if item.kind == "input"]
    firsts = {shape[0] if shape else 1 for shape in shapes}
    return firsts.pop() if len(firsts) == 1 else 1


def _size(storage: Storage, float_bytes: int | None, batch: int) -> int:
    value = storage.values[0]
    shape, dtype = shape_of(value), dtype_of(value)
    elements = elements_of(value)
    if batch > 1 and shape and shape[0] % batch == 0:
        elements //= batch
    narrows = (
        float_bytes is not None and dtype.is_floating_point() and dtype.bitwidth > 8 * float_bytes
    )
    return packed(elements, 8 * (float_bytes or 0) if narrows else dtype.bitwidth)


def _weight_of(levers: Collection[Lever]) -> Callable[[ir.Value], int]:
    if "int8" in levers or "int8-weights" in levers:
        return _int8_weight
    return _fp16_weight if "fp16" in levers else bytes_of


def _fp16_weight(value: ir.Value) -> int:
    dtype = dtype_of(value)
    return (
        2 * elements_of(value)
        if dtype.is_floating_point() and dtype.bitwidth > 16
        else bytes_of(value)
    )


def _int8_weight(value: ir.Value) -> int:
    """Return the bytes as int8 with a scale per output channel.

    Vectors (biases, which become int32) stay as they are. The output channels of a matrix may be
    either dimension: the longer one is taken.
    """
    shape, dtype = shape_of(value), dtype_of(value)
    if len(shape) < 2 or not dtype.is_floating_point() or dtype.bitwidth <= 8:
        return bytes_of(value)
    channels = shape[0] if len(shape) > 2 else max(shape)
    return min(bytes_of(value), elements_of(value) + _SCALE * channels)
