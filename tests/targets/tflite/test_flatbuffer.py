"""What is in the file: read back with the schema's own reader."""

from __future__ import annotations

import struct
from typing import Any

import litert
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tapeout.targets.tflite.flatbuffer import SIGNATURE, Quantization, Writer, runtime_of
from tapeout.targets.tflite.lower import to_tflite
from tapeout.targets.tflite.runtimes import minimum_runtime

import support

CONSTANT = np.arange(5, dtype=np.float32)


def written() -> bytes:
    """y = x + c + c, with the constant made twice, and once more as integers with a meaning."""
    writer = Writer()
    x = writer.tensor("x", (5,), "float32")
    first, second = writer.constant("c", CONSTANT), writer.constant("again", CONSTANT.copy())
    assert first == second
    middle, y = writer.tensor("middle", (5,), "float32"), writer.tensor("y", (5,), "float32")
    options = ("AddOptions", {"fusedActivationFunction": 0})
    writer.operator("ADD", [x, first], [middle], options)
    writer.operator("ADD", [middle, second], [y], options)
    return writer.finish({"image": x}, {"scores": y}, "a test")


def opened(content: bytes) -> Any:
    return schema.Model.GetRootAs(content, 0)


def test_the_head_of_the_file_says_what_it_is() -> None:
    content = written()
    assert content[4:8] == b"TFL3"
    model = opened(content)
    assert model.Version() == 3
    assert model.Description() == b"a test"
    assert (model.SubgraphsLength(), model.OperatorCodesLength()) == (1, 1)


def test_the_signature_has_the_names_that_were_asked_for() -> None:
    found = litert.interpreter(written()).get_signature_list()
    assert found == {SIGNATURE: {"inputs": ["image"], "outputs": ["scores"]}}


def test_equal_constants_are_one_and_their_bytes_start_at_multiples_of_16() -> None:
    content = written()
    model = opened(content)
    sizes = [model.Buffers(index).DataLength() for index in range(model.BuffersLength())]
    assert sizes == [0, CONSTANT.nbytes, 16]  # the last is the metadata's
    assert content.find(CONSTANT.tobytes()) % 16 == 0


@pytest.mark.parametrize("length", range(1, 20))
def test_alignment_of_any_length(length: int) -> None:
    writer = Writer()
    x = writer.tensor("x", (length,), "int8")
    array = np.arange(1, length + 1, dtype=np.int8) * 5
    other = np.full(3, 7, np.int8)
    writer.constant("before", other)
    constant, y = writer.constant("c", array), writer.tensor("y", (length,), "int8")
    writer.operator("MAXIMUM", [x, constant], [y], ("MaximumMinimumOptions", {}))
    content = writer.finish({"x": x}, {"y": y}, "")
    model = opened(content)
    for index in range(1, model.BuffersLength()):
        data = model.Buffers(index).DataAsNumpy()
        address = data.__array_interface__["data"][0]
        start = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
        assert (address - start) % 16 == 0


def test_equal_bytes_of_another_meaning_share_a_buffer_and_not_a_tensor() -> None:
    writer = Writer()
    array = np.array([1, 2], np.int8)
    one = Quantization(np.array([0.5], np.float32), np.array([0], np.int64))
    two = Quantization(np.array([0.25], np.float32), np.array([0], np.int64))
    tensors = [writer.constant("c", array, meaning) for meaning in (None, one, two)]
    tensors.append(writer.constant("c", array.reshape(2, 1)))
    assert len(set(tensors)) == 4
    assert writer.constant("c", array, Quantization(one.scale, one.zero_point)) == tensors[1]
    content = writer.finish({}, {"y": tensors[0]}, "")
    assert opened(content).BuffersLength() == 3


def test_scales_axes_and_zero_points_are_written() -> None:
    writer = Writer()
    scales = Quantization(np.array([0.5, 2], np.float32), np.array([3, -4], np.int64), 1)
    made = writer.constant("w", np.zeros((3, 2), np.int8), scales)
    tensor = opened(writer.finish({}, {"w": made}, "")).Subgraphs(0).Tensors(0)
    found = tensor.Quantization()
    np.testing.assert_array_equal(found.ScaleAsNumpy(), scales.scale)
    np.testing.assert_array_equal(found.ZeroPointAsNumpy(), scales.zero_point)
    assert found.QuantizedDimension() == 1


def test_operators_have_the_version_that_they_need() -> None:
    """An old runtime looks at the version before it computes."""
    graph = "g (float[1,4,4,2] x) => (float[1,3,3,2] y) { y = Slice(x, b, e) }"
    sliced = support.from_text(
        graph.replace("x)", "x, int64[4] b, int64[4] e)"),
        b=np.array([0, 1, 1, 0]),
        e=np.array([1, 4, 4, 2]),
    )
    code = opened(to_tflite(sliced)).OperatorCodes(0)
    assert (code.BuiltinCode(), code.Version()) == (schema.BuiltinOperator.SLICE, 1)
    wide = support.from_text(
        "g (int8[1,4] x, int8[1,4] z) => (int8[1,4] y) { y = Max(x, z) }",
    )
    code = opened(to_tflite(wide)).OperatorCodes(0)
    assert (code.BuiltinCode(), code.Version()) == (schema.BuiltinOperator.MAXIMUM, 2)


def test_operators_beyond_127_are_known_to_old_readers_by_a_placeholder() -> None:
    model = support.from_text("g (float[4] x) => (float[4] y) { y = Gelu(x) }")
    code = opened(to_tflite(model)).OperatorCodes(0)
    assert code.DeprecatedBuiltinCode() == 127
    assert code.BuiltinCode() == schema.BuiltinOperator.GELU


@pytest.mark.parametrize(
    ("operator", "oldest"),
    [("y = Add(x, x)", "1.5.0"), ("a = Add(x, x) y = Gelu(a)", "2.9.0"), ("", "1.5.0")],
)
def test_the_metadata_says_which_runtime_is_old_enough(operator: str, oldest: str) -> None:
    made = "y" if operator else "x"
    model = support.from_text(f"g (float[4] x) => (float[4] {made}) {{ {operator} }}")
    content = to_tflite(model)
    read = opened(content)
    assert (read.MetadataLength(), read.Metadata(0).Name()) == (1, b"min_runtime_version")
    stored = read.Buffers(read.Metadata(0).Buffer()).DataAsNumpy().tobytes()
    assert stored == oldest.encode().ljust(16, b"\0")
    assert runtime_of(content) == oldest


def test_versions_are_compared_as_numbers() -> None:
    assert minimum_runtime([("CONV_2D", 6), ("CONV_2D", 5), ("SIGN", 1)]) == "2.11.0"
    assert minimum_runtime([("TRANSPOSE", 7), ("BROADCAST_TO", 1), ("CUSTOM", 1)]) == "2.14.4"


def test_the_same_model_gives_the_same_bytes() -> None:
    assert written() == written()
    graph = "g (float[2,3] x, float[3,4] w) => (float[2,4] y) { y = MatMul(x, w) }"
    first, second = (
        to_tflite(litert.PIPELINE.run(support.from_text(graph, w=np.ones((3, 4), np.float32))))
        for _ in range(2)
    )
    assert first == second


def test_the_root_lies_within_the_file() -> None:
    content = written()
    (root,) = struct.unpack_from("<I", content)
    assert root < len(content)


def test_an_option_that_the_schema_lacks_is_a_mistake() -> None:
    writer = Writer()
    x, y = (writer.tensor(name, (1,), "float32") for name in "xy")
    with pytest.raises(AttributeError, match="'axes'"):
        writer.operator("CONCATENATION", [x], [y], ("ConcatenationOptions", {"axes": 0}))
