from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

from tapeout.lowering.importers.onnx_structure import VERSIONS

import onnx_files


def test_an_unknown_operator_in_three_places(tmp_path: Path) -> None:
    found = onnx_files.findings(
        tmp_path,
        """g (float[2] x) => (float[2] y) {
            [first] a = Frobnicate(x)
            [branch] b = If(c)
                <then_branch = t () => (float[2] u) { [inner] u = com.acme.Blend(a) },
                 else_branch = e () => (float[2] v) { v = Relu(a) }>
            c = Constant<value = bool {1}>()
            y = Frobnicate(b)
        }""",
    )
    fix = "(export with standard ONNX operators, or define it as a function in the model)"
    assert found == [
        f"node 'first' (Frobnicate): operator 'Frobnicate' is not known in opset 17 {fix}",
        "node 'branch' (If), then_branch: node 'inner' (Blend): operator 'com.acme::Blend' is of "
        "domain 'com.acme', which is not imported",
        f"node #3 (Frobnicate): operator 'Frobnicate' is not known in opset 17 {fix}",
    ]


def test_an_operator_of_a_domain_that_onnx_does_not_know(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        "g (float[2] x) => (float[2] y) { y = com.acme.Blend(x) }", more=', "com.acme": 1'
    )
    (found,) = onnx_files.findings(tmp_path, proto)
    assert "operator 'com.acme::Blend' is not known in any opset" in found


def test_an_operator_that_is_deprecated_or_too_new(tmp_path: Path) -> None:
    graph = "g (float[1,1,2,2] x, float[4] s) => (float[1,1,4,4] y) { y = Upsample(x, s) }"
    assert onnx_files.findings(tmp_path, graph, opset=11) == [
        "node #0 (Upsample): operator 'Upsample' is deprecated since opset 10"
    ]
    (found,) = onnx_files.findings(tmp_path, "g (float[2] x) => (float[2] y) { y = Gelu(x) }")
    assert "operator 'Gelu' is not known in opset 17" in found


def test_every_undefined_name_and_every_second_definition(tmp_path: Path) -> None:
    found = onnx_files.findings(
        tmp_path,
        """g (float[2] x, float[2] x) => (float[2] y, float[2] z, float[2] y)
            <float[2] w = {1, 2}, float[2] w = {1, 2}> {
            [a] t = Add(x, nowhere)
            [b] t = Mul(missing, w)
            [c] w = Relu(t)
            [d] y = Relu(w)
        }""",
    )
    assert found == [
        "input 'x': defines 'x' again; input 'x' did before",
        "initializer 'w': defines 'w' again; initializer 'w' did before",
        "node 'b' (Mul): defines 't' again; node 'a' (Add) did before",
        "node 'c' (Relu): defines 'w' again; initializer 'w' did before",
        "node 'a' (Add): uses 'nowhere', which no input, initializer or node defines",
        "node 'b' (Mul): uses 'missing', which no input, initializer or node defines",
        "output 'z': is not defined in its graph",
        "output 'y': is named 2 times as an output",
    ]


def test_a_cycle_is_shown(tmp_path: Path) -> None:
    found = onnx_files.findings(
        tmp_path,
        """g (float[2] x) => (float[2] y) {
            [a] p = Add(x, r)
            [b] q = Relu(p)
            [c] r = Neg(q)
            [d] y = Neg(r)
        }""",
    )
    (line,) = found
    assert line.startswith("node 'a' (Add): is in a cycle: node 'a' (Add) -> node 'b' (Relu) -> ")


def test_a_cycle_through_a_body(tmp_path: Path) -> None:
    (found,) = onnx_files.findings(
        tmp_path,
        """g (float[2] x, bool c) => (float[2] y) {
            [a] p = If(c) <then_branch = t () => (float[2] u) { u = Relu(y) },
                           else_branch = e () => (float[2] v) { v = Relu(x) }>
            [b] y = Relu(p)
        }""",
    )
    assert "is in a cycle" in found


def test_a_long_cycle_is_shortened(tmp_path: Path) -> None:
    nodes = "\n".join(f"v{i} = Relu(v{(i + 1) % 500})" for i in range(500))
    (found,) = onnx_files.findings(tmp_path, f"g (float[2] x) => (float[2] v0) {{ {nodes} }}")
    assert "... (500 nodes)" in found
    assert len(found) < 1000


def test_nodes_in_any_order_are_sorted(tmp_path: Path) -> None:
    model = onnx_files.imported(
        tmp_path,
        """g (float[2] x) => (float[2] y) {
            [last] y = Neg(q)
            [body] q = If(c)
                <then_branch = t () => (float[2] u) { [two] u = Abs(s) [one] s = Exp(p) },
                 else_branch = e () => (float[2] v) { v = Relu(p) }>
            [first] p = Relu(x)
            c = Constant<value = bool {1}>()
        }""",
    )
    assert [node.name for node in model.graph] == ["first", "one", "two", "last"]


def test_bodies_see_the_values_around_them_and_nothing_else(tmp_path: Path) -> None:
    found = onnx_files.findings(
        tmp_path,
        """g (float[2] x, bool c) => (float[2] y) {
            p = Relu(x)
            [if] q = If(c) <then_branch = t () => (float[2] u) { [t1] u = Add(p, hidden) },
                            else_branch = e () => (float[2] p) { hidden = Relu(p) }>
            [n] y = Add(q, hidden)
        }""",
    )
    assert found == [
        "node 'if' (If), then_branch: node 't1' (Add): uses 'hidden', which no input, initializer "
        "or node defines",
        "node 'if' (If), else_branch: output 'p': is not defined in its graph (add an Identity)",
        "node 'n' (Add): uses 'hidden', which no input, initializer or node defines",
    ]


@pytest.mark.parametrize(
    ("node", "what"),
    [
        (
            helper.make_node("Relu", ["x"], ["y"], alpha=1.0, beta=2),
            [
                "Relu (opset 14) has no attribute 'alpha'; it has: none",
                "Relu (opset 14) has no attribute 'beta'; it has: none",
            ],
        ),
        (
            helper.make_node("Transpose", ["x"], ["y"], perm=1.5),
            ["attribute 'perm' is FLOAT; Transpose (opset 13) takes INTS"],
        ),
        (
            helper.make_node("Concat", ["x"], ["y"]),
            ["has no attribute 'axis', which Concat (opset 13) needs"],
        ),
        (helper.make_node("Add", ["x"], ["y"]), ["has 1 inputs; Add (opset 14) takes 2"]),
        (helper.make_node("Relu", ["x"], ["y", "z"]), ["has 2 outputs; Relu (opset 14) takes 1"]),
        (
            helper.make_node("Clip", ["x", "", "", ""], ["y"]),
            ["has 4 inputs; Clip (opset 13) takes 1 to 3"],
        ),
        (
            helper.make_node("Add", ["x", ""], ["y"]),
            ["input 1 (B) of Add (opset 14) is missing"],
        ),
    ],
)
def test_a_node_that_does_not_fit_its_operator(
    tmp_path: Path, node: onnx.NodeProto, what: list[str]
) -> None:
    proto = onnx_files.parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    proto.graph.node[0].CopyFrom(node)
    proto.graph.node[0].name = "n"
    found = onnx_files.findings(tmp_path, proto)
    assert found == [f"node 'n' ({node.op_type}): {line}" for line in what]


def test_an_attribute_given_twice(tmp_path: Path) -> None:
    proto = onnx_files.parse("g (float[2] x) => (float[2] y) { y = Softmax<axis = 0>(x) }")
    proto.graph.node[0].attribute.append(proto.graph.node[0].attribute[0])
    found = onnx_files.findings(tmp_path, proto)
    assert found == ["node #0 (Softmax): has attribute 'axis' 2 times"]


def test_a_text_attribute_that_is_not_utf8(tmp_path: Path) -> None:
    text = 'g (float[1,1,4] x) => (float[1,1,4] y) { y = LpPool<auto_pad = "VALID">(x) }'
    proto = onnx_files.parse(text.replace("<", "<kernel_shape = [1], "))
    proto.graph.node[0].attribute[1].s = b"\xff\xfe"
    found = onnx_files.findings(tmp_path, proto)
    assert found == ["node #0 (LpPool): attribute 'auto_pad' is not UTF-8: b'\\xff\\xfe'"]


def test_a_reference_to_an_attribute_outside_of_a_function(tmp_path: Path) -> None:
    proto = onnx_files.parse("g (float[2] x) => (float[2] y) { y = Softmax<axis = 0>(x) }")
    proto.graph.node[0].attribute[0].ref_attr_name = "axis"
    (found,) = onnx_files.findings(tmp_path, proto)
    assert "attribute 'axis' refers to 'axis', which is no attribute of a function" in found


@pytest.mark.parametrize(
    ("opset", "ir_version", "what"),
    [
        (6, 8, "opset 6 of domain 'ai.onnx' is not known (export it with opset 7 to 28)"),
        (29, 8, "opset 29 of domain 'ai.onnx' is not known (export it with opset 7 to 28)"),
        (2**62, 8, "is not known (export it with opset 7 to 28)"),
        (17, 99, "IR version 99 is not known (export it with IR version 3 to 14)"),
    ],
)
def test_versions_that_are_not_known(
    tmp_path: Path, opset: int, ir_version: int, what: str
) -> None:
    proto = onnx_files.parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    proto.opset_import[0].version, proto.ir_version = opset, ir_version
    (found,) = onnx_files.findings(tmp_path, proto)
    assert what in found


def test_a_domain_imported_twice_or_not_at_all(tmp_path: Path) -> None:
    proto = onnx_files.parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    proto.opset_import.add(domain="ai.onnx", version=13)
    (found,) = onnx_files.findings(tmp_path, proto)
    assert found == "model: imports domain 'ai.onnx' 2 times"
    proto.ClearField("opset_import")
    (found,) = onnx_files.findings(tmp_path, proto)
    assert found.endswith("operator 'Relu' is of domain 'ai.onnx', which is not imported")


def test_the_default_domain_has_two_names(tmp_path: Path) -> None:
    proto = onnx_files.parse("g (float[2] x) => (float[2] y) { y = Clip<max = 1.0>(x) }", opset=10)
    proto.opset_import[0].domain = proto.graph.node[0].domain = "ai.onnx"
    model = onnx_files.imported(tmp_path, proto)
    assert model.opset_imports == {"": 26}


def test_inputs_that_are_no_tensors(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        "g (seq(float[2]) s, float[2] x, float[2] n) => (float[2] y) { y = Relu(x) }"
    )
    proto.graph.input[2].ClearField("type")
    proto.graph.input[1].type.tensor_type.elem_type = 77
    assert onnx_files.findings(tmp_path, proto) == [
        "input 's': is a sequence; only tensors are possible",
        "input 'x': has the unknown type 77",
        "input 'n': is a value without a type; only tensors are possible",
    ]


def test_a_graph_without_outputs(tmp_path: Path) -> None:
    proto = onnx_files.parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    proto.graph.ClearField("output")
    assert onnx_files.findings(tmp_path, proto) == ["graph: has no outputs"]


def test_what_only_the_checker_finds_is_found(tmp_path: Path) -> None:
    proto = onnx_files.parse("g (float[2] x) => (float[2] y) { y = Softmax<axis = 0>(x) }")
    proto.graph.node[0].attribute[0].f = 1.0  # of type INT, with a float beside it
    (found,) = onnx_files.findings(tmp_path, proto)
    assert found.startswith("onnx.checker: ")
    assert "axis" in found


def test_outputs_and_inputs_may_leave_their_types_out(tmp_path: Path) -> None:
    proto = onnx_files.parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    proto.graph.output[0].ClearField("type")
    model = onnx_files.imported(tmp_path, proto)
    assert model.graph.outputs[0].shape == (2,)


def test_findings_of_many_kinds_come_together(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        "g (float[2] x) => (float[2] y) { a = Foo(x) b = Add(a, gone) y = Concat(b) }"
    )
    proto.graph.initializer.add(name="w", data_type=1, dims=[3], raw_data=bytes(4))
    found = onnx_files.findings(tmp_path, proto)
    assert [line.split(":")[0] for line in found] == [
        "initializer 'w'",
        "node #0 (Foo)",
        "node #1 (Add)",
        "node #2 (Concat)",
    ]


def test_many_bodies_in_a_large_graph_take_no_square_time(tmp_path: Path) -> None:
    """Thousands of bodies see thousands of names: nothing may copy these for each of them."""
    body = "t () => (float[2] u{0}) {{ u{0} = Relu(x) }}, else_branch = e () => (float[2] v{0})"
    nodes = "\n".join(
        f"y{i} = If(c) <then_branch = {body.format(i)} {{ v{i} = Foo(x) }}>" for i in range(3000)
    )
    text = f"g (float[2] x, bool c) => (float[2] y0) {{ {nodes} }}"
    assert len(onnx_files.findings(tmp_path, text)) == 3000


def test_versions_are_those_of_the_installed_onnx() -> None:
    assert VERSIONS[""] == (7, onnx.defs.onnx_opset_version())
    assert VERSIONS["ai.onnx.ml"][1] >= 5
