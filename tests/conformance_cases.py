"""ONNX's own backend node tests, as cases to run: models that are imported, inputs, outputs."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from tapeout.errors import ModelError
from tapeout.lowering.importers.onnx import load


@dataclasses.dataclass(frozen=True)
class Case:
    """A node test with tensors only."""

    name: str
    model: onnx.ModelProto
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    rtol: float
    atol: float


class Unsuitable(Exception):  # noqa: N818 - an outcome, not an error
    """The case is none of ours: it is not about tensors of static shape."""


@functools.cache
def node_tests() -> list[Any]:
    """Return ONNX's own node tests, in their order."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflow in the making of the expected values
        return list(collect_testcases(None))


def operators_of(tests: Iterable[Any]) -> dict[str, str]:
    """Return the operator of each test; an expanded one has that of the test it was made from."""
    single = {
        test.name: str(test.model.graph.node[0].op_type)
        for test in tests
        if len(test.model.graph.node) == 1
    }
    found = {}
    for test in tests:
        origin = test.name.partition("_expanded")[0]
        found[test.name] = single.get(origin) or single.get(test.name) or _main_operator(test)
    return found


def _main_operator(test: Any) -> str:
    kinds = {str(node.op_type) for node in test.model.graph.node} - {"Constant"}
    return "+".join(sorted(kinds)) if len(kinds) <= 3 else str(test.model.graph.node[-1].op_type)


def case_of(test: Any) -> Case:
    graph = test.model.graph
    for value in [*graph.input, *graph.output]:
        if value.type.WhichOneof("value") != "tensor_type":
            raise Unsuitable(f"{value.name} is no tensor but a {value.type.WhichOneof('value')}")
        if value.type.tensor_type.elem_type == onnx.TensorProto.STRING:
            raise Unsuitable("it is about strings")
    inputs, outputs = test.data_sets[0]
    return Case(
        test.name,
        test.model,
        tuple(map(_array, inputs)),
        tuple(map(_array, outputs)),
        test.rtol,
        test.atol,
    )


def _array(value: Any) -> np.ndarray:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value)


#: A model, and its inputs by name.
Imported = tuple[ir.Model, dict[str, np.ndarray]]


def imported(case: Case) -> list[Imported]:
    """Import a case as it is, and with its small inputs as constants.

    Shapes, axes and scales are inputs in these tests, but constants in networks. The first that
    can be imported serves the reference; the target takes the first that it can.
    """
    feeds = dict(zip((item.name for item in case.model.graph.input), case.inputs, strict=True))
    small = {name for name, array in feeds.items() if array.ndim <= 1 and array.size <= 64}
    variants = [set[str]()] + ([small] if small and len(small) < len(feeds) else [])
    found: list[Imported] = []
    refusals: list[ModelError] = []
    for fixed in variants:
        model = _with_constants(case.model, feeds, fixed)
        shapes = {name: array.shape for name, array in feeds.items() if name not in fixed}
        try:
            loaded = _load(model, shapes)
        except ModelError as error:
            refusals.append(error)
        else:
            names = (str(item.name) for item in loaded.graph.inputs)
            found.append((loaded, {name: feeds[name] for name in names}))
    if not found:
        raise refusals[0]
    return found


def _with_constants(
    model: onnx.ModelProto, feeds: dict[str, np.ndarray], fixed: set[str]
) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    kept = [item for item in changed.graph.input if item.name not in fixed]
    del changed.graph.input[:]
    changed.graph.input.extend(kept)
    tensors = (numpy_helper.from_array(feeds[name], name) for name in sorted(fixed))
    changed.graph.initializer.extend(tensors)
    return changed


def _load(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> ir.Model:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return load(path, shapes)
