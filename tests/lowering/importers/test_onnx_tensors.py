from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, numpy_helper

from tapeout.lowering.importers import limits, load
from tapeout.lowering.importers.onnx_tensors import TensorReader, densify
from tapeout.lowering.reference import Reference

import onnx_files


def check(tensor: TensorProto, folder: Path = Path("/")) -> str:
    found = list(TensorReader(folder).check(tensor, "t"))
    assert len(found) <= 1
    return found[0].what if found else ""


def test_every_dtype_is_accepted_as_onnx_writes_it() -> None:
    for dtype in ir.DataType:
        if dtype in (ir.DataType.UNDEFINED, ir.DataType.STRING):
            continue
        for shape in ((), (3,), (2, 5)):
            array = np.ones(shape).astype(dtype.numpy())
            assert check(ir.to_proto(ir.Tensor(array, dtype, name="t"))) == ""
            size = array.size
            if dtype.name.startswith("COMPLEX"):
                continue
            typed = onnx.helper.make_tensor("t", dtype.value, shape, [1] * size)
            assert check(typed) == "", dtype
    assert check(onnx.helper.make_tensor("t", TensorProto.STRING, (2,), [b"a", b"b"])) == ""


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (TensorProto(data_type=99, dims=[1]), "has the unknown data type 99"),
        (TensorProto(dims=[1]), "has no data type"),
        (TensorProto(data_type=1, dims=[2, -1]), "has a negative dimension: [2, -1]"),
        (
            TensorProto(data_type=1, dims=[3], raw_data=bytes(8)),
            "holds 8 bytes, but FLOAT of shape [3] takes 12",
        ),
        (
            TensorProto(data_type=1, dims=[3], float_data=[1.0]),
            "holds 1 values in float_data, but FLOAT of shape [3] takes 3",
        ),
        (
            TensorProto(data_type=22, dims=[5], raw_data=bytes(2)),
            "holds 2 bytes, but INT4 of shape [5] takes 3",
        ),
        (
            TensorProto(data_type=7, dims=[1], float_data=[1.0]),
            "is INT64 but holds data in float_data, not in int64_data",
        ),
        (
            TensorProto(data_type=1, dims=[1], float_data=[1.0], raw_data=bytes(4)),
            "holds data both in raw_data and in float_data",
        ),
        (
            TensorProto(data_type=1, dims=[1] * 33, float_data=[1.0]),
            "has 33 dimensions; at most 32 are possible",
        ),
        (
            TensorProto(data_type=1, dims=[10**6, 10**6]),
            "has 1000000000000 elements (shape [1000000, 1000000]); at most 2147483647 are "
            "possible",
        ),
        (
            TensorProto(data_type=11, dims=[2**30]),
            "has 8589934592 bytes (shape [1073741824]); at most 4294967296 are possible",
        ),
    ],
)
def test_tensors_whose_data_is_not_what_they_say(tensor: TensorProto, what: str) -> None:
    assert check(tensor) == what


def external(shape: tuple[int, ...] = (4,), dtype: int = 1, **entries: str | int) -> TensorProto:
    tensor = TensorProto(name="w", data_type=dtype, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with 64 bytes of data, and a secret beside it."""
    (tmp_path / "secret").write_bytes(bytes(64))
    inside = tmp_path / "model"
    (inside / "sub").mkdir(parents=True)
    (inside / "data.bin").write_bytes(np.arange(16, dtype=np.float32).tobytes())
    (inside / "sub" / "data.bin").write_bytes(bytes(64))
    (inside / "out").symlink_to(tmp_path)
    (inside / "secret").symlink_to(tmp_path / "secret")
    (inside / "link.bin").symlink_to("data.bin")
    (inside / "loop").symlink_to("loop")
    os.mkfifo(inside / "pipe")
    return inside


@pytest.mark.parametrize("location", ["data.bin", "sub/data.bin", "./data.bin", "link.bin"])
def test_external_data_inside_the_folder(folder: Path, location: str) -> None:
    assert check(external(location=location), folder) == ""
    assert check(external(location=location, offset=48, length=16), folder) == ""


@pytest.mark.parametrize(
    ("location", "what"),
    [
        ("../../etc/passwd", "outside of the model's folder"),
        ("../secret", "outside of the model's folder"),
        ("sub/../../secret", "outside of the model's folder"),
        ("sub/../data.bin", "outside of the model's folder"),
        ("/etc/passwd", "outside of the model's folder"),
        ("C:\\windows\\system.ini", "outside of the model's folder"),
        ("..\\secret", "outside of the model's folder"),
        ("//host/share", "outside of the model's folder"),
        ("data.bin\0", "outside of the model's folder"),
        ("secret", "a link that leaves the folder"),
        ("out/secret", "a link that leaves the folder"),
        ("none.bin", "which is not there"),
        ("loop", "which is not there"),
        ("x" * 5000, "which is not there"),
        ("sub", "which is not a file"),
        (".", "which is not a file"),
        ("pipe", "which is not a file"),
    ],
)
def test_external_data_elsewhere_is_never_opened(folder: Path, location: str, what: str) -> None:
    found = check(external(location=location), folder)
    assert found == f"has external data at {location!r}, {what}"


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (external(), "has external data without a location"),
        (external(location="data.bin", offset=52), "has external data from byte 52 to 68 of"),
        (external(location="data.bin", offset=2**62), "has external data from byte"),
        (external(location="data.bin", offset=-4), "has external data with offset '-4'"),
        (external(location="data.bin", offset="4e1"), "has external data with offset '4e1'"),
        (external(location="data.bin", length="٤"), "has external data with length '٤'"),
        (external(location="data.bin", length=15), "has 15 bytes of external data, but FLOAT"),
        (external((2**20, 2**20), location="data.bin"), "has 1099511627776 elements"),
        (external((1,), 8, location="data.bin"), "holds strings, which cannot be external data"),
    ],
)
def test_external_data_that_does_not_fit_its_file(
    folder: Path, tensor: TensorProto, what: str
) -> None:
    assert check(tensor, folder).startswith(what)


def test_every_bad_tensor_of_a_model_is_reported(folder: Path) -> None:
    proto = onnx_files.parse(
        "g (float[4] x) => (float[4] y) { a = Add(x, w) b = Add(a, v) y = Add(b, c)"
        " c = Constant<value = float[4] {1, 2, 3, 4}>() }"
    )
    bad = external(location="../../etc/passwd")
    proto.graph.initializer.append(bad)
    bad.name = "v"
    proto.graph.initializer.append(bad)
    proto.graph.node[3].attribute[0].t.CopyFrom(bad)
    found = onnx_files.findings(folder, proto)
    assert len(found) == 3
    assert all("'../../etc/passwd', outside of the model's folder" in line for line in found)
    assert [line.split(":")[0] for line in found] == [
        "initializer 'w'",
        "initializer 'v'",
        "node #3 (Constant), attribute 'value'",
    ]


def test_external_data_is_a_view_of_one_mapping(folder: Path) -> None:
    proto = onnx_files.parse(
        "g (float[4] x) => (float[4] y) { a = Add(x, w) b = Add(a, v) y = Mul(b, c)"
        " c = Constant<value = float[4] {1, 2, 3, 4}>() }"
    )
    for name, offset in (("w", 0), ("v", 48)):
        tensor = external(location="data.bin", offset=offset)
        tensor.name = name
        proto.graph.initializer.append(tensor)
    proto.graph.node[3].attribute[0].t.CopyFrom(external(location="data.bin", offset=4))
    feeds = {"x": np.ones(4, np.float32)}
    model = onnx_files.assert_same_numbers(onnx_files.save(folder, proto), feeds)
    arrays = [model.graph.initializers[name].const_value.numpy() for name in ("w", "v", "c")]
    assert [array.tolist() for array in arrays] == [[0, 1, 2, 3], [12, 13, 14, 15], [1, 2, 3, 4]]
    roots = []
    for array in arrays:
        assert not array.flags.writeable
        assert not array.flags.owndata
        base = array
        while isinstance(base, np.ndarray) and base.base is not None:
            base = base.base
        roots.append(base.obj if isinstance(base, memoryview) else base)
    assert roots[0] is roots[1] is roots[2]


@pytest.mark.parametrize("dtype", [ir.DataType.INT4, ir.DataType.UINT2, ir.DataType.BFLOAT16])
def test_external_data_of_other_dtypes(folder: Path, dtype: ir.DataType) -> None:
    array = np.array([1, 0, 1, 1, 0]).astype(dtype.numpy())
    data = ir.Tensor(array, dtype).tobytes()
    (folder / "data.bin").write_bytes(b"??" + data)
    tensor = external((5,), dtype.value, location="data.bin", offset=2)
    reader = TensorReader(folder)
    assert list(reader.check(tensor, "t")) == []
    mapped = reader.map(ir.serde.deserialize_tensor(tensor))
    assert (mapped.dtype, mapped.shape) == (dtype, (5,))
    assert mapped.tobytes() == data
    np.testing.assert_array_equal(mapped.numpy(), array)


def test_an_empty_external_tensor(folder: Path) -> None:
    tensor = external((0, 3), location="data.bin")
    reader = TensorReader(folder)
    assert list(reader.check(tensor, "t")) == []
    assert reader.map(ir.serde.deserialize_tensor(tensor)).numpy().shape == (0, 3)


def sparse(
    values: np.ndarray, indices: list[int] | list[list[int]], dims: list[int]
) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(
        values=numpy_helper.from_array(values, "w"),
        indices=numpy_helper.from_array(np.array(indices, np.int64).reshape(len(indices), -1))
        if indices and isinstance(indices[0], list)
        else numpy_helper.from_array(np.array(indices, np.int64)),
        dims=dims,
    )


HALVES = np.array([0.5, 1.5], np.float32)


@pytest.mark.parametrize("indices", [[1, 5], [[0, 1], [1, 2]]])
def test_sparse_initializers_become_dense(
    tmp_path: Path, indices: list[int] | list[list[int]]
) -> None:
    proto = onnx_files.parse("g (float[2,3] x) => (float[2,3] y) { y = Add(x, w) }")
    proto.graph.sparse_initializer.append(sparse(HALVES, indices, [2, 3]))
    model = onnx_files.imported(tmp_path, proto)
    assert model.graph.initializers["w"].const_value.numpy().tolist() == [[0, 0.5, 0], [0, 0, 1.5]]


def test_a_sparse_constant_becomes_dense(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        "g (float[2,3] x) => (float[2,3] y) { y = Add(x, w) w = Constant<value_int = 1>() }"
    )
    attribute = proto.graph.node[1].attribute[0]
    attribute.Clear()
    attribute.name, attribute.type = "sparse_value", onnx.AttributeProto.SPARSE_TENSOR
    attribute.sparse_tensor.CopyFrom(sparse(HALVES, [0, 4], [2, 3]))
    model = onnx_files.imported(tmp_path, proto)
    feeds = {"x": np.zeros((2, 3), np.float32)}
    assert Reference(model).run(feeds)["y"].tolist() == [[0.5, 0, 0], [0, 1.5, 0]]


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (sparse(HALVES, [0, 6], [2, 3]), "has a sparse index outside of its shape [2, 3]"),
        (sparse(HALVES, [-1, 0], [2, 3]), "has a sparse index outside of its shape [2, 3]"),
        (sparse(HALVES, [[0, 0], [1, 3]], [2, 3]), "has a sparse index outside of its shape"),
        (sparse(HALVES, [1, 1], [2, 3]), "has a sparse index twice"),
        (sparse(HALVES, [1], [2, 3]), "has indices of shape [1]; int64 of [2] or [2, 2]"),
        (sparse(HALVES, [0, 1], []), "has the sparse shape []"),
        (sparse(HALVES, [0, 1], [-2, -3]), "has the sparse shape [-2, -3]"),
        (sparse(HALVES, [0, 1], [2**20, 2**20]), "has 1099511627776 elements"),
        (sparse(HALVES, [0, 1], [2**27]), "makes the sparse tensors of the model 536870912 bytes"),
    ],
)
def test_sparse_tensors_that_are_wrong_or_grow_too_large(
    tensor: onnx.SparseTensorProto, what: str
) -> None:
    (found,) = TensorReader(Path("/")).check_sparse(tensor, "w")
    assert found.what.startswith(what)


def test_sparse_tensors_are_bounded_together(tmp_path: Path) -> None:
    reader = TensorReader(tmp_path)
    side = limits.MAX_DENSIFIED_BYTES // 4 // 4
    results = [list(reader.check_sparse(sparse(HALVES, [0, 1], [side]), "w")) for _ in range(6)]
    assert [len(found) for found in results] == [0, 0, 0, 0, 1, 1]


def test_densify_keeps_the_dtype() -> None:
    dense = densify(sparse(np.array([3, -4], np.int8), [2, 0], [4]))
    assert numpy_helper.to_array(dense).tolist() == [-4, 0, 3, 0]
    assert numpy_helper.to_array(dense).dtype == np.int8


def test_a_hostile_declared_size_costs_nothing(tmp_path: Path) -> None:
    proto = onnx_files.parse("g (float[1] x) => (float[1] y) { y = Relu(x) }")
    proto.graph.initializer.add(name="w", data_type=1, dims=[2**31 - 1])
    found = onnx_files.findings(tmp_path, proto)
    assert found == [
        "initializer 'w': has 8589934588 bytes (shape [2147483647]); at most 4294967296 are "
        "possible"
    ]


def test_unused_initializers_are_dropped(tmp_path: Path) -> None:
    text = "g (float[1] x) => (float[1] y) <float[2] w = {1, 2}> { y = Relu(x) }"
    assert not onnx_files.imported(tmp_path, text).graph.initializers


def test_reading_twice_gives_the_same_bytes(folder: Path) -> None:
    proto = onnx_files.parse("g (float[4] x) => (float[4] y) { y = Add(x, w) }")
    proto.graph.initializer.append(external(location="data.bin"))
    path = onnx_files.save(folder, proto)
    first, second = (ir.to_proto(load(path)).SerializeToString() for _ in range(2))
    assert first == second
