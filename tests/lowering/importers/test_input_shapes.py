from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from tapeout.errors import UsageError
from tapeout.lowering.importers import load

import onnx_files


def shapes_of(model: ir.Model) -> list[tuple[int, ...]]:
    values = [*model.graph.inputs, *model.graph.outputs]
    return [value.shape.numpy() for value in values if value.shape is not None]


def refused(path: Path, shapes: dict[str, tuple[int, ...]] | None = None) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load(path, shapes)
    assert caught.value.exit_code == 2
    return [str(problem) for problem in caught.value.problems]


def test_a_symbolic_first_dimension_is_one(tmp_path: Path) -> None:
    path = onnx_files.save(tmp_path, "g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    assert shapes_of(load(path)) == [(1, 3), (1, 3)]
    assert shapes_of(load(path, {"x": (8, 3)})) == [(8, 3), (8, 3)]


def test_a_first_dimension_without_a_name_or_with_a_negative_size(tmp_path: Path) -> None:
    proto = onnx_files.parse("g (float[?,3] x) => (float[?,3] y) { y = Relu(x) }")
    assert shapes_of(load(onnx_files.save(tmp_path, proto))) == [(1, 3), (1, 3)]
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert shapes_of(load(onnx_files.save(tmp_path, proto))) == [(1, 3), (1, 3)]


def test_every_other_dimension_must_be_given(tmp_path: Path) -> None:
    path = onnx_files.save(
        tmp_path,
        """g (float[N,seq,4] tokens, float[N,3,?,width] image, int64[2] plain)
            => (float[N,seq,4] y, float[N,3,?,width] z) { y = Relu(tokens) z = Relu(image) }""",
    )
    assert refused(path) == [
        "input 'tokens': has dimensions of any size: seq "
        "(write --shape tokens=1xNx4 with numbers for N)",
        "input 'image': has dimensions of any size: number 2, width "
        "(write --shape image=1x3xNxN with numbers for N)",
    ]
    assert len(refused(path, {"tokens": (1, 7, 4)})) == 1
    model = load(path, {"tokens": (1, 7, 4), "image": (1, 3, 5, 6)})
    assert shapes_of(model) == [(1, 7, 4), (1, 3, 5, 6), (2,), (1, 7, 4), (1, 3, 5, 6)]


def test_an_input_of_no_known_rank(tmp_path: Path) -> None:
    proto = onnx_files.parse("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    for value in [*proto.graph.input, *proto.graph.output]:
        value.type.tensor_type.ClearField("shape")
    path = onnx_files.save(tmp_path, proto)
    assert refused(path) == ["input 'x': has no shape (write --shape x=... with its shape)"]
    assert shapes_of(load(path, {"x": (2, 3)})) == [(2, 3), (2, 3)]


def test_a_dimension_of_one_name_has_one_size(tmp_path: Path) -> None:
    path = onnx_files.save(
        tmp_path,
        "g (float[N,L] a, float[N,L] b) => (float[N,L] y) { y = Add(a, b) }",
    )
    assert shapes_of(load(path, {"b": (2, 5)})) == [(2, 5)] * 3
    assert refused(path, {"a": (2, 5), "b": (2, 6)}) == [
        "--shape b=2x6: dimension 1 (L) is 5 elsewhere"
    ]


def test_every_contradiction_is_reported(tmp_path: Path) -> None:
    path = onnx_files.save(
        tmp_path,
        """g (float[N,3] x, float[N,4] z, float[3] w) => (float[N,3] y)
            <float[3] w = {1, 2, 3}> { y = Add(x, w) }""",
    )
    assert refused(path, {"x": (1, 9), "z": (1, 4, 1), "w": (3,), "image": (1, 2)}) == [
        "--shape w: is a constant of the model (its inputs: x, z)",
        "--shape image: is no input of the model (its inputs: x, z)",
        "--shape x=1x9: dimension 1 is 3 in the model, not 9",
        "--shape z=1x4x1: has 3 dimensions; the input has 2: Nx4",
    ]


def test_a_shape_past_the_limits(tmp_path: Path) -> None:
    path = onnx_files.save(tmp_path, "g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    (found,) = refused(path, {"x": (2**40, 3)})
    assert found.startswith("--shape x=1099511627776x3: has 3298534883328 elements")
    (found,) = refused(path, {"x": (-2, 3)})
    assert found == "--shape x=-2x3: has a negative dimension"
    proto = onnx_files.parse("g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**62
    (found,) = refused(onnx_files.save(tmp_path, proto))
    assert found.startswith("input 'x': has 4611686018427387904 elements")


def test_a_dimension_of_zero_is_zero(tmp_path: Path) -> None:
    path = onnx_files.save(tmp_path, "g (float[0,3] x) => (float[0,3] y) { y = Relu(x) }")
    assert shapes_of(load(path)) == [(0, 3), (0, 3)]


def test_scalar_inputs(tmp_path: Path) -> None:
    path = onnx_files.save(tmp_path, "g (float x) => (float y) { y = Relu(x) }")
    assert shapes_of(load(path)) == [(), ()]
