from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest

from tapeout.errors import ModelError
from tapeout.lowering.importers import load
from tapeout.lowering.reference import Reference

import onnx_files

X = np.array([[-2, 0.5, 3]], np.float32)


def test_functions_are_inlined(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        """g (float[N,3] x) => (float[N,3] y) {
            [one] a = f.Shift<by = 1.0>(x)
            [two] y = f.Shift(a)
        }
        <domain: "f", opset_import: ["" : 17, "f": 1]>
        Shift <by: float = 2.0> (x) => (y) {
            c = Constant<value_float: float = @by>()
            y = f.Plus(x, c)
        }
        <domain: "f", opset_import: ["" : 17]>
        Plus (a, b) => (y) { y = Add(a, b) }""",
        more=', "f": 1',
    )
    model = onnx_files.assert_same_numbers(onnx_files.save(tmp_path, proto), {"x": X})
    assert [node.op_type for node in model.graph] == ["Add", "Add"]
    assert not model.functions
    assert model.opset_imports == {"": 26}


def test_a_function_may_be_written_in_another_opset(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        """g (float[N,3] x) => (float[N,3] y) {
            low = Constant<value_float = -1.0>()
            a = f.Bound(x)
            y = Clip(a, low)
        }
        <domain: "f", opset_import: ["" : 10]>
        Bound (x) => (y) { y = Clip<max = 2.5>(x) }""",
        more=', "f": 1',
    )
    model = onnx_files.checked(load(onnx_files.save(tmp_path, proto)))
    assert [node.op_type for node in model.graph] == ["Clip", "Clip"]
    inner = model.graph[0]
    assert inner.attributes == {}
    assert inner.inputs[2] is not None
    assert inner.inputs[2].const_value is not None
    assert inner.inputs[2].const_value.numpy().tolist() == 2.5


def test_optional_inputs_and_outputs_that_a_call_leaves_out(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        """g (float[N,3] x) => (float[N,3] y) { y = f.Pick(x, , x) }
        <domain: "f", opset_import: ["" : 17]>
        Pick (x, low, high) => (y, mask) { c = Clip(x, low, top) y, mask = Dropout(c)
            top = ReduceMax<keepdims = 0>(high) }""",
        more=', "f": 1',
    )
    found = Reference(onnx_files.imported(tmp_path, proto)).run({"x": X})
    assert found["y"].tolist() == X.tolist()


def test_a_function_that_passes_its_input_through(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        """g (float[3] x) => (float[3] y, float[3] z) { y, z = f.Id(x) }
        <domain: "f", opset_import: ["" : 17]> Id (a) => (a, b) { b = Neg(a) }""",
        more=', "f": 1',
    )
    model = onnx_files.imported(tmp_path, proto)
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert [value.name for value in model.graph.outputs] == ["y", "z"]
    found = Reference(model).run({"x": X[0]})
    assert found["y"].tolist() == X[0].tolist()
    assert found["z"].tolist() == (-X[0]).tolist()


def test_functions_that_call_each_other(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        """g (float[3] x) => (float[3] y) { y = f.A(x) }
        <domain: "f", opset_import: ["" : 17, "f": 1]> A (x) => (y) { y = f.B(x) }
        <domain: "f", opset_import: ["" : 17, "f": 1]> B (x) => (y) { y = f.A(x) }""",
        more=', "f": 1',
    )
    (found,) = onnx_files.findings(tmp_path, proto)
    assert found in (
        "functions: call each other in a circle: f::A -> f::B -> f::A",
        "functions: call each other in a circle: f::B -> f::A -> f::B",
    )


@pytest.mark.parametrize("depth", [8, 40, 300])
def test_a_billion_laughs(tmp_path: Path, depth: int) -> None:
    """Each function calls the next ten times: the file is small, inlined it would be 10^depth."""
    steps = ["x", *(f"t{step}" for step in range(9)), "y"]
    header = '<domain: "f", opset_import: ["" : 17, "f": 1]>'
    functions = []
    for level in range(depth):
        calls = [f"{b} = f.F{level + 1}({a})" for a, b in itertools.pairwise(steps)]
        functions.append(f"{header} F{level} (x) => (y) {{ {' '.join(calls)} }}")
    functions.append(f"{header} F{depth} (x) => (y) {{ y = Neg(x) }}")
    graph = "g (float[3] x) => (float[3] y) { y = f.F0(x) }"
    proto = onnx_files.parse("\n".join([graph, *functions]), more=', "f": 1')
    (found,) = onnx_files.findings(tmp_path, proto)
    assert found == (
        f"model: has 1{'0' * depth} nodes with its functions inlined; at most 100000 are possible"
    )


def test_thousands_of_calls_take_linear_time(tmp_path: Path) -> None:
    calls = "\n".join(f"v{i + 1} = f.A(v{i})" for i in range(2000))
    proto = onnx_files.parse(
        f"""g (float[3] v0) => (float[3] v2000) {{ {calls} }}
        <domain: "f", opset_import: ["" : 17]> A (x) => (y) {{ t = Neg(x) y = Relu(t) }}""",
        more=', "f": 1',
    )
    model = onnx_files.imported(tmp_path, proto)
    assert len(model.graph) == 4000


def test_types_inside_a_function_are_those_of_one_call(tmp_path: Path) -> None:
    """The exporter over torch.export writes them once, but a function is called with others."""
    proto = onnx_files.parse(
        """g (float[3] x, int64[2,2] n) => (float[3] y, int64[2,2] z) { y = f.A(x) z = f.A(n) }
        <domain: "f", opset_import: ["" : 17]> A (x) => (y) { t = Neg(x) y = Abs(t) }""",
        ir_version=10,
        more=', "f": 1',
    )
    value = onnx.helper.make_tensor_value_info("t", onnx.TensorProto.FLOAT, [3])
    proto.functions[0].value_info.append(value)
    model = onnx_files.imported(tmp_path, proto)
    shapes = [node.outputs[0].shape for node in model.graph]
    assert shapes == [(3,), (3,), (2, 2), (2, 2)]


def test_what_is_wrong_inside_functions(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        """g (float[3] x) => (float[3] y) { [call] y = f.A<size = 3>(x, x) }
        <domain: "f", opset_import: ["" : 17]>
        A <axis> (x) => (y) { [n] a = Softmax<axis: int = @other>(x) [m] b = Foo(gone) }
        <domain: "f", opset_import: ["" : 99]>
        Unused (x) => (y) { y = Bar(x) }""",
        more=', "f": 1',
    )
    found = onnx_files.findings(tmp_path, proto)
    assert found[0] == "node 'call' (A): has 2 inputs; function f::A has 1"
    assert found[1] == "node 'call' (A): attribute 'size' is none of function f::A"
    assert "function f::A, node 'n' (Softmax): attribute 'axis' refers to 'other'" in found[2]
    assert "function f::A, node 'm' (Foo): uses 'gone'" in found[3]
    assert "operator 'Foo' is not known in opset 17" in found[4]
    assert found[5] == "function f::A, output 'y': is not defined"
    assert len(found) == 6


def test_a_function_defined_twice(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        """g (float[3] x) => (float[3] y) { y = f.A(x) }
        <domain: "f", opset_import: ["" : 17]> A (x) => (y) { y = Neg(x) }""",
        more=', "f": 1',
    )
    proto.functions.append(proto.functions[0])
    assert onnx_files.findings(tmp_path, proto) == ["function f::A: is defined twice"]


def test_a_function_of_another_version_of_another_domain(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        """g (float[1,3] x) => (float[1,3] y) { y = f.A(x) }
        <domain: "f", opset_import: ["" : 17, "ai.onnx.ml": 1]>
        A (x) => (y) { y = ai.onnx.ml.Binarizer<threshold = 0.5>(x) }""",
        more=', "f": 1, "ai.onnx.ml": 3',
    )
    with pytest.raises(
        ModelError, match=r"imports version 1 of domain 'ai\.onnx\.ml', the model 3"
    ):
        load(onnx_files.save(tmp_path, proto))


def test_names_of_inlined_nodes_are_unique(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        """g (float[3] x) => (float[3] y) { t = f.A(x) [n] u = Neg(t) y = f.A(u) }
        <domain: "f", opset_import: ["" : 17]> A (x) => (y) { [n] t = Neg(x) y = Relu(t) }""",
        more=', "f": 1',
    )
    model = onnx_files.imported(tmp_path, proto)
    names = [str(node.name) for node in model.graph]
    assert len(set(names)) == len(names) == 5
    values = list(itertools.chain.from_iterable(node.outputs for node in model.graph))
    assert len({value.name for value in values}) == 5


def test_a_standard_operator_defined_by_the_model(tmp_path: Path) -> None:
    """ONNX lets a model define an operator of its own even where a standard one has the name."""
    proto = onnx_files.parse(
        """g (float[3] x) => (float[3] y) { y = f.Relu(x) }
        <domain: "f", opset_import: ["" : 17]> Relu (x) => (y) { y = Neg(x) }""",
        more=', "f": 1',
    )
    assert [node.op_type for node in onnx_files.imported(tmp_path, proto).graph] == ["Neg"]


def test_overloads_are_told_apart(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        """g (float[3] x) => (float[3] y) { a = f.A:one(x) y = f.A:two(a) }
        <domain: "f", overload: "one", opset_import: ["" : 17]> A (x) => (y) { y = Neg(x) }
        <domain: "f", overload: "two", opset_import: ["" : 17]> A (x) => (y) { y = Exp(x) }""",
        ir_version=10,
        more=', "f": 1',
    )
    assert [n.overload for n in proto.graph.node] == ["one", "two"]
    assert [n.op_type for n in onnx_files.imported(tmp_path, proto).graph] == ["Neg", "Exp"]


def test_a_function_with_control_flow(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        """g (float[3] x) => (float[3] y) { [call] y = f.A<deep = 1>(x) }
        <domain: "f", opset_import: ["" : 17]>
        A <deep> (x) => (y) { d = Constant<value_int: int = @deep>() c = Cast<to = 9>(d)
            y = If(c) <then_branch = t () => (u) { u = Neg(x) },
                       else_branch = e () => (v) { v = Exp(x) }> }""",
        more=', "f": 1',
    )
    assert [node.op_type for node in onnx_files.imported(tmp_path, proto).graph] == ["Neg"]
