"""RNN, GRU and LSTM as plain operators, one step of the sequence after the other.

The input's part of all steps is one product; the state's part is one for each step.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .editing import Attributes
from .importers.splicing import Replacement
from .matching import array_of, ints_of, shape_of
from .recurrent import (
    ACTIVATIONS,
    DEFAULTS,
    GATES,
    STEPS,
    Activation,
    Cell,
    Function,
    Net,
    State,
    steps_of,
)


def unrolled(node: ir.Node) -> Replacement:
    """Return the nodes that do a recurrent node's work.

    Requires static shapes and known activations. Lengths of sequences may be computed.
    """
    return _Unrolling(node).replacement()


class _Unrolling(Net):
    """Makes the nodes of one recurrent node; every state has shape (1, batch, hidden)."""

    def __init__(self, node: ir.Node) -> None:
        self._node = node
        self._nodes: list[ir.Node] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._dtype = node.inputs[0].dtype if node.inputs[0] is not None else None
        self._batch_first = self.flag("layout")
        self._steps = steps_of(node)
        self._batch = (shape_of(node.inputs[0]) or (0, 0))[0 if self._batch_first else 1]
        self._hidden = (shape_of(node.inputs[2]) or (0,))[-1]
        self._gates = GATES[node.op_type]

    def replacement(self) -> Replacement:
        x = self._input(0)
        if self._batch_first:
            x = self._transposed(x, (1, 0, 2))
        directions = (shape_of(self._input(1)) or (1,))[0]
        backwards = self._node.attributes.get_string("direction", "forward") == "reverse"
        ends = [self._run(x, d, backwards or d == 1) for d in range(directions)]
        outputs: list[ir.Value | None] = []
        for index, value in enumerate(self._node.outputs):
            if not (value.uses() or value.is_graph_output()):
                outputs.append(None)
            elif index == 0:
                outputs.append(self._sequences([results for results, _ in ends]))
            else:
                outputs.append(self._states([state[index - 1] for _, state in ends]))
        return Replacement(tuple(self._nodes), tuple(outputs), version=None)

    def _sequences(self, directions: Sequence[Sequence[ir.Value]]) -> ir.Value:
        """Put all steps of all directions together."""
        shape = (self._steps, 1, self._batch, self._hidden)
        parts = [self._reshaped(self._concat(results, 0), shape) for results in directions]
        found = self._concat(parts, 1)
        return self._transposed(found, (2, 0, 1, 3)) if self._batch_first else found

    def _states(self, directions: Sequence[ir.Value]) -> ir.Value:
        found = self._concat(directions, 0)
        return self._transposed(found, (1, 0, 2)) if self._batch_first else found

    def _run(self, x: ir.Value, d: int, backwards: bool) -> tuple[State, State]:
        """Run one direction; return its output at each step, and its last state."""
        cell, projected = self._prepared(x, d)
        state = [self._initial(5, d)]
        if self._node.op_type == "LSTM":
            state.append(self._initial(6, d))
        step = STEPS[self._node.op_type]
        results = []
        for t in range(self._steps)[:: -1 if backwards else 1]:
            before, after = state, step(self, cell, [part[t] for part in projected], state)
            going = self._going(t)
            if going is None:
                state = after
                results.append(after[0])
                continue
            # A sequence that has ended keeps its state, and gives zeros.
            pairs = zip(after, before, strict=True)
            state = [self._op("Where", [going, new, old], _shape(new)) for new, old in pairs]
            zero = self.number(0.0)
            results.append(self._op("Where", [going, after[0], zero], _shape(after[0])))
        return results[:: -1 if backwards else 1], state

    def _prepared(self, x: ir.Value, d: int) -> tuple[Cell, list[list[ir.Value]]]:
        """Return the cell, and the input's part of the gates at each step, in one or two pieces."""
        width = self._gates * self._hidden
        weight = self._turned(self._part(1, d))
        projected = self._op("MatMul", [x, weight], (self._steps, self._batch, width))
        bias = None
        if self._has(3):
            both = self._part(3, d)
            first, bias = (self._slice(both, k * width, (k + 1) * width) for k in (0, 1))
            projected = self._added(projected, first)
            if not self._resets_late():
                projected, bias = self._added(projected, bias), None
        peepholes: tuple[ir.Value, ...] = ()
        if self._has(7):
            three, size = self._part(7, d), self._hidden
            peepholes = tuple(self._slice(three, k * size, (k + 1) * size) for k in range(3))
        recurrence = self._turned(self._part(2, d))
        ends = [0, 2, 3] if self._node.op_type == "GRU" else [0, self._gates]
        pairs = [(a * self._hidden, b * self._hidden) for a, b in itertools.pairwise(ends)]
        whole = self._node.op_type != "GRU" or self._resets_late()
        pieces = [(0, width)] if whole else pairs
        recurrences = tuple(self._slice(recurrence, *piece, axis=1) for piece in pieces)
        cell = Cell(self._hidden, recurrences, bias, peepholes, self._activations(d))
        parts = self.split(projected, [end - begin for begin, end in pairs])
        return cell, [self._by_step(part) for part in parts]

    def _resets_late(self) -> bool:
        """Whether a GRU's reset gate multiplies what the state gives, its bias included."""
        return self._node.op_type == "GRU" and self.flag("linear_before_reset")

    def _by_step(self, value: ir.Value) -> list[ir.Value]:
        return self.split(value, [1] * self._steps, axis=0)

    def _going(self, t: int) -> ir.Value | None:
        """Return whether each sequence has a step t, (1, batch, 1); None: all have."""
        if not self._has(4):
            return None
        lengths = ints_of(self._input(4))
        if lengths is not None:
            going = np.array(lengths) > t
            return None if going.all() else self._shared(going.reshape(1, -1, 1))
        shape = (1, self._batch, 1)
        column = self._reshaped(self._input(4), shape)
        now = self._constant(np.array(t, np.int32))
        return self._op("Less", [now, column], shape, dtype=ir.DataType.BOOL)

    def _initial(self, index: int, d: int) -> ir.Value:
        shape = (1, self._batch, self._hidden)
        if not self._has(index):
            return self._constant(np.zeros(shape, self._numpy()))
        value = self._input(index)
        if self._batch_first:
            value = self._transposed(value, (1, 0, 2))
        return self._slice(value, d, d + 1)

    def _activations(self, d: int) -> tuple[Function, ...]:
        """Return a direction's activations; all but an LSTM's last have bounded arguments."""
        given, defaults = self._node.attributes, DEFAULTS[self._node.op_type]
        directions = (shape_of(self._input(1)) or (1,))[0]
        named = given.get_strings("activations", ()) or defaults * directions
        numbers = {
            kind: iter(given.get_floats(f"activation_{kind}", ())) for kind in ("alpha", "beta")
        }
        limit = given.get_float("clip", 0.0) or None
        found: list[Function] = []
        for index, name in enumerate(named):
            make, wanted = ACTIVATIONS[name.lower()]
            values = [next(numbers[kind], default) for kind, default in wanted.items()]
            function = functools.partial(_applied, make, self, values)
            if limit is not None and index % len(defaults) < 2:
                function = functools.partial(self._clipped, function, limit)
            found.append(function)
        return tuple(found[d * len(defaults) : (d + 1) * len(defaults)])

    def _clipped(self, function: Function, limit: float, x: ir.Value) -> ir.Value:
        bounds = [self.number(-limit), self.number(limit)]
        return function(self._op("Clip", [x, *bounds], _shape(x)))

    # What the steps are made of.

    def product(self, cell: Cell, h: ir.Value, index: int = 0) -> ir.Value:
        weight = cell.recurrences[index]
        found = self._op("MatMul", [h, weight], (1, self._batch, _shape(weight)[1]))
        return found if cell.bias is None else self._added(found, cell.bias)

    def binary(self, kind: str, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._op(kind, [a, b], np.broadcast_shapes(_shape(a), _shape(b)))

    def unary(self, kind: str, x: ir.Value, **attributes: float) -> ir.Value:
        return self._op(kind, [x], _shape(x), attributes)

    def number(self, number: float) -> ir.Value:
        return self._shared(np.array(number, self._numpy()))

    def flag(self, name: str) -> bool:
        return bool(self._node.attributes.get_int(name, 0))

    def split(self, value: ir.Value, sizes: Sequence[int], axis: int = 2) -> list[ir.Value]:
        if len(sizes) == 1:
            return [value]
        shape = list(_shape(value))
        outputs = []
        for size in sizes:
            shape[axis] = size
            outputs.append(ir.val("part", value.dtype, tuple(shape)))
        lengths = self._shared(np.array(sizes, np.int64))
        self._nodes.append(ir.node("Split", [value, lengths], {"axis": axis}, outputs=outputs))
        return outputs

    # Nodes and constants.

    def _op(
        self,
        kind: str,
        inputs: Sequence[ir.Value],
        shape: Sequence[int],
        attributes: Attributes | None = None,
        *,
        dtype: ir.DataType | None = None,
    ) -> ir.Value:
        output = ir.val(kind, dtype or self._dtype, tuple(shape))
        self._nodes.append(ir.node(kind, inputs, attributes, outputs=[output]))
        return output

    def _added(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.binary("Add", a, b)

    def _constant(self, array: np.ndarray) -> ir.Value:
        return ir.val("constant", const_value=ir.Tensor(np.ascontiguousarray(array)))

    def _numpy(self) -> np.dtype:
        return (self._dtype or ir.DataType.FLOAT).numpy()

    def _shared(self, array: np.ndarray) -> ir.Value:
        """Return a small constant, the same one for equal arrays."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._constant(array)
        return self._constants[key]

    def _has(self, index: int) -> bool:
        return index < len(self._node.inputs) and self._node.inputs[index] is not None

    def _input(self, index: int) -> ir.Value:
        value = self._node.inputs[index]
        if value is None:
            raise ValueError(f"node {self._node.name!r} has no input {index}")
        return value

    def _part(self, index: int, d: int) -> ir.Value:
        """Return one direction's part of an input, whose first axis goes."""
        part = self._slice(self._input(index), d, d + 1)
        return self._reshaped(part, _shape(part)[1:])

    def _slice(self, value: ir.Value, begin: int, end: int, axis: int = 0) -> ir.Value:
        array = array_of(value)
        if array is not None:
            return self._constant(array.take(range(begin, end), axis))
        shape = list(_shape(value))
        shape[axis] = end - begin
        ends = [self._constant(np.array([number], np.int64)) for number in (begin, end, axis)]
        return self._op("Slice", [value, *ends], shape, dtype=value.dtype)

    def _turned(self, value: ir.Value) -> ir.Value:
        return self._transposed(value, (1, 0))

    def _transposed(self, value: ir.Value, perm: tuple[int, ...]) -> ir.Value:
        array = array_of(value)
        if array is not None:
            return self._constant(array.transpose(perm))
        shape = [_shape(value)[axis] for axis in perm]
        return self._op("Transpose", [value], shape, {"perm": perm})

    def _reshaped(self, value: ir.Value, shape: tuple[int, ...]) -> ir.Value:
        array = array_of(value)
        if array is not None:
            return self._constant(array.reshape(shape))
        sizes = self._constant(np.array(shape, np.int64))
        return self._op("Reshape", [value, sizes], shape, dtype=value.dtype)

    def _concat(self, values: Sequence[ir.Value], axis: int) -> ir.Value:
        if len(values) == 1:
            return values[0]
        shape = list(_shape(values[0]))
        shape[axis] = sum(_shape(value)[axis] for value in values)
        return self._op("Concat", values, shape, {"axis": axis})


def _applied(make: Activation, net: Net, numbers: Sequence[float], x: ir.Value) -> ir.Value:
    return make(net, x, *numbers)


def _shape(value: ir.Value) -> tuple[int, ...]:
    if value.const_value is not None:
        return tuple(value.const_value.shape.numpy())
    return shape_of(value) or ()
