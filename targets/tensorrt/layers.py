"""The layers of an engine, read from the list in the builder's detailed log.

The list is no interface. What does not read as the releases that we know write it raises
`UnreadableError`, quoting the place; nothing is left out silently. Names are the user's and may
hold any text, so that the grammar leans on the fields between them: numbers and words.

One list holds the layers of all optimization profiles, one profile after the other: the tensors of
all but the first say ``[profile N]``. Of an engine for several compute capabilities it shows the
layers for the one that was asked for first.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from ...lowering.analysis.tensors import packed

#: The library's name of an element type -> ours, and its bits.
_DTYPES: Final = {
    "Float": ("float32", 32),
    "Half": ("float16", 16),
    "BFloat16": ("bfloat16", 16),
    "FP8": ("float8_e4m3fn", 8),
    "FP4": ("float4_e2m1fn", 4),
    "Int64": ("int64", 64),
    "Int32": ("int32", 32),
    "Int8": ("int8", 8),
    "UInt8": ("uint8", 8),
    "Int4": ("int4", 4),
    "Bool": ("bool", 8),
}
_BITS: Final = dict(_DTYPES.values())

#: The library's types of layers by what they do; others are shown as they are called.
_FAMILIES: Final = {
    "correlation": "convolution",
    "deconv": "transposed convolution",
    "gemm": "matrix product",
    "kgen": "generated",
    "maxpool": "max pool",
    "avgpool": "average pool",
    "runtime_fusion": "fused product",
    "ShapeHostToDevice": "shape to the GPU",
    "cjmp": "branch",
    "jmp": "jump",
    "shape_call": "shapes",
}

#: Layers that run no kernel: they order streams, choose what runs next, or work out shapes.
_BOOKKEEPING: Final = ("signal", "wait", "jmp", "cjmp", "shape_call")

#: Kernels that multiply two operands as they are and sum up; and those that may convert them first.
_PLAIN_PRODUCTS: Final = ("correlation", "deconv", "gemm")
_PRODUCTS: Final = (*_PLAIN_PRODUCTS, "runtime_fusion")

_HEAD: Final = "Layers:\n"
_TAIL: Final = "\n\nI/O Tensors:"

_QUOTED: Final = 160  # characters of the log that an error shows


class UnreadableError(ValueError):
    """The list of layers is not as we know it; the message quotes the place."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """What a layer reads or writes.

    Attributes:
        shape: as it lies in memory, padding of channels included; -1 where it is known when it
            runs.
        strides: elements from one index to the next, dimension by dimension; empty where the log
            does not tell.
        dtype: as numpy spells it; as the library does, in lower case, where we know no such type.
        format: the library's words for the order of the dimensions.
    """

    name: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    format: str

    @property
    def bytes(self) -> int | None:
        """What it takes; None where the shape, or the size of an element, is not known."""
        bits = _BITS.get(self.dtype)
        return None if bits is None or -1 in self.shape else packed(math.prod(self.shape), bits)

    def __str__(self) -> str:
        shape = "x".join("?" if size < 0 else str(size) for size in self.shape)
        return f"{shape or 'scalar'} {self.dtype}"


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of the engine: a kernel, or what comes between kernels.

    Attributes:
        type: the library's word: ``kgen``, ``correlation``, ``gemm``, ``wait``.
        kernel: the library's name for its code; empty where it is chosen on the device.
        constants: weights, scales and the like.
        nodes: the names of the network's nodes that it computes, or a part of.
        made: what else it computes: names that the library's parser gave.
        profile: the number of the optimization profile, from 0.
    """

    name: str
    type: str
    kernel: str
    inputs: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[str, ...]
    made: tuple[str, ...]
    stream: int
    profile: int

    @property
    def family(self) -> str:
        """What it does, in the words of the field."""
        return _FAMILIES.get(self.type, self.type)

    @property
    def runs(self) -> bool:
        """Whether there is a kernel to run."""
        return self.type not in _BOOKKEEPING

    @property
    def multiplies(self) -> bool:
        """Whether it is a kernel for sums of products."""
        return self.type in _PRODUCTS

    def dtype(self, asked: str = "") -> str:
        """Return what it computes in: the widest type of a product's operands, or of all tensors.

        The operands of a product are its data and the largest of its weights; scales and biases
        beside them are of other types. Weights in fewer bits than the data are widened first.
        Empty without tensors.

        Args:
            asked: the type that the network has a product of it computed in. A kernel that is made
                for several nodes may convert what it multiplies, which the log does not show: it is
                this type if the kernel reads something in it.
        """
        if self.type not in _PLAIN_PRODUCTS and asked in {
            tensor.dtype for tensor in (*self.inputs, *self.constants)
        }:
            return asked
        tensors = self._operands if self.multiplies else (*self.inputs, *self.constants)
        found = [tensor.dtype for tensor in tensors or self.outputs]
        if not self.multiplies:
            found += [tensor.dtype for tensor in self.outputs]
        return max(found, key=width, default="")

    @property
    def _operands(self) -> tuple[Tensor, ...]:
        weights = max(self.constants, key=lambda item: math.prod(item.shape), default=None)
        if weights is None:
            return self.inputs
        if len(self.inputs) > 1:  # of two matrices; or what is added to the sums is the other
            is_matrix = sum(size > 1 for size in weights.shape) > 1
            return (self.inputs[0], weights) if is_matrix else self.inputs
        return (*self.inputs, weights)

    @property
    def moved(self) -> int | None:
        """Bytes read and written; None where the size of a tensor is not known."""
        groups = (self.inputs, self.constants, self.outputs)
        if any(tensor.bytes is None for tensors in groups for tensor in tensors):
            return None
        return sum(sum(sizes(tensors).values()) for tensors in groups)


def sizes(tensors: Iterable[Tensor]) -> dict[str, int]:
    """Return the bytes of tensors, each once: one that is named again is a part of it, or a view.

    Those of a size that is not known are left out.
    """
    found: dict[str, int] = {}
    for tensor in tensors:
        if tensor.bytes is not None:
            found[tensor.name] = max(found.get(tensor.name, 0), tensor.bytes)
    return found


def width(dtype: str) -> tuple[bool, int]:
    """Order types by what is converted to what: integers to floats, few bits to many."""
    return "float" in dtype, _BITS.get(dtype, 0)


def parse(text: str, names: Collection[str]) -> tuple[Layer, ...]:
    """Read the message that lists the layers of an engine.

    Args:
        names: of the network's nodes.

    Raises:
        UnreadableError: a part of it is not as we know it.
    """
    if not text.startswith(_HEAD):
        raise UnreadableError(f"the list of layers does not begin with {_HEAD!r}: {_quoted(text)}")
    listed, tail, _ = text.removeprefix(_HEAD).rpartition(_TAIL)
    if not tail:
        raise UnreadableError(f"the list of layers does not end before {_TAIL.strip()!r}")
    known = frozenset(names)
    found: list[Layer] = []
    position = profile = 0
    while position < len(listed):
        layer, position = _layer(listed, position, known)
        profile = max([profile, *_profiles(layer)])
        found.append(dataclasses.replace(layer, profile=profile))
    return tuple(found)


def by_profile(layers: Sequence[Layer]) -> tuple[tuple[Layer, ...], ...]:
    """Return the layers of each optimization profile."""
    count = max((layer.profile for layer in layers), default=-1) + 1
    return tuple(
        tuple(layer for layer in layers if layer.profile == number) for number in range(count)
    )


#: A name ends where the field after it begins; it does not reach over the fields of another one.
_HEADER: Final = re.compile(
    r"Name: (?P<name>(?:(?!, LayerType: |, Metadata: |\nName: ).)*), "
    r"LayerType: (?P<type>\w+), Inputs: \[",
    re.DOTALL,
)
_TENSOR: Final = re.compile(
    r" \{ Name: (?P<name>(?:(?!, Location: |, Dimensions: |, Datatype: ).)*), "
    r"(?:Location: \w+, )?Dimensions: \[(?P<shape>[-\d,]*)\], "
    r"(?:Strides: \[(?P<strides>[-\d,]*)\], StrideOrder: \[[-\d,]*\], )?"
    r"Datatype: (?P<dtype>\w+), Format: (?P<format>[^{}]*?) \}(?P<more>,?)",
    re.DOTALL,
)
_CONSTANTS: Final = re.compile(r"\], Constants: \[")
_OUTPUTS: Final = re.compile(r"\], Outputs: \[")
_END: Final = re.compile(
    r"\](?P<fields>(?:(?!, Metadata: |\nName: ).)*), "
    r"Metadata: (?P<nodes>(?:(?!\nName: ).)*)(?:\n|\Z)",
    re.DOTALL,
)
_KERNEL: Final = re.compile(r", TacticName: ([^\s,]*)")
_STREAM: Final = re.compile(r", StreamId: (\d+)")

#: Where a layer comes from; a word after it says how the compiler rewrote the node.
_ORIGIN: Final = re.compile(r"\[ONNX Layer: (.*)\]\w*", re.DOTALL)
_BETWEEN_ORIGINS: Final = "\x1f"  # the unit separator

#: How the library tells the tensors of optimization profiles apart.
_PROFILE: Final = re.compile(r" \[profile (\d+)\]")


def _layer(text: str, start: int, names: frozenset[str]) -> tuple[Layer, int]:
    """Return the layer that begins at `start`, and where the next one does."""
    head = _expect(_HEADER, text, start, start)
    inputs, position = _tensors(text, head.end(), start)
    constants: tuple[Tensor, ...] = ()
    if listed := _CONSTANTS.match(text, position):
        constants, position = _tensors(text, listed.end(), start)
    outputs, position = _tensors(text, _expect(_OUTPUTS, text, position, start).end(), start)
    end = _expect(_END, text, position, start)
    kernel, stream = _KERNEL.search(end["fields"]), _STREAM.search(end["fields"])
    if stream is None:
        raise _unknown(text, start, position)
    origins = tuple(dict.fromkeys(_origins(end["nodes"])))
    layer = Layer(
        head["name"],
        head["type"],
        kernel[1] if kernel else "",
        inputs,
        constants,
        outputs,
        tuple(name for name in origins if name in names),
        tuple(name for name in origins if name not in names),
        int(stream[1]),
        0,
    )
    return layer, end.end()


def _expect(pattern: re.Pattern[str], text: str, position: int, start: int) -> re.Match[str]:
    found = pattern.match(text, position)
    if found is None:
        raise _unknown(text, start, position)
    return found


def _unknown(text: str, start: int, position: int) -> UnreadableError:
    return UnreadableError(
        f"the layer {_quoted(text[start:])} goes on as we do not know: {_quoted(text[position:])}"
    )


def _quoted(text: str) -> str:
    cut = text[:_QUOTED]
    return repr(cut) + ("..." if len(text) > len(cut) else "")


def _tensors(text: str, position: int, start: int) -> tuple[tuple[Tensor, ...], int]:
    """Return the tensors of a list, and where its closing bracket is."""
    found: list[Tensor] = []
    more = text[position : position + 1] == " "
    while more:
        match = _expect(_TENSOR, text, position, start)
        dtype, _ = _DTYPES.get(match["dtype"], (match["dtype"].lower(), 0))
        shape, strides = _numbers(match["shape"]), _numbers(match["strides"] or "")
        found.append(Tensor(match["name"], shape, strides, dtype, match["format"]))
        position, more = match.end(), bool(match["more"])
    return tuple(found), position


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)


def _origins(text: str) -> Iterator[str]:
    """Yield the names of what a layer comes from."""
    for piece in filter(None, text.split(_BETWEEN_ORIGINS)):
        match = _ORIGIN.fullmatch(piece)
        yield match[1] if match else piece


def _profiles(layer: Layer) -> Iterator[int]:
    """Yield the optimization profiles that the names of a layer's data say."""
    for tensor in (*layer.inputs, *layer.outputs):
        yield from (int(number) for number in _PROFILE.findall(tensor.name))
