from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tapeout.errors import ModelError
from tapeout.lowering.importers import limits
from tapeout.lowering.importers.onnx_file import read

import onnx_files


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    return caught.value.problems[0].what


def test_reads_a_model(tmp_path: Path) -> None:
    path = onnx_files.save(tmp_path, "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert read(path).graph.node[0].op_type == "Relu"


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "is a folder, not a file"
    assert refusal(tmp_path / "none.onnx") == "does not exist"
    assert refusal(tmp_path / ("long" * 100)).startswith(("does not exist", "cannot be read"))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\x00", "is not an ONNX model: "),
        (b"hello, world", "is not an ONNX model: "),
        (bytes(range(256)) * 40, "is not an ONNX model: "),
        (b"\x08\x08", "is not an ONNX model: it has no graph or no IR version"),
        (b"\x1f\x8b\x08" + bytes(100), "is not an ONNX model: "),
    ],
)
def test_content_that_is_no_model(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert refusal(path).startswith(what)


def test_a_file_larger_than_protobuf_reads(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(limits.MAX_FILE_BYTES + 1)  # sparse: takes no space
    assert "protobuf reads at most" in refusal(path)


def test_graphs_nested_deeper_than_protobuf_reads(tmp_path: Path) -> None:
    proto = onnx.ModelProto(ir_version=8)
    graph = proto.graph
    for _ in range(60):
        attribute = graph.node.add(op_type="If").attribute.add(name="then_branch")
        graph = attribute.g
        graph.name = "inner"
    assert "Depth" in refusal(onnx_files.save(tmp_path, proto))


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = onnx_files.save(tmp_path, "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    path.write_bytes(path.read_bytes().replace(b"Relu", b"R\xff\xfeu"))
    assert refusal(path) == "onnx.NodeProto.op_type is not UTF-8: b'R\\xff\\xfeu'"


def test_a_tensor_name_that_is_not_utf8(tmp_path: Path) -> None:
    text = "g (float[2] x) => (float[2] y) <float[2] weight = {1, 2}> { y = Add(x, weight) }"
    path = onnx_files.save(tmp_path, text)
    path.write_bytes(path.read_bytes().replace(b"weight", b"w\xffight"))
    with pytest.raises(ModelError) as caught:
        read(path)
    assert {problem.what.split(" is ")[0] for problem in caught.value.problems} == {
        "onnx.NodeProto.input",
        "onnx.TensorProto.name",
    }
