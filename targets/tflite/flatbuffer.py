"""A TFLite model, written tensor by tensor and operator by operator.

The format: https://ai.google.dev/edge/litert/conversion/tensorflow/schema (schema version 3a). One
subgraph, one signature with the model's own names, constants shared where they are equal and
aligned to 16 bytes, as the runtime maps them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...lowering.contents import Firsts
from .runtimes import minimum_runtime
from .versions import version_of

#: Key of the one signature; the runtime's default.
SIGNATURE: Final = "serving_default"

#: Key of the metadata that says which runtime knows all operators, and the bytes of its value.
RUNTIME: Final = "min_runtime_version"
_VERSION_SIZE: Final = 16

_IDENTIFIER: Final = b"TFL3"
_ALIGNMENT: Final = 16

#: numpy dtype -> TensorType.
DTYPES: Final[dict[str, int]] = {
    name: getattr(schema.TensorType, name.upper())
    for name in (
        "float32", "float16", "int32", "uint8", "int64", "bool", "int16", "int8", "float64",
        "uint64", "uint32", "uint16",
    )
}  # fmt: skip

_OPTION_TYPES: Final = {
    name: value for name, value in vars(schema.BuiltinOptions).items() if isinstance(value, int)
}


@dataclasses.dataclass(frozen=True, eq=False)
class Quantization:
    """real = scale x (stored - zero point).

    Attributes:
        scale, zero_point: of shape (1,), or one for each index of `axis`.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int = 0

    @property
    def key(self) -> tuple[bytes, bytes, int]:
        """What equal parameters have in common."""
        return self.scale.tobytes(), self.zero_point.tobytes(), self.axis


@dataclasses.dataclass(frozen=True)
class Tensor:
    """What is known of a tensor that was written."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    is_constant: bool = False


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]  # the package has no types
    """A buffer whose bytes start at a multiple of 16; the generated code aligns to 1.

    Its `data` is an array of any dtype, whose elements are written in C order. It may be a view of
    another: weights in another layout are first made where they stay.
    """

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 - the generated name
        data = None
        if self.data is not None:
            size = self.data.nbytes
            builder.StartVector(1, size, _ALIGNMENT)
            builder.head -= size
            place = np.frombuffer(builder.Bytes, np.uint8, size, builder.head)
            place.view(self.data.dtype).reshape(self.data.shape)[...] = self.data
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


class Writer:
    """One TFLite model in the making; tensors are numbers, in the order in which they are made."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self._written: list[Any] = []
        self._buffers: list[Any] = [_AlignedBuffer()]  # the first is the empty one, by convention
        self._shared: Firsts[int] = Firsts()
        self._constants: dict[tuple[Any, ...], int] = {}
        self._reals: dict[int, int] = {}
        self._codes: dict[tuple[str, int], int] = {}
        self._operators: list[Any] = []
        #: What was written: operator, inputs (-1: absent), outputs.
        self.calls: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        quantization: Quantization | None = None,
    ) -> int:
        """Add a tensor that an operator, or the caller of the model, will fill."""
        return self._add(Tensor(name, tuple(map(int, shape)), dtype, quantization), 0)

    def constant(
        self, name: str, array: np.ndarray, quantization: Quantization | None = None
    ) -> int:
        """Return a constant tensor; an equal one is shared, whatever its name is."""
        buffer = self._shared.first(array, len(self._buffers))
        if buffer == len(self._buffers):
            self._buffers.append(_AlignedBuffer(array))
        whole = buffer, array.shape, quantization.key if quantization is not None else None
        if whole not in self._constants:
            made = Tensor(name, array.shape, array.dtype.name, quantization, is_constant=True)
            self._constants[whole] = self._add(made, buffer)
        return self._constants[whole]

    def reals(self, stored: int, name: str) -> int:
        """Return the float32 numbers of a constant that is stored shorter, made once for all."""
        if stored not in self._reals:
            self._reals[stored] = self.tensor(name, self.tensors[stored].shape, "float32")
            self.operator("DEQUANTIZE", [stored], [self._reals[stored]], ("DequantizeOptions", {}))
        return self._reals[stored]

    def _add(self, tensor: Tensor, buffer: int) -> int:
        written = schema.TensorT()
        written.name = tensor.name.encode()
        written.shape = np.array(tensor.shape, np.int32)
        written.type = DTYPES[tensor.dtype]
        written.buffer = buffer
        written.hasRank = True
        if tensor.quantization is not None:
            written.quantization = schema.QuantizationParametersT()
            written.quantization.scale = tensor.quantization.scale.astype(np.float32)
            written.quantization.zeroPoint = tensor.quantization.zero_point.astype(np.int64)
            written.quantization.quantizedDimension = tensor.quantization.axis
        self.tensors.append(tensor)
        self._written.append(written)
        return len(self.tensors) - 1

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: tuple[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Add an operator.

        Args:
            name: of the builtin, as the schema spells it: ``CONV_2D``.
            inputs: tensors; -1 for an optional one that is absent.
            options: the name of the options' table, and its fields.
        """
        read = [self.tensors[index] if index >= 0 else None for index in inputs]
        made = [self.tensors[index] for index in outputs]
        fields = options[1] if options else {}
        code = (name, version_of(name, read, made, fields))
        written = schema.OperatorT()
        written.opcodeIndex = self._codes.setdefault(code, len(self._codes))
        written.inputs = np.array(inputs, np.int32)
        written.outputs = np.array(outputs, np.int32)
        if options is not None:
            written.builtinOptionsType = _OPTION_TYPES[options[0]]
            written.builtinOptions = getattr(schema, f"{options[0]}T")()
            for field, value in fields.items():
                if not hasattr(written.builtinOptions, field):
                    raise AttributeError(f"{options[0]} has no field {field!r}")
                setattr(written.builtinOptions, field, value)
        self._operators.append(written)
        self.calls.append((name, tuple(inputs), tuple(outputs)))

    def finish(
        self, inputs: Mapping[str, int], outputs: Mapping[str, int], description: str
    ) -> bytes:
        """Return the file; arguments as `model`."""
        builder = flatbuffers.Builder(self._room())
        written = self.model(inputs, outputs, description)
        builder.Finish(written.Pack(builder), file_identifier=_IDENTIFIER)
        return bytes(memoryview(builder.Bytes)[builder.Head() :])

    def _room(self) -> int:
        """Return about the bytes of the file, and rather more: a builder that grows copies all."""
        data: int = sum(item.data.nbytes + 64 for item in self._buffers if item.data is not None)
        tables = sum(256 + len(tensor.name) for tensor in self.tensors) + 512 * len(self.calls)
        scales = sum(
            12 * len(tensor.quantization.scale) for tensor in self.tensors if tensor.quantization
        )
        return (64 << 10) + data + tables + scales

    def model(self, inputs: Mapping[str, int], outputs: Mapping[str, int], description: str) -> Any:
        """Return the model as a ModelT, to look at before it is written.

        Args:
            inputs, outputs: the signature: name -> tensor.
        """
        subgraph = schema.SubGraphT()
        subgraph.name = b"main"
        subgraph.tensors = self._written
        subgraph.operators = self._operators
        subgraph.inputs = np.array(list(inputs.values()), np.int32)
        subgraph.outputs = np.array(list(outputs.values()), np.int32)
        signature = schema.SignatureDefT()
        signature.signatureKey = SIGNATURE.encode()
        signature.inputs = [_named(*item) for item in inputs.items()]
        signature.outputs = [_named(*item) for item in outputs.items()]
        model = schema.ModelT()
        model.version = 3
        model.description = description.encode()
        model.operatorCodes = [_code(*code) for code in self._codes]
        model.subgraphs = [subgraph]
        model.signatureDefs = [signature]
        model.buffers, model.metadata = self._with_metadata()
        return model

    def _with_metadata(self) -> tuple[list[Any], list[Any]]:
        """Return the buffers, and the entries of metadata that point at the last of them."""
        oldest = minimum_runtime(self._codes).encode().ljust(_VERSION_SIZE, b"\0")
        entry = schema.MetadataT()
        entry.name, entry.buffer = RUNTIME, len(self._buffers)
        return [*self._buffers, _AlignedBuffer(np.frombuffer(oldest, np.uint8))], [entry]


def runtime_of(content: bytes) -> str:
    """Return the oldest version of TensorFlow Lite that runs a file which was written here."""
    model = schema.Model.GetRootAs(content, 0)
    buffer = model.Buffers(model.Metadata(0).Buffer())
    return bytes(buffer.DataAsNumpy()).rstrip(b"\0").decode()


def _code(operator: str, version: int) -> Any:
    builtin = getattr(schema.BuiltinOperator, operator)
    code = schema.OperatorCodeT()
    code.builtinCode = builtin
    # Readers of old files look here first; 127 sends them to the field above.
    code.deprecatedBuiltinCode = min(builtin, 127)
    code.version = version
    return code


def _named(name: str, tensor: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), tensor
    return entry
