"""From a path to a parsed ONNX protobuf, whatever the path holds."""

from __future__ import annotations

import mmap
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no types

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
    return proto


def _error(path: Path, what: str, fix: str = "") -> ModelError:
    return ModelError("cannot read the model", [Problem(str(path), what, fix)])
