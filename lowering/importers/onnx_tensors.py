"""The tensors of an ONNX file: checked before anything reads them; external data is mapped.

Nothing here allocates what a file merely declares: a tensor's data must be there, in the file or
in an external file inside the model's folder, and have the size that its dimensions say.
"""

from __future__ import annotations

import dataclasses
import math
import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir

from ...errors import Problem
from .limits import MAX_DENSIFIED_BYTES, MAX_ELEMENTS, MAX_RANK, MAX_TENSOR_BYTES

#: The typed field of TensorProto that holds each dtype, where the data is not in `raw_data`.
_FIELDS: Final = {
    "FLOAT": "float_data",
    "COMPLEX64": "float_data",
    "DOUBLE": "double_data",
    "COMPLEX128": "double_data",
    "INT64": "int64_data",
    "UINT32": "uint64_data",
    "UINT64": "uint64_data",
    "STRING": "string_data",
}
_INT32_FIELD: Final = "int32_data"
_ALL_FIELDS: Final = (*dict.fromkeys(_FIELDS.values()), _INT32_FIELD)


@dataclasses.dataclass(frozen=True)
class _External:
    """Where the data of an external tensor lies, as its `external_data` says."""

    file: Path
    offset: int


class _TensorError(Exception):
    """What is wrong with one tensor, and how to mend it."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.what, self.fix = what, fix


def size_fault(dtype: ir.DataType, dims: tuple[int, ...]) -> str:
    """Return why a tensor of this dtype and shape is larger than the limits, or ``""``."""
    elements = math.prod(dims)
    if len(dims) > MAX_RANK:
        return f"has {len(dims)} dimensions; at most {MAX_RANK} are possible"
    if elements > MAX_ELEMENTS:
        return f"has {elements} elements (shape {list(dims)}); at most {MAX_ELEMENTS} are possible"
    size = 0 if dtype == ir.DataType.STRING else _packed(elements, dtype)
    if size > MAX_TENSOR_BYTES:
        return f"has {size} bytes (shape {list(dims)}); at most {MAX_TENSOR_BYTES} are possible"
    return ""


class TensorReader:
    """Checks and maps the tensors of one model.

    Args:
        folder: the model's folder; no external data outside of it is ever opened.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = folder.resolve()
        self._maps: dict[Path, mmap.mmap] = {}
        self._dense_bytes = 0

    def check(self, tensor: onnx.TensorProto, where: str) -> Iterator[Problem]:
        """Yield what is wrong with a tensor, at most one finding."""
        try:
            self._check(tensor)
        except _TensorError as fault:
            yield Problem(where, fault.what, fault.fix)

    def check_sparse(self, tensor: onnx.SparseTensorProto, where: str) -> Iterator[Problem]:
        """Yield what is wrong with a sparse tensor, at most one finding."""
        try:
            self._check_sparse(tensor)
        except _TensorError as fault:
            yield Problem(where, fault.what, fault.fix)

    def _check(self, tensor: onnx.TensorProto) -> None:
        dtype = _dtype(tensor)
        dims = tuple(tensor.dims)
        if any(dim < 0 for dim in dims):
            raise _TensorError(f"has a negative dimension: {list(dims)}")
        if fault := size_fault(dtype, dims):
            raise _TensorError(fault)
        if tensor.HasField("segment"):
            raise _TensorError("is stored in segments, which ONNX never specified further")
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            self._external(tensor)
            return
        if tensor.external_data:
            raise _TensorError("names external data but says that its data is in the model")
        elements = math.prod(dims)
        field = _FIELDS.get(dtype.name, _INT32_FIELD)
        filled = [name for name in _ALL_FIELDS if len(getattr(tensor, name))]
        if tensor.HasField("raw_data"):
            wanted, held = _packed(elements, dtype), len(tensor.raw_data)
            if filled or dtype == ir.DataType.STRING:
                raise _TensorError(
                    f"holds data both in raw_data and in {', '.join(filled) or field}"
                )
            if held != wanted:
                raise _TensorError(
                    f"holds {held} bytes, but {dtype.name} of shape {list(dims)} takes {wanted}"
                )
            return
        if filled not in ([], [field]):
            raise _TensorError(
                f"is {dtype.name} but holds data in {', '.join(filled)}, not in {field}"
            )
        wanted, held = _entries(elements, dtype), len(getattr(tensor, field))
        if held != wanted:
            raise _TensorError(
                f"holds {held} values in {field}, but {dtype.name} of shape {list(dims)} "
                f"takes {wanted}"
            )

    def _external(self, tensor: onnx.TensorProto) -> _External:
        """Return where external data lies, after all checks."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        dtype = _dtype(tensor)
        if dtype == ir.DataType.STRING:
            raise _TensorError("holds strings, which cannot be external data")
        file = self._resolve(entries.get("location", ""))
        wanted = _packed(math.prod(tensor.dims), dtype)
        offset = _natural(entries, "offset", 0)
        length = _natural(entries, "length", wanted)
        if length != wanted:
            raise _TensorError(
                f"has {length} bytes of external data, but {dtype.name} of shape "
                f"{list(tensor.dims)} takes {wanted}"
            )
        size = file.stat().st_size
        if offset + wanted > size:
            raise _TensorError(
                f"has external data from byte {offset} to {offset + wanted} of "
                f"{entries['location']!r}, which has {size} bytes",
                "copy the whole file again, or export the model again",
            )
        return _External(file, offset)

    def _resolve(self, location: str) -> Path:
        """Return the file of external data; it is inside the model's folder."""
        inside = f"external data must lie inside the model's folder {str(self._folder)!r}"
        if not location:
            raise _TensorError("has external data without a location")
        as_posix, as_windows = PurePosixPath(location), PureWindowsPath(location)
        if (
            "\0" in location
            or as_posix.is_absolute()
            or as_windows.anchor
            or ".." in (*as_posix.parts, *as_windows.parts)
        ):
            raise _TensorError(
                f"has external data at {location!r}, outside of the model's folder", inside
            )
        try:
            file = (self._folder / location).resolve(strict=True)
        except (OSError, RuntimeError):  # not there, not allowed, or a loop of links
            raise _TensorError(
                f"has external data at {location!r}, which is not there",
                f"put the file into {str(self._folder)!r}",
            ) from None
        if not file.is_relative_to(self._root):
            raise _TensorError(
                f"has external data at {location!r}, a link that leaves the folder", inside
            )
        if not file.is_file():
            raise _TensorError(f"has external data at {location!r}, which is not a file")
        return file

    def _check_sparse(self, tensor: onnx.SparseTensorProto) -> None:
        dtype, dims = _dtype(tensor.values), tuple(tensor.dims)
        for part in (tensor.values, tensor.indices):
            self._check(part)
            if part.data_location == onnx.TensorProto.EXTERNAL:
                raise _TensorError("is sparse with external data, which is not possible")
        if any(dim <= 0 for dim in dims) or not dims:
            raise _TensorError(
                f"has the sparse shape {list(dims)}; every dimension must be positive"
            )
        if dtype == ir.DataType.STRING or dtype.bitwidth < 8:
            raise _TensorError(f"is sparse with values of {dtype.name}, which is not possible")
        self._dense_bytes += _packed(math.prod(dims), dtype)
        if fault := size_fault(dtype, dims):
            raise _TensorError(fault)
        if self._dense_bytes > MAX_DENSIFIED_BYTES:
            raise _TensorError(
                f"makes the sparse tensors of the model {self._dense_bytes} bytes when dense; "
                f"at most {MAX_DENSIFIED_BYTES} are possible",
                "store the weights dense",
            )
        count, rank = math.prod(tensor.values.dims), len(dims)
        shape = tuple(tensor.indices.dims)
        if tensor.indices.data_type != onnx.TensorProto.INT64 or shape not in (
            (count,),
            (count, rank),
        ):
            raise _TensorError(
                f"has indices of shape {list(shape)}; int64 of [{count}] or [{count}, {rank}] "
                "is needed"
            )
        _flat_indices(tensor)

    def map(self, tensor: ir.ExternalTensor) -> ir.TensorProtocol:
        """Return an external tensor that `check` accepted as a view of its mapped file.

        One mapping serves all tensors of a file; no page is read before something asks for it.
        """
        file = self._resolve(str(tensor.location))
        if tensor.nbytes == 0:
            empty = np.empty(tensor.shape.numpy(), tensor.dtype.numpy())
            return ir.Tensor(empty, tensor.dtype, name=tensor.name)
        if file not in self._maps:
            with file.open("rb") as stream:
                self._maps[file] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        data = np.frombuffer(
            self._maps[file], np.uint8, count=tensor.nbytes, offset=tensor.offset or 0
        )
        if tensor.dtype.bitwidth < 8:
            return ir.PackedTensor(data, tensor.dtype, shape=tensor.shape, name=tensor.name)
        dtype = tensor.dtype.numpy().newbyteorder("<")
        array = data.view(dtype).reshape(tensor.shape.numpy())
        return ir.Tensor(array, tensor.dtype, name=tensor.name)


def densify(tensor: onnx.SparseTensorProto) -> onnx.TensorProto:
    """Return the dense form of a sparse tensor that `TensorReader.check_sparse` accepted."""
    dtype, dims = _dtype(tensor.values), tuple(tensor.dims)
    dense = np.zeros(math.prod(dims), dtype.numpy())
    dense[_flat_indices(tensor)] = ir.serde.deserialize_tensor(tensor.values).numpy().reshape(-1)
    return onnx.TensorProto(
        name=tensor.values.name, data_type=dtype.value, dims=dims, raw_data=dense.tobytes()
    )


def _flat_indices(tensor: onnx.SparseTensorProto) -> np.ndarray:
    """Return the row-major positions of a sparse tensor's values."""
    dims = np.array(tensor.dims, np.int64)
    indices = ir.serde.deserialize_tensor(tensor.indices).numpy()
    limits = dims if indices.ndim == 2 else np.prod(dims)
    if ((indices < 0) | (indices >= limits)).any():
        raise _TensorError(f"has a sparse index outside of its shape {dims.tolist()}")
    flat = np.ravel_multi_index(tuple(indices.T), tuple(dims)) if indices.ndim == 2 else indices
    if len(np.unique(flat)) != len(flat):
        raise _TensorError("has a sparse index twice")
    return np.asarray(flat)


def _dtype(tensor: onnx.TensorProto) -> ir.DataType:
    try:
        dtype = ir.DataType(tensor.data_type)
    except ValueError:
        raise _TensorError(f"has the unknown data type {tensor.data_type}") from None
    if dtype == ir.DataType.UNDEFINED:
        raise _TensorError("has no data type")
    return dtype


def _packed(elements: int, dtype: ir.DataType) -> int:
    """Return the bytes of so many elements; those below eight bits lie packed, as in ONNX."""
    return 0 if dtype == ir.DataType.STRING else -(-elements * dtype.bitwidth // 8)


def _entries(elements: int, dtype: ir.DataType) -> int:
    """Return how many entries of a typed field hold so many elements, as onnx.proto says."""
    if dtype.name.startswith("COMPLEX"):
        return 2 * elements
    per_entry = {2: 4, 4: 2}.get(8 if dtype == ir.DataType.STRING else dtype.bitwidth, 1)
    return -(-elements // per_entry)


def _natural(entries: dict[str, str], key: str, default: int) -> int:
    """Return a number of an external tensor's description."""
    text = entries.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _TensorError(f"has external data with {key} {text!r}, which is not a number of bytes")
    return int(text)
