"""Let a network compute in a 16-bit floating-point format."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from ...errors import UsageError
from .. import half_precision, names
from ..analysis import overflow
from ..editing import Editor
from ..half_precision import Positions
from ..matching import array_of, is_op, nodes_of, shape_of
from ..quantization.scheme import PASSING

#: Operators too light to be worth two Casts: between float32 neighbours they stay float32.
_LIGHT = (*sorted(PASSING), "Clip", "Concat", "Relu")

#: What of the nodes around integers may be in the format; scales and integers stay as they are.
_AT_INTEGERS = {
    "DequantizeLinear": Positions(outputs=(0,)),
    "QuantizeLinear": Positions(inputs=(0,)),
}


@dataclasses.dataclass(frozen=True)
class ConvertPrecision(ir.passes.InPlacePass):
    """Convert a float32 model to half precision or bfloat16, weights and computation alike.

    Inputs and outputs of the graph stay float32, with a Cast at the border. So do the nodes that
    are to be kept and those that cannot be converted, with Casts around them: operators of the
    table `half_precision.KEPT` or that ONNX does not define for the format, and nodes with a
    constant that the format cannot hold (`half_precision.objection`). Inputs of an operator that
    ONNX defines as float32 (the scales of Resize) stay so.

    No value is cast to the same dtype twice, no Cast follows another, and what only moves or
    bounds data between float32 neighbours stays float32 too. A bound or filling (the constants of
    Clip, Min, Max, Pad, Where) beyond the format's range becomes its largest number: -1e9 in an
    attention mask, say.

    Requires: a model as after import, of standard operators and our own. Ensures: a valid model,
    whose nodes have the names they had; none of the nodes that are kept has an input or output in
    the format.

    Raises:
        UsageError: an option is wrong; names the nodes that are not there.

    Attributes:
        dtype: ``float16`` or ``bfloat16``.
        keep: the names of nodes that stay float32, as `names.joined` puts them; those that
            calibration finds to overflow, from `overflow.keep_list`.
        quantized: whether a QuantizeLinear reads the format and a DequantizeLinear gives it where
            their neighbours compute in it, by scales in float32; else they stay as they are.
    """

    dtype: str = "float16"
    keep: str = ""
    quantized: bool = False

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        if self.dtype not in half_precision.FORMATS:
            known = " or ".join(half_precision.FORMATS)
            raise UsageError(f"convert-precision: dtype={self.dtype!r} is not {known}")
        dtype = half_precision.FORMATS[self.dtype]
        kept = names.kept(model, self.keep, "convert-precision: keep")
        kept |= overflow.keep_list(model, None, dtype).keys()
        conversion = _Conversion(model, dtype, kept, quantized=self.quantized)
        conversion.run()
        return conversion.edit.result(model)


class _Conversion:
    """One run of the pass: which nodes compute in the format, and the Casts made so far."""

    def __init__(
        self, model: ir.Model, dtype: ir.DataType, kept: set[str], *, quantized: bool
    ) -> None:
        self.edit = Editor(model)
        self._nodes = list(nodes_of(model))
        self._dtype = dtype
        self._positions = {
            node: found
            for node in self._nodes
            if node.name not in kept
            and not is_op(node, "Cast")
            and (found := half_precision.positions(node, dtype)).inputs
        }
        if quantized:
            self._positions |= {
                node: _AT_INTEGERS[node.op_type]
                for node in self._nodes
                if is_op(node, *_AT_INTEGERS)
            }
        self._leave_light_nodes()
        self._leave_borders_of_integers()
        self._converted: set[ir.Value] = set()
        self._casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def _leave_light_nodes(self) -> None:
        """Take out light nodes with float32 or light ones around: in chains, whole ones alone."""
        light = {node for node in self._positions if is_op(node, *_LIGHT)}
        ends = {node for node in self._positions if is_op(node, *_AT_INTEGERS)}
        while True:
            heavy = self._positions.keys() - light - ends
            stay = {node for node in light if heavy.isdisjoint(_neighbours(node))}
            if stay == light:
                break
            light = stay
        for node in light:
            del self._positions[node]

    def _leave_borders_of_integers(self) -> None:
        """Take out what makes integers of float32 numbers, or float32 numbers of integers."""
        for node in self._nodes:
            if node not in self._positions or not is_op(node, *_AT_INTEGERS):
                continue
            found = self._positions[node]
            givers = [node.inputs[index] for index in found.inputs]
            makers = [value.producer() for value in givers if value is not None]
            readers = [use.node for index in found.outputs for use in node.outputs[index].uses()]
            if not any(other in self._positions for other in (*makers, *readers)):
                del self._positions[node]

    def run(self) -> None:
        """Convert every node, and drop the user's Casts that nothing reads any longer."""
        for node in self._nodes:
            self._convert(node)
        for node in reversed(self._nodes):
            if is_op(node, "Cast"):
                self.edit.remove_unused(node)

    def _convert(self, node: ir.Node) -> None:
        """Give a node its inputs in the dtype it takes, and its outputs the dtype it gives."""
        found = self._positions.get(node, Positions())
        for index, value in enumerate(node.inputs):
            if value is None:
                continue
            if is_op(node, "Cast"):
                wanted = self._narrow(value) or value
            elif index in found.inputs:
                wanted = self._in_format(value, node)
            elif value in self._converted:
                wanted = self._cast(value, ir.DataType.FLOAT, node)
            else:
                continue
            if wanted is not value:
                self.edit.set_input(node, index, wanted)
        for index in found.outputs:
            self._give(node, node.outputs[index])
        if found.outputs and is_op(node, "DequantizeLinear"):
            node.attributes["output_dtype"] = ir.AttrInt64("output_dtype", int(self._dtype))
        source = node.inputs[0] if is_op(node, "Cast") else None
        if source is not None and source.dtype == node.outputs[0].dtype == self._dtype:
            self.edit.bypass(node.outputs[0], source)

    def _give(self, node: ir.Node, value: ir.Value) -> None:
        """Let an output be in the format; the graph's output stays float32, behind a Cast."""
        if value.is_graph_output():
            attributes = {"to": int(ir.DataType.FLOAT)}
            name, shape = f"{node.name}/float32", shape_of(value)
            wide = self.edit.interpose(value, "Cast", attributes, name=name, shape=shape)
            self._casts[value, ir.DataType.FLOAT] = wide
        value.type = ir.TensorType(self._dtype)
        self._converted.add(value)
        self.edit.modified = True

    def _narrow(self, value: ir.Value) -> ir.Value | None:
        """Return what a value was widened from, if it was in the format."""
        producer = value.producer()
        source = producer.inputs[0] if is_op(producer, "Cast") and producer is not None else None
        known = source is not None and source.dtype == self._dtype
        return source if known and value.dtype == ir.DataType.FLOAT else None

    def _in_format(self, value: ir.Value, node: ir.Node) -> ir.Value:
        """Return a value or constant in the format."""
        if value.dtype == self._dtype:
            return value
        array = array_of(value)
        if array is not None:
            return self._constant(value, array, node)
        producer = value.producer()
        if producer is not None and is_op(producer, "Cast") and producer.inputs[0] is not None:
            value = producer.inputs[0]
        return self._narrow(value) or self._cast(value, self._dtype, node)

    def _constant(self, value: ir.Value, array: np.ndarray, node: ir.Node) -> ir.Value:
        """Convert a constant; one that float32 nodes read as well is doubled."""
        key = (value, self._dtype)
        if key in self._casts:
            return self._casts[key]
        figures = half_precision.rounded(array, self._dtype)
        if any(
            use.idx not in self._positions.get(use.node, Positions()).inputs for use in value.uses()
        ):
            self._casts[key] = self.edit.constant(node, half_precision.NAMES[self._dtype], figures)
            return self._casts[key]
        value.const_value = ir.Tensor(figures, dtype=self._dtype, name=value.name)
        value.type = ir.TensorType(self._dtype)
        self.edit.modified = True
        return value

    def _cast(self, value: ir.Value, dtype: ir.DataType, node: ir.Node) -> ir.Value:
        """Return a value in another dtype, cast behind its producer, once."""
        if value.dtype == dtype:
            return value
        key = (value, dtype)
        if key not in self._casts:
            self._casts[key] = self.edit.insert(
                node,
                "Cast",
                [value],
                {"to": int(dtype)},
                name=half_precision.NAMES[dtype],
                dtype=dtype,
                shape=shape_of(value),
            )
        return self._casts[key]


def _neighbours(node: ir.Node) -> Iterator[ir.Node]:
    """Yield the nodes that give what a node reads, and those that read what it gives."""
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        if producer is not None:
            yield producer
    for value in node.outputs:
        yield from (use.node for use in value.uses())
