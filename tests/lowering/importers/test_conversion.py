"""Old and new opsets, operator by operator, in ONNX Runtime before and after the import."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from tapeout.lowering.importers import load
from tapeout.lowering.importers.conversion import is_converted
from tapeout.lowering.opset import WORKING_OPSET
from tapeout.lowering.reference import Reference
from tapeout.lowering.rules.operators import REFUSED

import onnx_files

RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return np.asarray(RNG.standard_normal(shape), np.float32)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


NONE = np.array([], np.float32)
CUBE = floats(2, 3, 4)
IMAGE = floats(2, 3, 5, 6)
POSITIVE = np.abs(floats(3))


@dataclasses.dataclass(frozen=True)
class Case:
    """One node in some opsets; inputs that `constants` counts are initializers."""

    op_type: str
    opsets: tuple[int, ...]
    inputs: tuple[np.ndarray | None, ...]
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    constants: tuple[int, ...] = ()
    outputs: int = 1

    def model(self, opset: int) -> onnx.ModelProto:
        names = ["" if array is None else f"i{index}" for index, array in enumerate(self.inputs)]
        outputs = [f"o{index}" for index in range(self.outputs)]
        node = helper.make_node(self.op_type, names, outputs, "n", **self.attributes)
        values, initializers = [], []
        for index, array in enumerate(self.inputs):
            if array is None:
                continue
            if index in self.constants:
                initializers.append(numpy_helper.from_array(array, names[index]))
            else:
                dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
                values.append(helper.make_tensor_value_info(names[index], dtype, array.shape))
        graph = helper.make_graph(
            [node], "g", values, [onnx.ValueInfoProto(name=name) for name in outputs], initializers
        )
        imports = [helper.make_opsetid("", opset)]
        return onnx.shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=imports, ir_version=8)
        )

    def feeds(self) -> dict[str, np.ndarray]:
        return {
            f"i{index}": np.asarray(array)
            for index, array in enumerate(self.inputs)
            if array is not None and index not in self.constants
        }


def reductions() -> Iterator[Case]:
    for kind in [
        "Sum",
        "Mean",
        "Max",
        "Min",
        "Prod",
        "L1",
        "L2",
        "SumSquare",
        "LogSumExp",
        "LogSum",
    ]:
        old = (7, 11, 12) if kind == "Sum" else (7, 11, 13, 17)
        data = np.abs(CUBE) + np.float32(0.1)
        yield Case(f"Reduce{kind}", old, (data,), {"axes": [1]})
        yield Case(f"Reduce{kind}", old, (data,), {"axes": [0, 2], "keepdims": 0})
        yield Case(f"Reduce{kind}", old, (data,))
        yield Case(f"Reduce{kind}", old[1:], (data,), {"axes": [-1]})
        yield Case(f"Reduce{kind}", (18,), (data, ints(1)), constants=(1,))


def softmaxes() -> Iterator[Case]:
    for op_type in ("Softmax", "LogSoftmax", "Hardmax"):
        for attributes in ({}, {"axis": 0}, {"axis": 2}):
            yield Case(op_type, (7, 9, 11, 12), (CUBE,), attributes)
        yield Case(op_type, (11, 12), (CUBE,), {"axis": -1})
        yield Case(op_type, (11, 12), (CUBE,), {"axis": -2})
        yield Case(op_type, (7, 12), (IMAGE,))
        yield Case(op_type, (7, 12), (floats(4),), {"axis": 0})
        yield Case(op_type, (13, 20), (CUBE,), {"axis": 1})


def attributes_that_became_inputs() -> Iterator[Case]:
    for attributes in ({"min": -0.5, "max": 0.5}, {"min": -0.5}, {"max": 0.3}, {}):
        yield Case("Clip", (7, 10), (CUBE,), attributes)
    yield Case("Clip", (11, 12, 13), (CUBE, np.float32(-0.5), None), constants=(1,))
    yield Case("Pad", (7, 10), (CUBE,), {"pads": [0, 1, 2, 1, 0, 0], "value": 2.5})
    yield Case("Pad", (7, 10), (CUBE,), {"pads": [0, 0, 2, 0, 0, 1], "mode": "reflect"})
    yield Case("Pad", (7, 10), (CUBE,), {"pads": [0, 0, -1, 0, 0, -1]})
    yield Case("Pad", (11, 13, 18), (CUBE, ints(0, 1, 2, 1, 0, 0)), {"mode": "edge"}, (1,))
    yield Case("Slice", (7, 9), (CUBE,), {"starts": [1, 0], "ends": [3, 2], "axes": [1, 2]})
    yield Case("Slice", (7, 9), (CUBE,), {"starts": [0, -2], "ends": [10, -1]})
    yield Case("Slice", (7, 9), (CUBE,), {"starts": [-99], "ends": [2**31 - 1], "axes": [2]})
    yield Case("Slice", (10, 11), (CUBE, ints(0), ints(3), ints(2)), constants=(1, 2, 3))
    squeezable = floats(1, 3, 1, 2)
    yield Case("Squeeze", (7, 11, 12), (squeezable,), {"axes": [0, 2]})
    yield Case("Squeeze", (7, 11, 12), (squeezable,))
    yield Case("Squeeze", (11, 12), (squeezable,), {"axes": [-2]})
    yield Case("Unsqueeze", (7, 11, 12), (CUBE,), {"axes": [0, 2]})
    yield Case("Unsqueeze", (11, 12), (CUBE,), {"axes": [-1]})
    row = floats(2, 6)
    yield Case("Split", (7, 11, 12), (row,), {"axis": 1}, outputs=3)
    yield Case("Split", (7, 11, 12), (row,), {"axis": 1, "split": [1, 2, 3]}, outputs=3)
    yield Case("Split", (13, 17), (row,), {"axis": -1}, outputs=2)
    yield Case("Split", (13, 17), (row, ints(2, 4)), {"axis": 1}, (1,), outputs=2)
    yield Case("TopK", (7, 9), (CUBE,), {"k": 2, "axis": 1}, outputs=2)
    yield Case("TopK", (10, 11), (CUBE, ints(2)), constants=(1,), outputs=2)
    spectrum = floats(1, 8, 4, 1)
    for attributes in ({}, {"axis": 2, "onesided": 1}):
        yield Case("DFT", (17, 19), (spectrum,), attributes)


def resizes() -> Iterator[Case]:
    """Enlarging, reducing, whole and broken scales: the coordinates tell the opsets apart."""
    for scales in ([1, 1, 2, 2], [1, 1, 3, 1.5], [1, 1, 0.6, 0.5], [1, 1, 1.7, 1.3]):
        given = np.array(scales, np.float32)
        for mode in ("nearest", "linear"):
            yield Case("Resize", (10,), (IMAGE, given), {"mode": mode}, (1,))
            if min(scales) >= 1:
                yield Case("Upsample", (9,), (IMAGE, given), {"mode": mode}, (1,))
                listed = {"mode": mode, "scales": [float(scale) for scale in scales]}
                yield Case("Upsample", (7, 8), (IMAGE,), listed)
    for mode in ("nearest", "linear", "cubic"):
        for coordinates in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
            how = {"mode": mode, "coordinate_transformation_mode": coordinates}
            scales = np.array([1, 1, 2.5, 1.5], np.float32)
            yield Case("Resize", (11, 13, 18), (IMAGE, NONE, scales), how, (1, 2))
            sizes = ints(2, 3, 8, 4)
            yield Case("Resize", (11, 13, 18), (IMAGE, NONE, NONE, sizes), how, (1, 2, 3))


def normalizations() -> Iterator[Case]:
    statistics = (floats(3), floats(3), floats(3), POSITIVE)
    yield Case("BatchNormalization", (7, 8, 9, 13, 14), (IMAGE, *statistics))
    yield Case("BatchNormalization", (7, 8), (IMAGE, *statistics), {"spatial": 1})
    yield Case("BatchNormalization", (7, 13), (IMAGE, *statistics), {"epsilon": 1e-2})
    channels = floats(2, 4, 3, 3)
    for groups in (1, 2, 4):
        scale, bias = floats(groups), floats(groups)
        yield Case("GroupNormalization", (18, 20), (channels, scale, bias), {"num_groups": groups})
    yield Case("MeanVarianceNormalization", (9, 13), (IMAGE,), {"axes": [2, 3]})
    yield Case("InstanceNormalization", (7,), (IMAGE, floats(3), floats(3)))
    yield Case("LayerNormalization", (17,), (CUBE, floats(4), floats(4)))
    yield Case("LRN", (7,), (IMAGE,), {"size": 3})
    yield Case("Dropout", (7, 10, 11), (CUBE,), {"ratio": 0.3})
    yield Case("Dropout", (12, 13), (CUBE, np.float32(0.4)), constants=(1,))


def windows() -> Iterator[Case]:
    for padding in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        window = {"kernel_shape": [3, 2], "auto_pad": padding, "strides": [2, 2]}
        yield Case("AveragePool", (7, 10, 11, 19), (IMAGE,), window)
        yield Case("MaxPool", (7, 8, 10, 12), (IMAGE,), window)
        moved = {"auto_pad": padding, "strides": [2, 2]}
        yield Case("Conv", (7, 10, 11), (IMAGE, floats(4, 3, 2, 3)), moved)
        yield Case("ConvTranspose", (7, 10, 11), (IMAGE, floats(3, 4, 3, 3)), moved)
    for more in ({}, {"count_include_pad": 1}):
        window = {"kernel_shape": [3, 2], "pads": [1, 1, 1, 0], "strides": [2, 2], **more}
        yield Case("AveragePool", (7, 11, 18, 19), (IMAGE,), window)
        yield Case("AveragePool", (10, 18, 19), (IMAGE,), {**window, "ceil_mode": 1})
    yield Case("MaxPool", (8, 11), (IMAGE,), {"kernel_shape": [3, 2], "storage_order": 1}, (), 2)
    grown = {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}
    yield Case("ConvTranspose", (7, 11), (IMAGE, floats(3, 4, 3, 3)), grown)
    yield Case("LpPool", (7, 11, 18), (IMAGE,), {"kernel_shape": [2, 2], "p": 2})
    grid = np.asarray(floats(2, 4, 4, 2) * 0.5, np.float32)
    for mode in ("bilinear", "nearest", "bicubic"):
        yield Case("GridSample", (16, 19), (IMAGE, grid), {"mode": mode, "padding_mode": "border"})
    yield Case("GridSample", (16, 19), (IMAGE, grid))


def recurrences() -> Iterator[Case]:
    for op_type, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        x = floats(3, 2, 4)
        weights = (floats(1, gates * 5, 4), floats(1, gates * 5, 5), floats(1, gates * 10))
        yield Case(op_type, (7, 13), (x, *weights), {"hidden_size": 5}, outputs=2)


def kept() -> Iterator[Case]:
    """What a newer opset only added dtypes or parameters to."""
    column = floats(3, 1)
    for op_type in ("Add", "Sub", "Mul", "Div", "Pow"):
        yield Case(op_type, (7, 12, 13), (np.abs(CUBE) + np.float32(0.1), column))
    for op_type in ("Max", "Min", "Mean", "Sum"):
        yield Case(op_type, (8, 12), (CUBE, column))
        yield Case(op_type, (7,), (CUBE, CUBE[::-1].copy()))
    yield Case("Gemm", (7, 9, 11), (floats(3, 4), floats(4, 5), floats(5)))
    yield Case("PRelu", (7, 9), (CUBE, column))
    yield Case("Flatten", (7, 9, 11), (IMAGE,), {"axis": 2})
    yield Case("Cast", (7, 9, 13, 19), (CUBE * 5,), {"to": 7})
    yield Case("ArgMax", (7, 11, 12), (CUBE,), {"axis": 1})
    yield Case("OneHot", (9, 11), (ints(0, 2, -1, 5), ints(4), floats(2)), {}, (1,))
    blocks = floats(1, 8, 2, 3)
    for value in ({"blocksize": 2}, {"blocksize": 2, "mode": "CRD"}):
        opsets = (11, 13) if "mode" in value else (7, 11)
        yield Case("DepthToSpace", opsets, (blocks,), value)
    numbers = (ints(5, -5, 7), ints(3, 3, -3))
    yield Case("Mod", (10, 13), numbers)
    yield Case("Greater", (7, 9), (CUBE, column))
    yield Case("Equal", (7, 11), numbers)
    yield Case("QuantizeLinear", (10, 13, 19), (CUBE, np.float32(0.02), np.uint8(12)))
    quantized = np.array([1, 2, 200], np.uint8)
    yield Case("DequantizeLinear", (10, 13, 19), (quantized, np.float32(0.1), np.uint8(3)))
    yield Case("Reshape", (7, 13), (CUBE, ints(0, -1)), constants=(1,))
    yield Case("Expand", (8,), (column, ints(2, 3, 4)), constants=(1,))
    yield Case("Gather", (7, 11), (CUBE, ints(0, 1)), {"axis": 1})
    index = np.array([[[0, 1]]], np.int64)
    yield Case("Scatter", (9, 10), (CUBE, index, floats(1, 1, 2)), {"axis": 1})
    yield Case("ScatterElements", (11, 16), (CUBE, index, floats(1, 1, 2)), {"axis": -1})
    yield Case("ThresholdedRelu", (10,), (CUBE,))
    yield Case("GreaterOrEqual", (12,), (CUBE, column))
    yield Case("Einsum", (12,), (floats(2, 3), floats(3, 4)), {"equation": "ij,jk->ik"})
    yield Case("CumSum", (11,), (CUBE, np.array(1, np.int32)), {"reverse": 1}, (1,))
    yield Case("Shape", (7, 13), (CUBE,))


CASES = [
    case
    for cases in (
        reductions,
        softmaxes,
        attributes_that_became_inputs,
        resizes,
        normalizations,
        windows,
        recurrences,
        kept,
    )
    for case in cases()
]


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{case.op_type}-{index}" for index, case in enumerate(CASES)]
)
def test_means_the_same(tmp_path: Path, case: Case) -> None:
    for opset in case.opsets:
        onnx_files.assert_same_numbers(
            onnx_files.save(tmp_path, case.model(opset)), case.feeds(), tolerance=1e-4
        )


def schemas() -> Iterator[tuple[onnx.defs.OpSchema, onnx.defs.OpSchema]]:
    """Yield each definition that opset 7 or a later one has, with that of the working opset."""
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain or schema.since_version > WORKING_OPSET or schema.name in REFUSED:
            continue
        newest = onnx.defs.get_schema(schema.name, WORKING_OPSET)
        old = onnx.defs.get_schema(schema.name, max(schema.since_version, 7))
        if old.since_version != newest.since_version:
            yield old, newest


def difference(old: onnx.defs.OpSchema, new: onnx.defs.OpSchema) -> str:
    """Return why a node of the old definition cannot be read by the new one, or ``""``."""
    if new.deprecated and not old.deprecated:
        return "deprecated"
    for name, attribute in old.attributes.items():
        found = new.attributes.get(name)
        if found is None:
            return f"attribute {name} is gone"
        if found.default_value.SerializeToString() != attribute.default_value.SerializeToString():
            return f"attribute {name} has another default"
    for name, attribute in new.attributes.items():
        if name not in old.attributes and attribute.required:
            return f"attribute {name} is needed"
    if new.min_input > old.min_input or new.max_input < old.max_input:
        return "other inputs"
    if new.max_output < old.max_output and old.name != "BatchNormalization":
        return "fewer outputs"
    return ""


def test_what_is_kept_can_be_read_by_the_newest_definition() -> None:
    """Found by comparing ONNX's own schemas: no operator is missing from the table."""
    changed = {(old.name, old.since_version): difference(old, new) for old, new in schemas()}
    assert len(changed) > 300
    for (name, since), what in changed.items():
        if what:
            assert is_converted(name, max(since, 7)), f"{name} of opset {since}: {what}"


def refused(folder: Path, case: Case, opset: int) -> str:
    (found,) = onnx_files.findings(folder, case.model(opset))
    return found


def test_what_no_newer_opset_can_say(tmp_path: Path) -> None:
    statistics = (floats(3), floats(3), floats(3), POSITIVE)
    training = Case("BatchNormalization", (7,), (IMAGE, *statistics), outputs=5)
    assert "it has several outputs, as in training" in refused(tmp_path, training, 7)
    each = tuple(floats(3, 5, 6) for _ in range(4))
    spatial = Case("BatchNormalization", (7,), (IMAGE, *each), {"spatial": 0})
    assert "spatial is 0: a mean and variance for every element" in refused(tmp_path, spatial, 8)
    mask = Case("Dropout", (10,), (CUBE,), outputs=2)
    assert "its mask is used" in refused(tmp_path, mask, 10)
    scales = np.array([1, 1, 2, 0.5], np.float32)
    both = Case("Resize", (10,), (IMAGE, scales), constants=(1,))
    assert "enlarge and reduce" in refused(tmp_path, both, 10)
    computed = Case("Upsample", (9,), (IMAGE, scales))
    assert "its scales are not constant" in refused(tmp_path, computed, 9)
    groups = Case(
        "GroupNormalization", (18,), (floats(1, 4, 2), floats(3), floats(3)), {"num_groups": 3}
    )
    assert "has no 3 groups of channels" in refused(tmp_path, groups, 18)
    axis = Case("Hardmax", (7,), (CUBE,), {"axis": 4})
    assert "axis 4 is not in an input of 3 dimensions" in refused(tmp_path, axis, 12)


def test_region_coordinates_without_a_half_pixel(tmp_path: Path) -> None:
    regions = np.array([[0, 0, 4, 4]], np.float32)
    case = Case("RoiAlign", (10,), (floats(1, 2, 8, 8), regions, ints(0)), {"output_height": 2})
    (node,) = load(onnx_files.save(tmp_path, case.model(10))).graph
    assert node.attributes["coordinate_transformation_mode"].as_string() == "output_half_pixel"
    (node,) = load(onnx_files.save(tmp_path, case.model(16))).graph
    assert "coordinate_transformation_mode" not in node.attributes


def newest(case: Case, opset: int, dtype: int = onnx.TensorProto.FLOAT) -> onnx.ModelProto:
    proto = case.model(opset)
    proto.ir_version = onnx.IR_VERSION
    for value in proto.graph.output:
        value.type.tensor_type.elem_type = value.type.tensor_type.elem_type or dtype
    return proto


def test_operators_newer_than_the_working_opset_are_taken_apart(tmp_path: Path) -> None:
    x = floats(2, 3, 8)
    model = onnx_files.imported(tmp_path, newest(Case("SwiGLU", (28,), (x, x[::-1].copy())), 28))
    assert "SwiGLU" not in {node.op_type for node in model.graph}
    found = Reference(model).run({"i0": x, "i1": x[::-1].copy()})["o0"]
    np.testing.assert_allclose(found, x / (1 + np.exp(-x)) * x[::-1], rtol=1e-5, atol=1e-6)


def test_an_operator_newer_than_the_working_opset_that_loops(tmp_path: Path) -> None:
    data = tuple(floats(1, 3, 8) for _ in range(3))
    heads = {"q_num_heads": 2, "kv_num_heads": 2, "update_rule": "linear"}
    case = Case("LinearAttention", (27,), data, heads, outputs=2)
    (found,) = onnx_files.findings(tmp_path, newest(case, 27))
    assert "Scan is not supported: the path through the graph must not depend on data" in found


@pytest.mark.parametrize(
    ("case", "opset"),
    [
        (Case("Cast", (28,), (CUBE,), {"to": 7}), 28),
        (Case("Mod", (28,), (ints(5, -5), ints(3, 3))), 28),
        (Case("BitShift", (28,), (np.array([1, 2], np.uint8),) * 2, {"direction": "LEFT"}), 28),
        (Case("SpaceToDepth", (28,), (floats(1, 2, 4, 6),), {"blocksize": 2}), 28),
        (Case("ReduceLogSumExp", (28,), (CUBE, ints(1)), {}, (1,)), 28),
        (Case("QuantizeLinear", (28,), (CUBE, np.float32(0.1), np.int8(3))), 28),
    ],
    ids=lambda item: item.op_type if isinstance(item, Case) else str(item),
)
def test_operators_that_only_took_more_since_are_kept(
    tmp_path: Path, case: Case, opset: int
) -> None:
    model = onnx_files.imported(tmp_path, newest(case, opset))
    assert [node.op_type for node in model.graph] == [case.op_type]
    expected = Reference(onnx_files.imported(tmp_path, case.model(WORKING_OPSET))).run(case.feeds())
    found = Reference(model).run(case.feeds())
    for name, wanted in expected.items():
        np.testing.assert_array_equal(found[name], wanted)


@pytest.mark.parametrize(
    ("case", "what"),
    [
        (
            Case("BitShift", (28,), (np.array([1], np.int8),) * 2, {"direction": "LEFT"}),
            "BitShift of opset 28 cannot be said in opset 26: DataType (3)",
        ),
        (
            Case("Mod", (28,), (CUBE, CUBE)),
            "Mod of opset 28 cannot be said in opset 26: Mod with floating-point inputs and fmod=0",
        ),
    ],
)
def test_operators_that_use_what_is_new_since(tmp_path: Path, case: Case, what: str) -> None:
    (found,) = onnx_files.findings(tmp_path, newest(case, 28))
    assert what in found


def test_the_opset_of_the_file_is_noted(tmp_path: Path) -> None:
    graph = "g (float[2] x) => (float[2] y) { y = Relu(x) }"
    for opset in (7, 13, 26, 28):
        model = load(onnx_files.save(tmp_path, graph, opset=opset))
        assert model.metadata_props["tapeout.opset"] == str(opset)
        assert model.opset_imports == {"": WORKING_OPSET}
        assert model.ir_version == 13


def test_converted_nodes_keep_their_names(tmp_path: Path) -> None:
    model = onnx_files.imported(
        tmp_path,
        """g (float[2,3,4] x) => (float[2,3,4] probabilities) {
            [bound] a = Clip<min = 0.0>(x)
            [squash] probabilities = Softmax(a)
        }""",
        opset=9,
    )
    assert [(node.name, node.op_type) for node in model.graph] == [
        ("bound", "Clip"),
        ("squash/Flatten", "Flatten"),
        ("squash/Softmax", "Softmax"),
        ("squash", "Reshape"),
    ]
    assert [value.name for value in model.graph.outputs] == ["probabilities"]
    origins = {node.metadata_props.get("tapeout.from") for node in list(model.graph)[1:3]}
    assert origins == {"squash"}
    assert isinstance(model.graph[3].outputs[0], ir.Value)
