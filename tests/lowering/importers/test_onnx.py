"""Whole models: the real ones, and what the exporters of PyTorch and TensorFlow write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from tapeout.lowering.importers import load

import onnx_files
import support

#: Networks of 2017 in opset 9, whose weights are computed by nodes; onnx ships them as test data.
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


@pytest.mark.parametrize("name", support.NAMES)
def test_real_models(models: Path, name: str) -> None:
    path = models / f"{name}.onnx"
    data = support.real_inputs(name, 4)
    value = load(path).graph.inputs[0]
    assert value.shape is not None
    assert value.shape[0] == 1
    shape = (4, *value.shape.numpy()[1:])
    feeds = {str(value.name): data.reshape(shape)}
    model = onnx_files.assert_same_numbers(path, feeds, {str(value.name): shape})
    opset = onnx.load(path).opset_import[0].version
    assert model.metadata_props["tapeout.opset"] == str(opset)


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "inception_v1"])
def test_networks_of_opset_nine(name: str) -> None:
    path = LIGHT / f"light_{name}.onnx"
    value = load(path).graph.inputs[0]
    assert value.shape is not None
    image = np.random.default_rng(0).random(value.shape.numpy(), np.float32)
    onnx_files.assert_same_numbers(path, {str(value.name): image})


def torchscript_model() -> onnx.ModelProto:
    """Return a model as the exporter to TorchScript wrote them with opset 9.

    Weights are inputs too and one is shared through an Identity, numbers are Constant nodes,
    nodes have no names but notes of where in the user's source they come from.
    """
    weights = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    proto = onnx_files.parse(
        """main_graph (float[batch_size,3,8,8] "input.1", float[4,3,3,3] "conv1.weight",
                float[4] "conv1.bias") => (float[batch_size,256] "20") {
            "conv2.bias" = Identity("conv1.bias")
            "5" = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1>
                ("input.1", "conv1.weight", "conv1.bias")
            "6" = Clip<max = 6.0, min = 0.0>("5")
            "7" = Upsample<mode = "nearest", scales = [1.0, 1.0, 2.0, 2.0]>("6")
            "8" = Shape("7")
            "9" = Constant<value = int64 {0}>()
            "10" = Gather<axis = 0>("8", "9")
            "11" = Constant<value = int64 {-1}>()
            "12" = Unsqueeze<axes = [0]>("10")
            "13" = Unsqueeze<axes = [0]>("11")
            "14" = Concat<axis = 0>("12", "13")
            "15" = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>("7")
            "16" = Unsqueeze<axes = [0, 2, 3]>("conv2.bias")
            "17" = Add("15", "16")
            "18" = Reshape("17", "14")
            "19" = Dropout<ratio = 0.5>("18")
            "20" = Softmax<axis = 1>("19")
        }""",
        opset=8,
        ir_version=3,
    )
    proto.producer_name, proto.producer_version = "pytorch", "1.1"
    for node in proto.graph.node:
        node.doc_string = "/home/user/secret/project/net.py(23): forward"
    bias = np.arange(4, dtype=np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weights, "conv1.weight"))
    proto.graph.initializer.append(numpy_helper.from_array(bias, "conv1.bias"))
    return proto


def test_the_exporter_to_torchscript(tmp_path: Path) -> None:
    path = onnx_files.save(tmp_path, torchscript_model())
    image = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    model = onnx_files.assert_same_numbers(path, {"input.1": image}, {"input.1": (2, 3, 8, 8)})
    assert [value.name for value in model.graph.inputs] == ["input.1"]
    assert {node.op_type for node in model.graph} >= {"Conv", "Clip", "Resize", "Reshape"}
    assert not {"Shape", "Constant", "Upsample"} & {node.op_type for node in model.graph}
    assert b"secret" not in ir.to_proto(model).SerializeToString()


def dynamo_model() -> onnx.ModelProto:
    """Return a model as the exporter over torch.export wrote them with functions.

    Operators are functions of a library that look at ranks and branch on them; names have dots;
    types of values inside functions stand in the graph under a name of their own; notes hold
    stack traces.
    """
    proto = onnx_files.parse(
        """main_graph (float[s0,3,4] l_x_) => (float[s0,3] mean_1) {
            [node_view_1] view_1 = pkg.onnxscript.torch_lib.aten_scale<alpha = 2.0>
                (l_x_, "fc.weight")
            [node_mean_2] mean_1 = pkg.onnxscript.torch_lib._aten_mean_dim_onnx<keepdim = 0>
                (view_1, dim)
            dim = Constant<value_ints = [-1]>()
        }
        <domain: "pkg.onnxscript.torch_lib", opset_import: ["" : 18]>
        aten_scale <alpha: float = 1.0> (self, other) => (return_val) {
            alpha = Constant<value_float: float = @alpha>()
            alpha_0 = CastLike(alpha, other)
            scaled = Mul(other, alpha_0)
            return_val = Mul(self, scaled)
        }
        <domain: "pkg.onnxscript.torch_lib.common", opset_import: ["" : 18]>
        IsScalar (input) => (return_val) {
            tmp = Shape(input)
            tmp_0 = Size(tmp)
            tmp_1 = Constant<value_int = 0>()
            return_val = Equal(tmp_0, tmp_1)
        }
        <domain: "pkg.onnxscript.torch_lib",
         opset_import: ["" : 18, "pkg.onnxscript.torch_lib.common" : 1]>
        _aten_mean_dim_onnx <keepdim> (self, dim) => (result) {
            cond = pkg.onnxscript.torch_lib.common.IsScalar(self)
            result = If(cond)
                <then_branch = thenGraph () => (result_1) { result_1 = Identity(self) },
                 else_branch = elseGraph () => (result_2) {
                    minus = Constant<value_ints = [-1]>()
                    dims = Reshape(dim, minus)
                    result_2 = ReduceMean<keepdims: int = @keepdim>(self, dims) }>
        }""",
        opset=18,
        ir_version=8,
        more=', "pkg.onnxscript.torch_lib": 1, "pkg.onnxscript.torch_lib.common": 1',
    )
    proto.producer_name = "pytorch"
    weights = np.arange(4, dtype=np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weights, "fc.weight"))
    proto.graph.value_info.append(
        helper.make_tensor_value_info(
            "pkg.onnxscript.torch_lib::aten_scale/scaled", onnx.TensorProto.FLOAT, ["s0", 4]
        )
    )
    for node in proto.graph.node:
        node.metadata_props.add(
            key="pkg.torch.onnx.stack_trace", value='File "/home/user/secret/net.py", line 23'
        )
    return proto


def test_the_exporter_over_torch_export(tmp_path: Path) -> None:
    path = onnx_files.save(tmp_path, dynamo_model())
    x = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float32)
    model = onnx_files.assert_same_numbers(path, {"l_x_": x}, {"l_x_": (2, 3, 4)})
    assert [node.op_type for node in model.graph] == ["Mul", "ReduceMean"]
    assert "fc.weight" not in model.graph.initializers  # computed with: four numbers
    assert not model.functions
    assert b"secret" not in ir.to_proto(model).SerializeToString()


def test_the_route_from_tensorflow(tmp_path: Path) -> None:
    """tf2onnx: data channels-last between transposes, shapes packed from int32, odd names."""
    proto = onnx_files.parse(
        """tf2onnx (float[unk__1,8,8,3] "input_1:0") => (float[unk__2,256] "Identity:0") {
            ["model/conv/Conv2D__6"] a = Transpose<perm = [0, 3, 1, 2]>("input_1:0")
            ["model/conv/Conv2D;model/relu/Relu"] b = Conv<pads = [1, 1, 1, 1]>(a, w)
            ["model/conv/Conv2D__7"] c = Transpose<perm = [0, 2, 3, 1]>(b)
            s = Shape("input_1:0")
            t = Cast<to = 6>(s)
            n = Slice(t, zero, one, zero)
            p = Concat<axis = 0>(n, size)
            q = Cast<to = 7>(p)
            "Identity:0" = Reshape(c, q)
        }""",
        more=', "ai.onnx.ml": 2',
    )
    weights = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    for array, name in (
        (weights, "w"),
        (np.array([0], np.int64), "zero"),
        (np.array([1], np.int64), "one"),
        (np.array([256], np.int32), "size"),
    ):
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    image = np.random.default_rng(1).standard_normal((1, 8, 8, 3)).astype(np.float32)
    path = onnx_files.save(tmp_path, proto)
    model = onnx_files.assert_same_numbers(path, {"input_1:0": image}, tolerance=1e-4)
    assert [node.name for node in model.graph][:3] == [
        "model/conv/Conv2D__6",
        "model/conv/Conv2D;model/relu/Relu",
        "model/conv/Conv2D__7",
    ]
    assert [node.op_type for node in model.graph] == ["Transpose", "Conv", "Transpose", "Reshape"]
    assert model.opset_imports == {"": 26}


def test_a_model_of_the_classical_domain_alone(tmp_path: Path) -> None:
    node = helper.make_node("Binarizer", ["x"], ["y"], "b", domain="ai.onnx.ml", threshold=0.5)
    value = helper.make_tensor_value_info
    graph = helper.make_graph([node], "g", [value("x", 1, [1, 2])], [value("y", 1, [1, 2])])
    imports = [helper.make_opsetid("ai.onnx.ml", 3)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=8)
    model = load(onnx_files.save(tmp_path, proto))
    assert model.metadata_props["tapeout.opset"] == "0"


def test_the_file_and_its_metadata(tmp_path: Path) -> None:
    proto = onnx_files.parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    proto.producer_name = "maker"
    proto.metadata_props.add(key="author", value="someone")
    before = onnx_files.save(tmp_path, proto).read_bytes()
    model = load(tmp_path / "model.onnx")
    assert model.producer_name == "maker"
    assert model.metadata_props == {"author": "someone", "tapeout.opset": "17"}
    assert (tmp_path / "model.onnx").read_bytes() == before


def test_a_graph_without_a_name_gets_one(tmp_path: Path) -> None:
    proto = onnx_files.parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    proto.graph.ClearField("name")
    assert onnx_files.imported(tmp_path, proto).graph.name == "graph"


def test_optional_outputs_that_have_no_name_stay_so(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        "g (float[3,1,2] x, float[1,4,2] w, float[1,4,4] r) => (float[1,1,4] h)"
        " { y, h = RNN<hidden_size = 4>(x, w, r) }"
    )
    proto.graph.node[0].output[0] = ""
    model = onnx_files.imported(tmp_path, proto)
    assert [value.name for value in model.graph[0].outputs] == ["", "h"]


def test_equal_bytes_in_two_processes(models: Path) -> None:
    script = (
        "import sys, hashlib, onnx_ir as ir; from pathlib import Path\n"
        "from tapeout.lowering.importers import load\n"
        "proto = ir.to_proto(load(Path(sys.argv[1])))\n"
        "print(hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest())"
    )
    path = models / "digits_cnn.onnx"
    digests = {
        subprocess.run(
            [sys.executable, "-c", script, path],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


@pytest.mark.parametrize("layers", [16, 48])
def test_external_weights_are_not_read(tmp_path: Path, layers: int) -> None:
    """1 GiB and 3 GiB of weights: the second is past what protobuf could ever hold."""
    size = 4096 * 4096 * 4
    value = helper.make_tensor_value_info
    nodes, weights = [], []
    for index in range(layers):
        tensor = onnx.TensorProto(name=f"w{index}", data_type=1, dims=[4096, 4096], data_location=1)
        for key, text in (("location", "w.bin"), ("offset", index * size), ("length", size)):
            tensor.external_data.add(key=key, value=str(text))
        weights.append(tensor)
        nodes.append(helper.make_node("MatMul", [f"x{index}", f"w{index}"], [f"x{index + 1}"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x0", 1, ["N", 4096])],
        [value(f"x{layers}", 1, ["N", 4096])],
        weights,
    )
    imports = [helper.make_opsetid("", 13)]
    path = onnx_files.save(tmp_path, helper.make_model(graph, opset_imports=imports, ir_version=8))
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(layers * size)  # sparse: takes no space on the disk, but would in memory
    script = (
        "import sys; from pathlib import Path\n"
        "from tapeout.lowering.importers import load\n"
        "model = load(Path(sys.argv[1]))\n"
        "total = sum(v.const_value.nbytes for v in model.graph.initializers.values())\n"
        # Not getrusage, which begins with the memory of the process that started this one.
        "lines = Path('/proc/self/status').read_text().splitlines()\n"
        "print(total, next(int(line.split()[1]) for line in lines if line.startswith('VmHWM:')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], check=True, capture_output=True, text=True
    )
    total, peak = map(int, done.stdout.split())
    assert total == layers * size
    assert peak < 512 * 2**10  # KiB
