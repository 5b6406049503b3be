"""Our channels-last operators, and what defines them: ONNX functions over the standard operators.

``ConvNhwc`` takes and gives images N×H×W×C, ``ConvNwc`` signals N×W×C, ``ConvNdhwc`` volumes
N×D×H×W×C, and so on for the poolings.
Attributes, weights (O×I/group×kernel; of ``ConvTranspose`` I×O/group×kernel) and biases are those
of the standard operator, with every attribute explicit and without ``auto_pad``. A model carries
the definition of each operator that it uses, so any ONNX runtime can run it, and a target may
inline what it does not know.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Final

import onnx
import onnx_ir as ir

from ..opset import DOMAIN, WORKING_OPSET

#: Rank of the data -> the permutation that brings channels-first data to channels-last.
CHANNELS_LAST: Final = {3: (0, 2, 1), 4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}

#: Rank of the data -> what the names of operators on it end in.
SUFFIXES: Final = {3: "Nwc", 4: "Nhwc", 5: "Ndhwc"}

_WINDOW: Final = ("dilations: ints", "kernel_shape: ints", "pads: ints", "strides: ints")

#: Standard operator -> its inputs, and its attributes with their types.
_STANDARD: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "AveragePool": (("x",), ("ceil_mode: int", "count_include_pad: int", *_WINDOW)),
    "Conv": (("x", "w", "b"), ("group: int", *_WINDOW)),
    "ConvTranspose": (("x", "w", "b"), ("group: int", "output_padding: ints", *_WINDOW)),
    "GlobalAveragePool": (("x",), ()),
    "GlobalMaxPool": (("x",), ()),
    "MaxPool": (("x",), ("ceil_mode: int", *_WINDOW)),
}


@dataclasses.dataclass(frozen=True)
class Operator:
    """One of our operators: which standard operator it is, on data of which rank."""

    standard: str
    rank: int

    @property
    def name(self) -> str:
        return self.standard + SUFFIXES[self.rank]

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of its attributes; a node gives every one of them."""
        return tuple(item.partition(":")[0] for item in _STANDARD[self.standard][1])

    def definition(self) -> ir.Function:
        """Return a new copy of the function that defines the operator."""
        inputs, typed = _STANDARD[self.standard]
        references = ", ".join(f"{item} = @{item.partition(':')[0]}" for item in typed)
        last = list(CHANNELS_LAST[self.rank])
        first = [last.index(axis) for axis in range(self.rank)]
        text = f"""
            <domain: "{DOMAIN}", opset_import: ["" : {WORKING_OPSET}]>
            {self.name} {f"<{', '.join(self.attributes)}>" if typed else ""}
            ({", ".join(inputs)}) => (y) {{
                channels_first = Transpose <perm = {first}> (x)
                result = {self.standard} {f"<{references}>" if typed else ""}
                    ({", ".join(["channels_first", *inputs[1:]])})
                y = Transpose <perm = {last}> (result)
            }}"""
        return ir.serde.deserialize_function(onnx.parser.parse_function(text))


@functools.cache
def operators() -> dict[str, Operator]:
    """Return all of our operators by name."""
    found = [Operator(standard, rank) for standard in _STANDARD for rank in CHANNELS_LAST]
    return {operator.name: operator for operator in found}


def operator_for(standard: str, rank: int) -> Operator | None:
    """Return our operator for a standard one on data of a rank; None if there is none."""
    if standard not in _STANDARD or rank not in CHANNELS_LAST:
        return None
    return operators()[standard + SUFFIXES[rank]]


def is_channels_last(node: ir.Node) -> bool:
    """Whether the node is one of our operators."""
    return node.domain == DOMAIN and node.op_type in operators()
