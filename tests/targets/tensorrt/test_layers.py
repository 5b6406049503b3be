"""The builder's list of layers: lines of real logs, and names that look like them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import onnx_ir as ir
import pytest

from tapeout.targets.tensorrt.builder import Request, engine
from tapeout.targets.tensorrt.layers import Layer, UnreadableError, by_profile, parse
from tapeout.targets.tensorrt.network import onnx_of

import support

_LOGS = Path(__file__).with_name("logs")

#: Seven layers of four networks, one for each thing that the list can say.
KINDS = (_LOGS / "kinds.txt").read_text(encoding="utf-8")
NAMES = (
    "conv_0", "conv_0/weight", "image/quantized", "image/dequantized", "convtranspose_17",
    "conv_54", "relu_55",
)  # fmt: skip

#: The layers of an encoder's attention for one image, and for one to sixteen.
TWO_PROFILES = (_LOGS / "two_profiles.txt").read_text(encoding="utf-8")

#: An If of two constants.
BRANCH = (_LOGS / "branch.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def kinds() -> tuple[Layer, ...]:
    return parse(KINDS, NAMES)


def test_every_layer_is_read(kinds: tuple[Layer, ...]) -> None:
    assert [(layer.type, layer.family, layer.runs, layer.stream) for layer in kinds] == [
        ("kgen", "generated", True, 0),
        ("correlation", "convolution", True, 0),
        ("signal", "signal", False, 0),
        ("wait", "wait", False, 1),
        ("deconv", "transposed convolution", True, 0),
        ("runtime_fusion", "fused product", True, 0),
        ("kgen", "generated", True, 0),
    ]


def test_tensors_as_they_lie_in_memory(kinds: tuple[Layer, ...]) -> None:
    first = kinds[0]
    assert [(item.name, str(item), item.format) for item in first.inputs] == [
        ("image", "1x3x96x96 float32", "(Linear) Row major linear format")
    ]
    made = first.outputs[0]
    assert (made.shape, made.strides) == ((1, 4, 96, 96), (36864, 1, 384, 4))
    assert made.bytes == 4 * 96 * 96
    assert first.moved == 3 * 96 * 96 * 4 + 96 * 96 + 4 + 4 * 96 * 96
    assert kinds[1].outputs[0].name == "__myln_k_arg__bb1_3_myl0"
    assert "(Arbitrary) Format with stride order = [4,1,0,3,2]" in {
        item.format for item in kinds[6].constants
    }


def test_the_nodes_that_a_layer_was_made_from(kinds: tuple[Layer, ...]) -> None:
    assert kinds[0].nodes == ("image/quantized", "conv_0", "image/dequantized", "conv_0/weight")
    assert (kinds[2].nodes, kinds[2].made) == ((), ())
    assert kinds[5].nodes == ("conv_54", "relu_55")  # a word after it says how it was rewritten
    unknown = parse(KINDS, ())[1]
    assert unknown.nodes == ()
    assert unknown.made == ("conv_0", "image/dequantized", "conv_0/weight")


def test_what_a_layer_computes_in(kinds: tuple[Layer, ...]) -> None:
    assert [layer.dtype() for layer in kinds] == [
        "float32",  # rounds float32 to int8
        "int8",  # whatever its scales and its result are
        "",
        "",
        "float32",  # although the network has both its operands in int8
        "float16",
        "float32",
    ]


def test_what_is_added_to_the_sums_of_a_product_is_no_operand() -> None:
    data = "{ Name: __mye3406conv_0_before_bias.1_2_myl0"
    added = (
        "{ Name: sum, Dimensions: [1,64,48,48], Strides: [147456,1,3072,64], "
        "StrideOrder: [3,0,2,1], Datatype: Half, Format: (NHWC) Channel major format }"
    )
    before = KINDS.index(data, KINDS.index("LayerType: correlation"))
    after = KINDS.index(" }", before) + 2
    layer = parse(f"{KINDS[:after]}, {added}{KINDS[after:]}", NAMES)[1]
    assert [item.dtype for item in layer.inputs] == ["int8", "float16"]
    assert layer.dtype() == "int8"


def test_what_a_generated_kernel_converts_is_not_seen(kinds: tuple[Layer, ...]) -> None:
    assert kinds[0].dtype("int8") == "int8"  # it has int8 among its constants
    assert kinds[0].dtype("float16") == "float32"
    assert kinds[4].dtype("int8") == "float32"  # a kernel of the library multiplies what it reads


def test_what_is_added_to_sums_is_no_factor(kinds: tuple[Layer, ...]) -> None:
    convolution = kinds[1]
    [data] = convolution.inputs
    added = dataclasses.replace(data, dtype="float16")
    taking_in = dataclasses.replace(convolution, inputs=(data, added))
    assert taking_in.dtype() == convolution.dtype() == "int8"
    of_data = dataclasses.replace(taking_in, constants=taking_in.constants[1:])
    assert all(math.prod(item.shape) == max(item.shape) for item in of_data.constants)
    assert of_data.dtype() == "float16"


def test_each_optimization_profile_has_its_layers() -> None:
    first, second = by_profile(parse(TWO_PROFILES, ("q", "k", "s", "p")))
    assert [layer.type for layer in first] == ["gemm", "kgen", "shape_call"]
    assert [(layer.type, layer.nodes) for layer in second] == [
        ("kgen", ()), ("gemm", ("q",)), ("gemm", ("k",)), ("kgen", ("p",)),
    ]  # fmt: skip
    assert first[0].moved == 2 * 16 * 64 * 4 + 16 * 16 * 4 + 2 * 4
    assert second[0].inputs[0].shape == (-1, 16, 64)
    assert str(second[0].inputs[0]) == "?x16x64 float32"
    assert second[0].moved is None


def test_a_shape_that_is_copied_to_the_gpu() -> None:
    line = (
        "Name: [ShapeHostToDeviceCopy 0], LayerType: ShapeHostToDevice, Inputs: [], Outputs: [ { "
        "Name: g, Location: Device, Dimensions: [1], Datatype: Int64, "
        "Format: Format not available due to dynamic shapes }], ParameterType: ShapeH2D, "
        "shapeValues0: [-4], TacticValue: 0x0000000000000000, StreamId: 0, Metadata: \n"
    )
    layer = parse(BRANCH.replace("Layers:\n", f"Layers:\n{line}"), ())[0]
    assert (layer.name, layer.kernel, layer.moved) == ("[ShapeHostToDeviceCopy 0]", "", 8)
    assert [(item.name, item.strides) for item in layer.outputs] == [("g", ())]


def test_branches_are_no_kernels() -> None:
    layers = parse(BRANCH, ("choose",))
    assert [(layer.type, layer.runs) for layer in layers] == [
        ("memset", True), ("copy", True), ("cjmp", False), ("kgen", True), ("jmp", False),
        ("kgen", True), ("jmp", False),
    ]  # fmt: skip
    assert layers[3].nodes == layers[5].nodes == ("choose",)
    assert [layer.moved for layer in layers] == [1, 2, 2, 40, 0, 40, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not begin"),
        (KINDS.partition("\n\nI/O")[0], "does not end before"),
        (KINDS.replace("LayerType: wait", "Type: wait"), "goes on as we do not know"),
        (KINDS.replace("Dimensions: [1,3,", "Dimensions: [1,(3),"), "Dimensions: [1,(3),96"),
        (KINDS.replace("StreamId: 0", "Stream: 0"), "'], TacticName: "),
        (KINDS.replace("Outputs: ", "Results: "), "'], Results: "),
    ],
)
def test_a_list_in_another_form_is_quoted(text: str, message: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        parse(text, NAMES)
    assert message in str(caught.value)


def test_unknown_types_are_kept() -> None:
    layer = parse(KINDS.replace("LayerType: deconv", "LayerType: novel"), NAMES)[4]
    assert (layer.family, layer.runs) == ("novel", True)
    layer = parse(KINDS.replace("Datatype: Half", "Datatype: Posit8"), NAMES)[5]
    assert layer.dtype() == "posit8"
    assert layer.moved is None


@pytest.mark.parametrize(
    ("spelled", "dtype"),
    [
        ("BFloat16", ir.DataType.BFLOAT16),
        ("FP8", ir.DataType.FLOAT8E4M3FN),
        ("FP4", ir.DataType.FLOAT4E2M1),
        ("Int4", ir.DataType.INT4),
        ("Int64", ir.DataType.INT64),
        ("Bool", ir.DataType.BOOL),
    ],
)
def test_types_are_called_as_in_the_network(spelled: str, dtype: ir.DataType) -> None:
    tensor = parse(KINDS.replace("Datatype: Half", f"Datatype: {spelled}"), NAMES)[5].outputs[0]
    assert tensor.dtype == dtype.numpy().name
    assert tensor.bytes == math.prod(tensor.shape) * dtype.bitwidth // 8


def test_names_that_look_like_the_list() -> None:
    """What the grammar leans on stands in the names of a network's nodes and values."""
    names = (
        "a, Inputs: [ { Name: z",
        "we]ird][ONNX Layer: q, StreamId: 3",
        "two\nlines; {x}",
        "日",
    )
    model = support.from_text(
        """
        odd (float[2,8] x) => (float[2,8] y)
        <float[8,8] v = {1,0,0,0,0,0,0,0, 0,1,0,0,0,0,0,0, 0,0,1,0,0,0,0,0, 0,0,0,1,0,0,0,0,
                         0,0,0,0,1,0,0,0, 0,0,0,0,0,1,0,0, 0,0,0,0,0,0,1,0, 0,0,0,0,0,0,0,2}>
        { q = MatMul(x, v)
          r = Relu(q)
          k = MatMul(r, v)
          y = Softmax(k) }
        """
    )
    for node, name in zip(model.graph, names, strict=True):
        node.name = name
    model.graph.inputs[0].name = "in }, { Name: x"
    model.graph.outputs[0].name = "out], Outputs: [ y"
    texts = engine(Request(onnx_of(model), ("8.9",))).log.layers
    layers = parse(texts[0], names)
    assert {name for layer in layers for name in layer.nodes} == set(names)
    assert {name for layer in layers for name in layer.made} == set()
    assert layers[0].inputs[0].name == "in }, { Name: x"
    assert layers[-1].outputs[0].name == "out], Outputs: [ y"
