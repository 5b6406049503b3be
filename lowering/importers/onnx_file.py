"""From a path to a parsed ONNX protobuf, whatever the path holds."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]  # has no types

from ...errors import ModelError, Problem
from ...units import format_bytes
from .limits import MAX_FILE_BYTES


def read(path: Path) -> onnx.ModelProto:
    """Return the model of an ``.onnx`` file; tensors kept outside of it are not read.

    Raises:
        ModelError: there is no such file, it cannot be read, it is too large for protobuf, or it
            holds no ONNX model.
    """
    try:
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "does not exist"
            raise _error(path, what)
        size = path.stat().st_size
        if size == 0:
            raise _error(path, "is empty")
        if size > MAX_FILE_BYTES:
            raise _error(
                path,
                f"has {format_bytes(size)}; protobuf reads at most {format_bytes(MAX_FILE_BYTES)}",
                "save the weights as external data",
            )
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            proto = onnx.ModelProto()
            proto.ParseFromString(memoryview(data))
    except OSError as error:
        raise _error(path, f"cannot be read: {error.strerror}") from error
    except DecodeError as error:
        raise _error(path, f"is not an ONNX model: {error}") from error
    if not proto.HasField("graph") or not proto.ir_version:
        raise _error(path, "is not an ONNX model: it has no graph or no IR version")
    undecoded = list(_undecoded(proto))
    if undecoded:
        raise ModelError(
            "cannot read the model",
            [Problem(str(path), f"{name} is not UTF-8: {text!r}") for name, text in undecoded],
        )
    return proto


def _undecoded(message: Message) -> Iterator[tuple[str, bytes]]:
    """Yield the texts that are not UTF-8, with the names of their fields.

    protobuf hands such a text out as bytes; nothing after this has to expect that.
    """
    for field, value in message.ListFields():
        items = value if field.is_repeated else [value]
        if field.type == field.TYPE_STRING:
            yield from ((field.full_name, text) for text in items if isinstance(text, bytes))
        elif field.type == field.TYPE_MESSAGE:
            for item in items:
                whole = not isinstance(item, onnx.TensorProto)
                yield from _undecoded(item) if whole else _undecoded_in_tensor(item)


def _undecoded_in_tensor(tensor: onnx.TensorProto) -> Iterator[tuple[str, bytes]]:
    """As `_undecoded`, without a copy of the tensor's data."""
    if isinstance(tensor.name, bytes):
        yield "onnx.TensorProto.name", tensor.name
    for entry in tensor.external_data:
        yield from _undecoded(entry)


def _error(path: Path, what: str, fix: str = "") -> ModelError:
    return ModelError("cannot read the model", [Problem(str(path), what, fix)])
