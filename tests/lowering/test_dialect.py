from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tapeout.errors import Problem
from tapeout.lowering import dialect
from tapeout.lowering.layout import nhwc
from tapeout.lowering.passes.to_nhwc import ToNhwc
from tapeout.lowering.rules.operators import REFUSED

import support


def small() -> ir.Model:
    return support.from_text(
        """g (float[1,3,8,8] x) => (float[1,3,4,4] y) <float[3,1,1] c = {1,2,3}> {
            [pool] p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)
            [sum] y = Add(p, c)
        }"""
    )


def broken(rule: str, model: ir.Model, stage: dialect.Stage = "imported") -> list[Problem]:
    """Return what one rule finds, and assert that no other rule finds anything."""
    rules = [item for item in dialect.RULES if item.stage == stage]
    found = {item.name: list(item.problems(model)) for item in rules}
    assert [name for name in found if found[name]] == [rule]
    assert dialect.check(model, stage) == found[rule]
    return found[rule]


def test_a_model_in_the_dialect_breaks_no_rule() -> None:
    assert dialect.check(small()) == []
    assert dialect.check(ToNhwc()(small()).model) == []


def test_every_rule_documents_itself() -> None:
    assert len({rule.name for rule in dialect.RULES}) == len(dialect.RULES)
    for rule in dialect.RULES:
        assert rule.statement
        assert not rule.statement.endswith(".")


def wrong_versions(model: ir.Model) -> None:
    model.ir_version = 8
    model.opset_imports[""] = 17
    model.opset_imports["com.microsoft"] = 1


def unknown_operators(model: ir.Model) -> None:
    model.graph[0].op_type = "Pull"
    model.graph[1].domain = "com.acme"


def refused_operator(model: ir.Model) -> None:
    model.graph[1].op_type = "StringConcat"


def training(model: ir.Model) -> None:
    model.graph[1].op_type = "BatchNormalization"
    model.graph[1].attributes.add(ir.AttrInt64("training_mode", 1))


def reference(model: ir.Model) -> None:
    model.graph[0].attributes.add(ir.RefAttr("pads", "wide", ir.AttributeType.INTS))


def subgraph(model: ir.Model) -> None:
    inner = ir.Graph([], [], nodes=[], name="inner")
    model.graph[0].attributes.add(ir.AttrGraph("body", inner))


def undefined(model: ir.Model) -> None:
    ToNhwc()(model)
    model.functions.clear()


def defined_otherwise(model: ir.Model) -> None:
    ToNhwc()(model)
    function = model.functions["tapeout", "MaxPoolNhwc", ""]
    function.graph[2].attributes.add(ir.AttrInt64s("perm", [0, 3, 2, 1]))


def foreign_function(model: ir.Model) -> None:
    function = nhwc.operators()["ConvNhwc"].definition()
    function.domain = "com.acme"
    model.functions[function.identifier()] = function


def same_names(model: ir.Model) -> None:
    model.graph[0].name = "sum"
    model.graph[0].outputs[0].name = "x"


def no_names(model: ir.Model) -> None:
    model.graph[0].name = ""


def no_type(model: ir.Model) -> None:
    model.graph[0].outputs[0].type = None


def sequence(model: ir.Model) -> None:
    model.graph[0].outputs[0].type = ir.SequenceType(ir.TensorType(ir.DataType.FLOAT))


def text(model: ir.Model) -> None:
    model.graph[0].outputs[0].type = ir.TensorType(ir.DataType.STRING)


def no_shape(model: ir.Model) -> None:
    model.graph[0].outputs[0].shape = None


def symbolic_shape(model: ir.Model) -> None:
    model.graph.inputs[0].shape = ir.Shape(["batch", 3, 8, 8])


def no_value(model: ir.Model) -> None:
    model.graph.initializers["c"].const_value = None


def other_value(model: ir.Model) -> None:
    model.graph.initializers["c"].const_value = ir.Tensor(np.ones((3, 1), np.float32))


def default_of_an_input(model: ir.Model) -> None:
    model.graph.inputs.append(model.graph.initializers["c"])


def unused_constant(model: ir.Model) -> None:
    model.graph[1].replace_input_with(1, model.graph[1].inputs[0])


def constant_node(model: ir.Model) -> None:
    node = ir.node("Constant", [], {"value_float": 1.0}, name="one")
    node.outputs[0].name = "one"
    node.outputs[0].dtype = ir.DataType.FLOAT
    node.outputs[0].shape = ir.Shape([])
    model.graph[1].replace_input_with(1, node.outputs[0])
    model.graph.insert_before(model.graph[1], node)
    del model.graph.initializers["c"]


def wrong_order(model: ir.Model) -> None:
    first, second = model.graph
    model.graph.remove(first)
    model.graph.insert_after(second, first)


def value_from_nowhere(model: ir.Model) -> None:
    model.graph[1].replace_input_with(0, ir.val("z", ir.DataType.FLOAT, [1, 3, 4, 4]))


#: What breaks the rule, and the places that are named.
BREACHES: dict[Callable[[ir.Model], None], tuple[str, list[str]]] = {
    wrong_versions: ("versions", ["model"] * 3),
    unknown_operators: ("known-operators", ["node 'pool' (Pull)", "node 'sum' (Add)"]),
    refused_operator: ("known-operators", ["node 'sum' (StringConcat)"]),
    training: ("inference-only", ["node 'sum' (BatchNormalization)"]),
    reference: ("one-graph", ["node 'pool' (MaxPool)"]),
    subgraph: ("one-graph", ["node 'pool' (MaxPool)"]),
    undefined: ("own-operators-defined", ["node 'pool' (MaxPoolNhwc)"]),
    defined_otherwise: ("own-operators-defined", ["function 'MaxPoolNhwc'"]),
    foreign_function: ("own-operators-defined", ["function 'ConvNhwc'"]),
    same_names: ("names", ["node 'sum'", "value 'x'"]),
    no_names: ("names", ["graph"]),
    no_type: ("typed", ["value 'p'"]),
    sequence: ("typed", ["value 'p'"]),
    text: ("typed", ["value 'p'"]),
    no_shape: ("static-shapes", ["value 'p'"]),
    symbolic_shape: ("static-shapes", ["value 'x'"]),
    no_value: ("constants", ["value 'c'"]),
    other_value: ("constants", ["value 'c'"]),
    default_of_an_input: ("constants", ["value 'c'"]),
    unused_constant: ("constants", ["value 'c'"]),
    constant_node: ("constants", ["node 'one' (Constant)"]),
    wrong_order: ("order", ["node 'sum' (Add)"]),
    value_from_nowhere: ("order", ["node 'sum' (Add)"]),
}


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: breach.__name__)
def test_imported(breach: Callable[[ir.Model], None]) -> None:
    rule, places = BREACHES[breach]
    model = small()
    breach(model)
    if breach is default_of_an_input:  # the same value is then listed twice
        found = [item for item in dialect.check(model) if "input of the graph" in str(item)]
    else:
        found = broken(rule, model)
    assert [problem.where for problem in found] == places


def test_messages_quote_what_is_wrong_and_say_the_fix() -> None:
    model = small()
    symbolic_shape(model)
    [problem] = dialect.check(model)
    assert str(problem) == (
        "value 'x': its shape is [batch,3,8,8]; every value has a static shape "
        "(Memory is planned before anything runs. Fix the inputs' shapes with --shape; a shape "
        "that depends on data (of NonZero, Compress, Unique, NonMaxSuppression, TopK with a "
        "computed K ...) must be replaced before export.)"
    )
    refused = small()
    refused_operator(refused)
    assert "there are numbers only, no text" in str(dialect.check(refused)[0])


def test_refused_operators_are_operators() -> None:
    for op_type in REFUSED:
        assert onnx.defs.has(op_type, dialect.WORKING_OPSET)


# The canonical stage

#: Graphs that are canonical but for one rule, the rule, and the node that is named.
NOT_CANONICAL = {
    "identity": (
        "g (float[2] x) => (float[2] y) { a = Identity(x) y = Neg(a) }",
        "no-identities",
        "node 'a' (Identity)",
    ),
    "relu": (
        "g (float[2] x) => (float[2] y) { y = Relu(x) }",
        "one-activation",
        "node 'y' (Relu)",
    ),
    "min with a number": (
        "g (float[2] x) => (float[2] y) <float c = {1}> { y = Min(x, c) }",
        "one-activation",
        "node 'y' (Min)",
    ),
    "max of two tensors and a number": (
        "g (float[2] x) => (float[2] y) <float c = {1}> { a = Neg(x) y = Max(x, c, a) }",
        "one-activation",
        "node 'y' (Max)",
    ),
    "a bound that bounds nothing": (
        "g (uint8[2] x) => (uint8[2] y) <uint8 c = {0}> { y = Clip(x, c) }",
        "one-activation",
        "node 'y' (Clip)",
    ),
    "clips in a row": (
        "g (float[2] x) => (float[2] y) <float c = {0}> { a = Clip(x, c) y = Clip(a, c) }",
        "one-activation",
        "node 'y' (Clip)",
    ),
    "matmul and add": (
        """g (float[2,3] x) => (float[2,1] y) <float[3,1] w = {1,2,3}, float[1] b = {1}>
           { a = MatMul(x, w) y = Add(b, a) }""",
        "dense-is-gemm",
        "node 'a' (MatMul)",
    ),
    "matmul of integers, and integers added": (
        """g (float[2,3] x) => (float[2,1] y)
           <int8[3,1] w = {1,2,3}, float s = {0.5}, int8 z = {0}, int32[1] b = {7}, int32 n = {0}> {
            v = DequantizeLinear(w, s, z)
            c = DequantizeLinear(b, s, n)
            a = MatMul(x, v)
            y = Add(a, c)
        }""",
        "dense-integers-are-gemm",
        "node 'a' (MatMul)",
    ),
    "transposed integers": (
        """g (float[2,2] x) => (float[2,2] y)
           <int8[2,2] w = {1,2,3,4}, float s = {0.5}, int8 z = {0}> {
            v = DequantizeLinear(w, s, z)
            t = Transpose<perm=[1,0]>(v)
            y = Mul(x, t)
        }""",
        "integers-as-used",
        "node 't' (Transpose)",
    ),
    "integers that were integers": (
        """g (uint8[2] x) => (uint8[2] y) <float s = {0.5}, uint8 z = {3}> {
            r = DequantizeLinear(x, s, z)
            y = QuantizeLinear(r, s, z)
        }""",
        "integers-as-used",
        "node 'y' (QuantizeLinear)",
    ),
    "a clamp that saturation does": (
        """g (float[2] x) => (uint8[2] y) <float l = {0}, float s = {0.5}, uint8 z = {0}> {
            a = Clip(x, l)
            y = QuantizeLinear(a, s, z)
        }""",
        "saturation-clamps",
        "node 'a' (Clip)",
    ),
    "an axis for one scale": (
        """g (uint8[2] x) => (float[2] y) <float s = {0.5}, uint8 z = {3}> {
            y = DequantizeLinear<axis=0>(x, s, z)
        }""",
        "canonical-parameters",
        "node 'y' (DequantizeLinear)",
    ),
    "a default": (
        "g (float[2] x) => (float[2] y) { y = Elu<alpha=1.0>(x) }",
        "canonical-parameters",
        "node 'y' (Elu)",
    ),
    "no axis": (
        "g (float[2] x) => (float[2] y) { y = Softmax(x) }",
        "canonical-parameters",
        "node 'y' (Softmax)",
    ),
    "flatten": (
        "g (float[2,3] x) => (float[2,3] y) { y = Flatten<axis=1>(x) }",
        "one-reshape",
        "node 'y' (Flatten)",
    ),
    "the rest": (
        """g (float[2,3] x) => (float[6] y) <int64[1] s = {-1}>
           { y = Reshape(x, s) }""",
        "one-reshape",
        "node 'y' (Reshape)",
    ),
    "reshapes in a row": (
        """g (float[2,3] x) => (float[3,2] y) <int64[1] s = {6}, int64[2] t = {3,2}>
           { a = Reshape(x, s) y = Reshape(a, t) }""",
        "one-reshape",
        "node 'y' (Reshape)",
    ),
    "to the same shape": (
        """g (float[2,3] x) => (float[2,3] y) <int64[2] s = {2,3}>
           { a = Reshape(x, s) y = Neg(a) }""",
        "one-reshape",
        "node 'a' (Reshape)",
    ),
    "transposes in a row": (
        """g (float[2,3,4] x) => (float[3,4,2] y)
           { a = Transpose<perm=[2,0,1]>(x) y = Transpose<perm=[2,0,1]>(a) }""",
        "merged-transposes",
        "node 'y' (Transpose)",
    ),
    "only axes of size 1 move": (
        "g (float[2,1,3] x) => (float[1,2,3] y) { y = Transpose<perm=[1,0,2]>(x) }",
        "merged-transposes",
        "node 'y' (Transpose)",
    ),
    "a transposed constant": (
        """g (float[2,1] x) => (float[2,2] y) <float[2,2] c = {1,2,3,4}>
           { a = Transpose<perm=[1,0]>(c) y = Mul(x, a) }""",
        "merged-transposes",
        "node 'a' (Transpose)",
    ),
}


@pytest.mark.parametrize("name", NOT_CANONICAL)
def test_canonical(name: str) -> None:
    graph, rule, place = NOT_CANONICAL[name]
    model = support.from_text(graph)
    assert dialect.check(model, "imported") == []
    found = broken(rule, model, "canonical")
    assert [problem.where for problem in found] == [place]


def test_batch_norm_with_constants() -> None:
    model = support.from_text(
        """g (float[1,2,3] x, float[2] s) => (float[1,2,3] y) {
            y = BatchNormalization(x, s, s, s, s)
        }""",
        s=np.ones(2, np.float32),
    )
    broken("no-constant-batch-norm", model, "canonical")


def test_own_operators_give_every_attribute() -> None:
    model = ToNhwc()(small()).model
    model.graph[1].attributes.pop("dilations")
    found = [p for p in dialect.check(model, "canonical") if "attributes are" in str(p)]
    assert [problem.where for problem in found] == ["node 'pool' (MaxPoolNhwc)"]


@pytest.mark.parametrize(
    ("inputs", "allowed"),
    [("x", True), ("x, r", True), ("x, r, no", True), ("x, zero, yes", True), ("x, r, yes", False)],
)
def test_dropout_that_drops(inputs: str, allowed: bool) -> None:
    model = support.from_text(
        f"""g (float[2] x) => (float[2] y)
            <float r = {{0.5}}, float zero = {{0}}, bool yes = {{1}}, bool no = {{0}}> {{
            y = Dropout({inputs})
        }}"""
    )
    found = [problem for problem in dialect.check(model) if "nothing uses" not in problem.what]
    assert [problem.where for problem in found] == ([] if allowed else ["node 'y' (Dropout)"])


def test_dropout_whose_mask_is_used() -> None:
    model = support.from_text(
        "g (float[2] x) => (float[2] y, bool[2] m) { a, m = Dropout(x) y = Neg(a) }"
    )
    assert dialect.check(model, "canonical") == []


def test_identity_that_an_output_needs() -> None:
    model = support.from_text(
        """g (float[2] x) => (float[2] y, float[2] z, float[2] w) <float[2] c = {1,2}> {
            y = Identity(x)
            z = Identity(c)
            w = Neg(x)
        }"""
    )
    assert dialect.check(model, "canonical") == []
