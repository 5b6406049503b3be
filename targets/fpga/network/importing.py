"""The lowered model as a network of integers, and what the host computes around it.

Integers run through the hardware without a gap: what is real stands before the first layer
(rounding the input) or behind the last (Softmax, say), and is done by the host, step by step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

import onnx_ir as ir

from ....errors import ModelError, Problem
from ....lowering.matching import is_op, scalar_of, shape_of
from ....lowering.quantization.scheme import SCHEMES, Scheme
from ...constraints import place_of
from ..run.host import Step
from .graph import ArgMax, Layer, Network, Tensor
from .layers import data_of, is_layer, layer_of
from .sources import Source, UnsupportedError, image_of

#: The quantization that gives what the engines compute.
SCHEME: Final = "fpga"

_QUANTIZE: Final = f"quantize it with the scheme {SCHEME!r}; what that leaves real has no engine"


@dataclasses.dataclass(frozen=True, eq=False)
class Imported:
    """A model that is ready for hardware.

    Attributes:
        input, output: the model's names of them.
        before: the steps from the model's input to the frames that the hardware is given.
        after: those from the frames that it gives to the model's output.
    """

    input: str
    output: str
    before: tuple[Step, ...]
    network: Network
    after: tuple[Step, ...]


@dataclasses.dataclass(frozen=True)
class _Host:
    """A value that the host computes: from what, how.

    Attributes:
        source: of the hardware; None: the model's input.
    """

    source: Source | None
    steps: tuple[Step, ...]


def imported(model: ir.Model) -> Imported:
    """Return the network of a model that went through `pipeline`.

    Raises:
        ModelError: engines cannot compute it; names every node, with the reason.
    """
    found, problems = _read(model)
    if problems or found is None:
        raise ModelError("the model cannot be put into an FPGA", problems)
    return found


def problems_of(model: ir.Model) -> list[Problem]:
    """Return every reason why `imported` refuses a model, in the order of the graph."""
    return _read(model)[1]


def untaken(model: ir.Model) -> list[Problem]:
    """Return every node that no engine nor the host can do, whatever its numbers.

    Args:
        model: canonical, in float.
    """
    known = _known()
    return [
        Problem(place_of(node), _unsupported(node).what)
        for node in model.graph
        if _plain(node) not in known
    ]


def _read(model: ir.Model) -> tuple[Imported | None, list[Problem]]:
    reader = _Reader(model.graph)
    for node in model.graph:
        reader.read(node)
    return reader.result(), reader.problems


class _Reader:
    """Reads a graph, node by node, and keeps what is wrong with it."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._layers: list[Layer] = []
        self._known: dict[ir.Value, Source | _Host] = {}
        self._input: tuple[ir.Value, Source] | None = None
        self.problems = list(_border_problems(graph))
        for value in graph.inputs:
            self._known[value] = _Host(None, ())

    def read(self, node: ir.Node) -> None:
        """Take in a node whose inputs are known; others say what is wrong with them alone."""
        values = data_of(node)
        if not values:
            return  # what a constant stands for: its readers say what they make of it
        try:
            if not all(value in self._known for value in values):
                self._check_alone(node)
                return
            self._known[node.outputs[0]] = self._computed(node)
        except UnsupportedError as error:
            self.problems.append(Problem(place_of(node), error.what, error.fix))

    def _check_alone(self, node: ir.Node) -> None:
        """Raise UnsupportedError if a node behind one that failed would fail by itself, too."""
        if not is_layer(node) and node.op_type not in _STEPS:
            raise _unsupported(node)

    def _computed(self, node: ir.Node) -> Source | _Host:
        values = data_of(node)
        if is_layer(node):
            sources = [self._streamed(node, value) for value in values]
            self._layers.append(layer_of(node, sources))
            return Source(self._layers[-1].output, _frame(node.outputs[0]), sources[0].last)
        if len(values) != 1:
            raise _unsupported(node)
        found = self._known[values[0]]
        if isinstance(found, Source) and (seen := _seen(node, found)) is not None:
            return seen
        if (index := self._arg_max(node, found)) is not None:
            return index
        step = _STEPS.get(node.op_type) if node.domain == "" else None
        if step is None:
            raise _unsupported(node)
        before = found if isinstance(found, _Host) else _leaving(found)
        return _Host(before.source, (*before.steps, step(node)))

    def _streamed(self, node: ir.Node, value: ir.Value) -> Source:
        """Return what an engine reads: of the hardware, or the one value that comes into it."""
        found = self._known[value]
        if isinstance(found, Source):
            return found
        if found.source is not None:
            said = ", ".join(step["op"] for step in found.steps)
            what = f"reads {value.name!r}, which the host computes: {said}"
            raise UnsupportedError(what, "let nothing but the end of the network be real")
        if self._input is None:
            self._input = value, _entering(value)
        first, source = self._input
        if first is not value:
            what = f"reads {value.name!r} beside {first.name!r}, and one stream comes in"
            raise UnsupportedError(what, "let all that reads the input read it in one form")
        return source

    def _arg_max(self, node: ir.Node, found: Source | _Host) -> _Host | None:
        """Return the index of the largest channel, if integers can tell: they rise with numbers."""
        if not is_op(node, "ArgMax"):
            return None
        source = found if isinstance(found, Source) else _still(found)
        if source is None or source.shape != _frame(data_of(node)[0]):
            return None
        axis = node.attributes.get_int("axis", 0) % (len(source.shape) + 1)
        last = bool(node.attributes.get_int("select_last_index", 0))
        if axis != (len(source.shape) if source.last else 1) or last:
            return None
        image = source.image
        output = Tensor(str(node.outputs[0].name), image.height, image.width, 1, bits=16)
        self._layers.append(ArgMax(str(node.name), (image.name,), output))
        shape = list(_frame(node.outputs[0]))
        steps = ({"op": "reshape", "shape": shape}, {"op": "cast", "dtype": "int64"})
        return _Host(Source(output, output.shape), steps)

    def result(self) -> Imported | None:
        """Return what was read; None if it is not whole, which `problems` then tells."""
        [output] = self._graph.outputs[:1]
        found = self._known.get(output)
        if self.problems:
            return None
        end = _leaving(found) if isinstance(found, Source) else found
        start = None if self._input is None else self._known[self._input[0]]
        if end is None or end.source is None or self._input is None or not isinstance(start, _Host):
            self.problems.append(Problem("model", "nothing of it computes in integers", _QUANTIZE))
            return None
        entering = self._input[1]
        network = Network(entering.tensor, tuple(self._layers))
        return Imported(
            input=str(self._graph.inputs[0].name),
            output=str(output.name),
            before=(*start.steps, *_turned(entering)),
            network=network,
            after=end.steps,
        )


def _border_problems(graph: ir.Graph) -> list[Problem]:
    """Return what is wrong with inputs and outputs: one frame comes in, one goes out."""
    found = []
    for kind, values in (("input", graph.inputs), ("output", graph.outputs)):
        if len(values) != 1:
            names = ", ".join(repr(str(value.name)) for value in values)
            what = f"there are {len(values)}: {names}"
            found.append(Problem(f"{kind}s", what, "one stream comes in, and one goes out"))
        for value in values:
            shape = shape_of(value) or ()
            if shape[:1] != (1,):
                fix = "frames go one after another: the first dimension must be 1"
                found.append(Problem(f"{kind} {value.name!r}", f"has shape {list(shape)}", fix))
    return found


def _frame(value: ir.Value) -> tuple[int, ...]:
    """Return the shape of one frame."""
    shape = shape_of(value) or ()
    if shape[:1] != (1,):
        fix = "frames go one after another: the first dimension stays 1"
        raise UnsupportedError(f"{value.name!r} has shape {list(shape)}", fix)
    return shape[1:]


def _seen(node: ir.Node, source: Source) -> Source | None:
    """Return what a node that only moves the axes lets the model see; None if it does not."""
    if is_op(node, "Reshape") and source.last:
        return Source(source.tensor, _frame(node.outputs[0]))
    perm = tuple(node.attributes.get_ints("perm", ()))
    rank = len(source.shape) + 1
    turns = {True: (0, rank - 1, *range(1, rank - 1)), False: (0, *range(2, rank), 1)}
    if is_op(node, "Transpose") and perm == turns[source.last]:
        return Source(source.tensor, _frame(node.outputs[0]), not source.last)
    return None


def _entering(value: ir.Value) -> Source:
    """Return the image that comes in, in the layout that what reads it turns it from."""
    shape, last = _frame(value), True
    waiting, seen = [value], {value}
    for item in waiting:  # grows as it goes
        for node in (use.node for use in item.uses()):
            perm = tuple(node.attributes.get_ints("perm", ()))
            last &= perm != (0, *range(2, len(perm)), 1) or not is_op(node, "Transpose")
            if node.op_type in _LAYOUTLESS and node.outputs[0] not in seen:
                waiting.append(node.outputs[0])
                seen.add(node.outputs[0])
    image = image_of(shape if last else (*shape[1:], shape[0]))
    return Source(Tensor(str(value.name), *image), shape, last)


#: Operators of integers that take images in either layout.
_LAYOUTLESS: Final = ("Concat", "QAdd", "QMul", "QRescale", "QTable", "Resize")


def _turned(source: Source) -> tuple[Step, ...]:
    """Return the step that puts the channels of what comes in last."""
    rank = len(source.shape) + 1
    return () if source.last else ({"op": "transpose", "perm": [0, *range(2, rank), 1]},)


def _leaving(source: Source) -> _Host:
    """Return what the hardware gives, as the model sees it."""
    steps: list[Step] = []
    if source.seen != source.tensor.shape:
        steps.append({"op": "reshape", "shape": list(source.seen)})
    if not source.last:
        rank = len(source.shape) + 1
        steps.append({"op": "transpose", "perm": [0, rank - 1, *range(1, rank - 1)]})
    return _Host(source, tuple(steps))


def _still(found: _Host) -> Source | None:
    """Return what numbers of the hardware are, if the host only said what they stand for."""
    own = 0 if found.source is None else len(_leaving(found.source).steps)
    said = [step["op"] for step in found.steps[own:]]
    return found.source if said == ["dequantize"] else None


def _unsupported(node: ir.Node) -> UnsupportedError:
    """Return why neither an engine nor the host takes a node."""
    others = [value for value in (*data_of(node), *node.outputs) if value.dtype != ir.DataType.INT8]
    first = others[0] if others else node.outputs[0]
    if first.dtype == ir.DataType.UINT8:
        fix = "give the network real inputs and outputs, or int8"
        return UnsupportedError(f"{first.name!r} is UINT8, and engines compute with int8", fix)
    if _plain(node) not in _known() or not others:
        return UnsupportedError(f"there is no engine for the operator {node.op_type!r}")
    what = f"{first.name!r} is {first.dtype}: the node computes in real numbers"
    return UnsupportedError(what, _QUANTIZE)


def _plain(node: ir.Node) -> str:
    """Return the name of a node's operator without its layout."""
    return node.op_type.removesuffix("Nhwc").removesuffix("Nwc")


def _known() -> set[str]:
    """Return the operators on real numbers that there is something for."""
    scheme = SCHEMES[SCHEME]
    return {*_STEPS, *(scheme.operators if isinstance(scheme, Scheme) else ())} - _MOVING


def _quantization(op: str, node: ir.Node) -> Step:
    """Return a step from or to int8; one scale for all."""
    integers = node.outputs[0] if op == "quantize" else node.inputs[0]
    scale = scalar_of(node.inputs[1])
    zero = scalar_of(node.inputs[2]) if len(node.inputs) > 2 else 0
    if scale is None or zero is None or integers is None or integers.dtype != ir.DataType.INT8:
        dtype = None if integers is None else integers.dtype
        raise UnsupportedError(f"integers are {dtype}", "the host takes int8 of one scale")
    return {"op": op, "scale": float(scale), "zero": int(zero)}


def _over_axis(op: str, node: ir.Node, **options: Any) -> Step:
    axis = node.attributes.get_int("axis", 0 if op == "argmax" else -1)
    axis %= len(shape_of(node.inputs[0]) or (0,))
    if axis == 0:
        raise UnsupportedError("axis = 0, that of the frames", "frames are computed one by one")
    return {"op": op, "axis": axis, **options}


def _arg_max(node: ir.Node) -> Step:
    if node.attributes.get_int("select_last_index", 0):
        raise UnsupportedError("select_last_index = 1", "the first of equal numbers is found")
    return _over_axis("argmax", node, keepdims=bool(node.attributes.get_int("keepdims", 1)))


def _transpose(node: ir.Node) -> Step:
    perm = list(node.attributes.get_ints("perm", ()))
    if perm[:1] != [0]:
        raise UnsupportedError(f"perm = {perm}", "the frames' axis stays the first")
    return {"op": "transpose", "perm": perm}


#: Operator -> the step of `host` that does it.
_STEPS: Final[dict[str, Callable[[ir.Node], Step]]] = {
    "ArgMax": _arg_max,
    "DequantizeLinear": lambda node: _quantization("dequantize", node),
    "LogSoftmax": lambda node: _over_axis("log_softmax", node),
    "QuantizeLinear": lambda node: _quantization("quantize", node),
    "Reshape": lambda node: {"op": "reshape", "shape": list(_frame(node.outputs[0]))},
    "Sigmoid": lambda node: {"op": "sigmoid"},
    "Softmax": lambda node: _over_axis("softmax", node),
    "Tanh": lambda node: {"op": "tanh"},
    "Transpose": _transpose,
}

#: What the scheme lets integers pass through, and no engine does.
_MOVING: Final = frozenset(
    {
        "ConvTranspose", "DepthToSpace", "Expand", "Gather", "Pad", "ReduceMean", "Slice",
        "SpaceToDepth", "Split", "Tile",
    }
)  # fmt: skip
