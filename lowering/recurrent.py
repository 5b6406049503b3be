"""RNN, GRU and LSTM: what their steps compute, by the formulas of ONNX's specification."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import onnx_ir as ir

from .matching import ints_of, shape_of

#: Operator -> number of gates, and the activations that a direction has unless others are named.
GATES: Final = {"RNN": 1, "GRU": 3, "LSTM": 4}
DEFAULTS: Final = {
    "RNN": ("Tanh",),
    "GRU": ("Sigmoid", "Tanh"),
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
}

#: Operator -> nodes for one step of one direction, with clipping, lengths and peepholes.
_NODES: Final = {"RNN": 6, "GRU": 18, "LSTM": 26}

Function = Callable[[ir.Value], ir.Value]
State = list[ir.Value]

#: Applies an activation to a value, with its numbers behind.
Activation = Callable[..., ir.Value]


def steps_of(node: ir.Node) -> int:
    """Return the length of the sequences that a recurrent node reads."""
    shape = shape_of(node.inputs[0]) or (0, 0)
    return shape[1 if node.attributes.get_int("layout", 0) else 0]


def size_of(node: ir.Node) -> int:
    """Return how many nodes a recurrent node becomes at most, but for a few."""
    directions = (shape_of(node.inputs[1]) or (1,))[0]
    return steps_of(node) * directions * _NODES[node.op_type]


def unknown_activations(node: ir.Node) -> tuple[str, ...]:
    """Return the activations that are named and that ONNX does not know."""
    named = node.attributes.get_strings("activations", ())
    return tuple(name for name in named if name.lower() not in ACTIVATIONS)


def is_common(node: ir.Node) -> bool:
    """Whether all sequences run to the end, and the activations are Relu, Sigmoid and Tanh."""
    given = node.attributes
    if any(given.get_floats(f"activation_{name}", ()) for name in ("alpha", "beta")):
        return False
    value = node.inputs[4] if len(node.inputs) > 4 else None
    lengths = ints_of(value) if value is not None else ()
    whole = lengths is not None and all(length == steps_of(node) for length in lengths)
    return whole and {"Relu", "Sigmoid", "Tanh"}.issuperset(given.get_strings("activations", ()))


@dataclasses.dataclass(frozen=True)
class Cell:
    """One direction.

    Attributes:
        recurrences: (hidden, gates x hidden), for multiplication from the right; of a GRU that
            resets before, the gates z and r, and the gate h.
        bias: of the state's part, (gates x hidden); None if it is part of the input's.
        peepholes: of the gates i, o and f, (hidden) each.
        activations: f, and where there are such g and h.
    """

    hidden: int
    recurrences: tuple[ir.Value, ...]
    bias: ir.Value | None
    peepholes: tuple[ir.Value, ...]
    activations: tuple[Function, ...]


class Net(Protocol):
    """What makes the nodes of a step. States have shape (1, batch, hidden)."""

    def product(self, cell: Cell, h: ir.Value, index: int = 0) -> ir.Value:
        """Return the state's part of the gates of one recurrence, (1, batch, gates x hidden)."""
        ...

    def split(self, value: ir.Value, sizes: Sequence[int]) -> list[ir.Value]: ...
    def binary(self, kind: str, a: ir.Value, b: ir.Value) -> ir.Value: ...
    def unary(self, kind: str, x: ir.Value, **attributes: float) -> ir.Value: ...
    def number(self, number: float) -> ir.Value: ...
    def flag(self, name: str) -> bool:
        """Return an attribute of the node that is 0 or 1."""
        ...


def _rnn(net: Net, cell: Cell, x: State, state: State) -> State:
    (f,) = cell.activations
    return [f(net.binary("Add", x[0], net.product(cell, state[0])))]


def _gru(net: Net, cell: Cell, x: State, state: State) -> State:
    """Gates z, r, h; the new state is h' + z (h - h')."""
    (f, g), (h,), size = cell.activations, state, cell.hidden
    if net.flag("linear_before_reset"):
        first, last = net.split(net.product(cell, h), [2 * size, size])
    else:
        first, last = net.product(cell, h), None
    z, r = net.split(f(net.binary("Add", x[0], first)), [size, size])
    if last is None:
        last = net.product(cell, net.binary("Mul", r, h), 1)
    else:
        last = net.binary("Mul", r, last)
    candidate = g(net.binary("Add", x[1], last))
    change = net.binary("Mul", z, net.binary("Sub", h, candidate))
    return [net.binary("Add", candidate, change)]


def _lstm(net: Net, cell: Cell, x: State, state: State) -> State:
    """Gates i, o, f, c; peepholes let i and f see the old cell, o the new one."""
    (f, g, k), (h, c) = cell.activations, state
    gates = net.binary("Add", x[0], net.product(cell, h))
    i, o, forget, candidate = net.split(gates, [cell.hidden] * 4)
    if cell.peepholes:
        i = net.binary("Add", i, net.binary("Mul", cell.peepholes[0], c))
        forget = net.binary("Add", forget, net.binary("Mul", cell.peepholes[2], c))
    i = f(i)
    forget = net.binary("Sub", net.number(1.0), i) if net.flag("input_forget") else f(forget)
    kept, taken = net.binary("Mul", forget, c), net.binary("Mul", i, g(candidate))
    new = net.binary("Add", kept, taken)
    if cell.peepholes:
        o = net.binary("Add", o, net.binary("Mul", cell.peepholes[1], new))
    return [net.binary("Mul", f(o), k(new)), new]


STEPS: Final[dict[str, Callable[[Net, Cell, State, State], State]]] = {
    "GRU": _gru,
    "LSTM": _lstm,
    "RNN": _rnn,
}


def _named(kind: str) -> Activation:
    """Return what applies an operator, with alpha and beta where it has such attributes."""

    def apply(net: Net, x: ir.Value, *numbers: float) -> ir.Value:
        return net.unary(kind, x, **dict(zip(("alpha", "beta"), numbers, strict=False)))

    return apply


def _affine(net: Net, x: ir.Value, alpha: float, beta: float) -> ir.Value:
    return net.binary("Add", net.binary("Mul", x, net.number(alpha)), net.number(beta))


def _scaled_tanh(net: Net, x: ir.Value, alpha: float, beta: float) -> ir.Value:
    inner = net.binary("Mul", x, net.number(beta))
    return net.binary("Mul", net.unary("Tanh", inner), net.number(alpha))


#: Name in lower case -> what applies it, and its numbers with their defaults.
ACTIVATIONS: Final[dict[str, tuple[Activation, dict[str, float]]]] = {
    "affine": (_affine, {"alpha": 1.0, "beta": 0.0}),
    "elu": (_named("Elu"), {"alpha": 1.0}),
    "hardsigmoid": (_named("HardSigmoid"), {"alpha": 0.2, "beta": 0.5}),
    "leakyrelu": (_named("LeakyRelu"), {"alpha": 0.01}),
    "relu": (_named("Relu"), {}),
    "scaledtanh": (_scaled_tanh, {"alpha": 1.0, "beta": 1.0}),
    "sigmoid": (_named("Sigmoid"), {}),
    "softplus": (_named("Softplus"), {}),
    "softsign": (_named("Softsign"), {}),
    "tanh": (_named("Tanh"), {}),
    "thresholdedrelu": (_named("ThresholdedRelu"), {"alpha": 1.0}),
}
