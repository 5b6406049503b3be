"""RNN, GRU and LSTM, step by step: the input's part of all steps at once, then the state's.

Weights that are constants, as they are but in tests, are taken apart here and not at run time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

from .call import Call, Converted, Converter, Expr, constant, reshaped, scalar
from .networks import multiply

op = relax.op

Activation = Callable[[Expr], Expr]

#: A weight: an array if it is a constant.
Weight = Any

#: The activations that the operators may name, without parameters of their own.
ACTIVATIONS: dict[str, Activation] = {
    "Relu": op.nn.relu,
    "Sigmoid": op.sigmoid,
    "Tanh": op.tanh,
}

#: Operator -> number of gates, and the activations that a direction has unless others are named.
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DEFAULTS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One direction: its weights turned for multiplication from the right, and its activations.

    Shapes: recurrence (hidden, gates * hidden), biases (gates * hidden), peepholes (3, hidden).
    """

    call: Call
    hidden: int
    recurrence: Weight
    recurrence_bias: Weight | None
    peepholes: list[Expr] | None
    activations: tuple[Activation, ...]

    def product(self, h: Expr) -> Expr:
        """Return the state's part of the gates."""
        result = _product(self.call, h, self.recurrence)
        if self.recurrence_bias is None:
            return result
        return op.add(result, _expression(self.recurrence_bias))

    def gates(self, x: Expr, count: int) -> list[Expr]:
        """Split what has all gates side by side."""
        x = self.call.emit(x)
        size = int(x.ty.shape[1]) // count
        return [_part(x, 1, k * size, (k + 1) * size) for k in range(count)]


def _step_rnn(cell: Cell, x: Expr, h: Expr, c: Expr | None) -> tuple[Expr, Expr | None]:
    (f,) = cell.activations
    return f(op.add(x, cell.product(h))), None


def _step_gru(cell: Cell, x: Expr, h: Expr, c: Expr | None) -> tuple[Expr, Expr | None]:
    """Gates z, r, h. The reset comes before the product, or after it (linear_before_reset)."""
    f, g = cell.activations
    if cell.call.attr("linear_before_reset", 0):
        xz, xr, xh = cell.gates(x, 3)
        hz, hr, hh = cell.gates(cell.product(h), 3)
        z, r = f(op.add(xz, hz)), f(op.add(xr, hr))
        candidate = g(op.add(xh, op.multiply(r, hh)))
    else:
        n = 2 * cell.hidden
        first = _part(cell.recurrence, 1, 0, n)
        last = _part(cell.recurrence, 1, n, n + cell.hidden)
        zr = cell.call.emit(_product(cell.call, h, first))
        hz, hr = cell.gates(zr, 2)
        xz, xr, xh = cell.gates(x, 3)
        z, r = f(op.add(xz, hz)), f(op.add(xr, hr))
        candidate = g(op.add(xh, _product(cell.call, op.multiply(r, h), last)))
    z = cell.call.emit(z)
    kept = op.multiply(z, h)
    return op.add(op.multiply(op.subtract(scalar(1, cell.call.dtype()), z), candidate), kept), None


def _step_lstm(cell: Cell, x: Expr, h: Expr, c: Expr | None) -> tuple[Expr, Expr | None]:
    """Gates i, o, f, c; peepholes let i and f see the old cell, o the new one."""
    f, g, k = cell.activations
    i, o, forget, candidate = cell.gates(op.add(x, cell.product(h)), 4)
    if cell.peepholes is not None:
        i = op.add(i, op.multiply(cell.peepholes[0], c))
        forget = op.add(forget, op.multiply(cell.peepholes[2], c))
    i, forget = cell.call.emit(f(i)), f(forget)
    if cell.call.attr("input_forget", 0):
        forget = op.subtract(scalar(1, cell.call.dtype()), i)
    new = cell.call.emit(op.add(op.multiply(forget, c), op.multiply(i, g(candidate))))
    if cell.peepholes is not None:
        o = op.add(o, op.multiply(cell.peepholes[1], new))
    return op.multiply(f(o), k(new)), new


_STEPS = {"RNN": _step_rnn, "GRU": _step_gru, "LSTM": _step_lstm}


def _recurrent(call: Call) -> Converted:
    """Inputs X W R B lengths initial_h initial_c P; outputs Y Y_h Y_c."""
    batch_first = bool(call.attr("layout", 0))
    x = op.permute_dims(call[0], (1, 0, 2)) if batch_first else call[0]
    x = call.emit(x)
    directions = call.shape(1)[0]
    backwards = call.attr("direction", "forward") == "reverse"
    ends = [_run(call, x, d, backwards or d == 1, batch_first) for d in range(directions)]
    y = op.stack([sequence for sequence, _, _ in ends], 1)
    states = [op.stack([end[k] for end in ends], 0) for k in (1, 2) if ends[0][k] is not None]
    if batch_first:
        y = op.permute_dims(y, (2, 0, 1, 3))
        states = [op.permute_dims(state, (1, 0, 2)) for state in states]
    return [y, *states][: len(call.node.outputs)]


def _run(
    call: Call, x: Expr, d: int, backwards: bool, batch_first: bool
) -> tuple[Expr, Expr, Expr | None]:
    """Run one direction; return its outputs (steps, batch, hidden), last state and last cell."""
    name, hidden = call.node.op_type, call.shape(2)[-1]
    steps, batch = call.shape()[:2][:: -1 if batch_first else 1]
    cell, projected = _prepared(call, x, d, steps * batch)
    projected = call.emit(reshaped(projected, (steps, batch, GATES[name] * hidden)))
    h = _initial(call, 5, d, batch, hidden, batch_first)
    c = _initial(call, 6, d, batch, hidden, batch_first) if name == "LSTM" else None
    outputs = []
    for t in range(steps)[:: -1 if backwards else 1]:
        # The position is data, so that all steps share one kernel.
        now = op.take(projected, constant(np.array(t, "int64")), 0)
        h, c = _STEPS[name](cell, call.emit(now), h, c)
        h, c = call.emit(h), None if c is None else call.emit(c)
        outputs.append(h)
    return op.stack(outputs[:: -1 if backwards else 1], 0), h, c


def _prepared(call: Call, x: Expr, d: int, rows: int) -> tuple[Cell, Expr]:
    """Return the cell of a direction, and the input's part of the gates (rows, gates * hidden)."""
    name, hidden = call.node.op_type, call.shape(2)[-1]
    width = GATES[name] * hidden
    weight = _turned(_of_direction(call, 1, d))
    projected = _product(call, reshaped(x, (rows, call.shape()[-1])), weight)
    recurrence_bias = None
    if call.has(3):
        bias = _of_direction(call, 3, d)
        projected = op.add(projected, _expression(_part(bias, 0, 0, width)))
        recurrence_bias = _part(bias, 0, width, 2 * width)
        if not (name == "GRU" and call.attr("linear_before_reset", 0)):
            projected = op.add(projected, _expression(recurrence_bias))
            recurrence_bias = None
    peepholes = None
    if name == "LSTM" and call.has(7):
        all_three = _of_direction(call, 7, d)
        peepholes = [
            _expression(_part(all_three, 0, k * hidden, (k + 1) * hidden)) for k in range(3)
        ]
    recurrence = _turned(_of_direction(call, 2, d))
    cell = Cell(call, hidden, recurrence, recurrence_bias, peepholes, _activations(call, d))
    return cell, projected


def _of_direction(call: Call, index: int, d: int) -> Weight:
    """Return one direction's part of a weight."""
    value = call.node.inputs[index]
    if value is not None and value.const_value is not None:
        return call.array(index)[d]
    return call.emit(op.take(call[index], constant(np.array(d, "int64")), 0))


def _turned(weight: Weight) -> Weight:
    return weight.T if isinstance(weight, np.ndarray) else op.permute_dims(weight, (1, 0))


def _part(weight: Weight, axis: int, begin: int, end: int) -> Weight:
    if isinstance(weight, np.ndarray):
        return weight.take(range(begin, end), axis)
    return op.strided_slice(weight, [axis], [begin], [end])


def _product(call: Call, data: Expr, weight: Weight) -> Expr:
    """Return the product of (rows, inputs) with a weight (inputs, outputs)."""
    if isinstance(weight, np.ndarray):
        return multiply(call, data, weight)
    return op.matmul(data, weight)


def _expression(weight: Weight) -> Expr:
    return constant(weight) if isinstance(weight, np.ndarray) else weight


def _initial(call: Call, index: int, d: int, batch: int, hidden: int, batch_first: bool) -> Expr:
    if not call.has(index):
        return constant(np.zeros((batch, hidden), call.dtype()))
    return call.emit(op.take(call[index], constant(np.array(d, "int64")), 1 if batch_first else 0))


def _activations(call: Call, d: int) -> tuple[Activation, ...]:
    defaults = DEFAULTS[call.node.op_type]
    named = call.attr("activations", ()) or defaults * call.shape(1)[0]
    mine = named[d * len(defaults) : (d + 1) * len(defaults)]
    # The clip bounds the inputs of the gates, not the cell on its way to the output.
    limits = [call.attr("clip", None)] * 2 + [None]
    pairs = zip(mine, limits, strict=False)
    return tuple(_clipped(call, ACTIVATIONS[name], limit) for name, limit in pairs)


def _clipped(call: Call, activation: Activation, limit: float | None) -> Activation:
    if limit is None:
        return activation
    low, high = scalar(-limit, call.dtype()), scalar(limit, call.dtype())
    return lambda x: activation(op.minimum(op.maximum(x, low), high))


RECURRENT: dict[str, Converter] = dict.fromkeys(GATES, _recurrent)
