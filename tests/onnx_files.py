"""ONNX files for tests of the importer: written from text or protobufs, imported, compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tapeout.errors import ModelError
from tapeout.lowering import dialect
from tapeout.lowering.importers import load
from tapeout.lowering.reference import Reference


def parse(graph: str, opset: int = 17, ir_version: int = 8, more: str = "") -> onnx.ModelProto:
    """Return a model from the text of its graph and functions; `more` imports more domains."""
    header = f'<ir_version: {ir_version}, opset_import: ["" : {opset}{more}]>'
    return onnx.parser.parse_model(f"{header}\n{graph}")


def save(folder: Path, model: onnx.ModelProto | str, **options: int) -> Path:
    """Write a model, or one from text, and return its path."""
    proto = parse(model, **options) if isinstance(model, str) else model
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def imported(folder: Path, model: onnx.ModelProto | str, **options: int) -> ir.Model:
    """Return the import of a model, which the dialect and onnx.checker find nothing wrong with."""
    return checked(load(save(folder, model, **options)))


def checked(model: ir.Model) -> ir.Model:
    """Return a model that the dialect and onnx.checker find nothing wrong with."""
    assert dialect.check(model) == []
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return model


def findings(
    folder: Path,
    model: onnx.ModelProto | str,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    **options: int,
) -> list[str]:
    """Return what the importer finds wrong with a model that it refuses."""
    with pytest.raises(ModelError) as caught:
        load(save(folder, model, **options), shapes)
    assert caught.value.exit_code == 3
    return [str(problem) for problem in caught.value.problems]


def assert_same_numbers(
    path: Path,
    feeds: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    tolerance: float = 1e-5,
) -> ir.Model:
    """Import a file and compare ONNX Runtime's outputs of the file and of the import."""
    expected = Reference(path).run(feeds)
    model = checked(load(path, shapes))
    actual = Reference(model).run(feeds)
    assert list(actual) == list(expected)
    for name, wanted in expected.items():
        found = actual[name]
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(found, wanted)
    return model
