"""The main graph as steps and storages: views, fusion, what may run in place."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from hypothesis import given, settings

from tapeout.lowering.analysis import program
from tapeout.lowering.analysis.program import Fusion, Program, Sharing

import graphs


def chains(subject: Program) -> list[list[str]]:
    return [[str(node.name) for node in step.nodes] for step in subject.steps]


def shared(subject: Program) -> list[list[str]]:
    return [[str(value.name) for value in item.values] for item in subject.storages]


def residual() -> ir.Model:
    """Return a residual block, a head, and an activation whose input is read twice."""
    return graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[1,4,6,6] x) => (float[1,144] y, float[1,4,6,6] z)
        <float[4,4,1,1] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, float low = {0.0},
         int64[2] flat = {1, 144}>
        {
            [skip] a = Conv(x, w)
            [main] b = Conv(x, w)
            [add] c = Add(a, b)
            [act] d = Clip(c, low)
            [exp] e = Exp(d)
            [neg] z = Neg(d)
            [flat] y = Reshape(e, flat)
        }""")


@pytest.mark.parametrize(
    ("fusion", "expected"),
    [
        ("none", [["skip"], ["main"], ["add"], ["act"], ["exp"], ["neg"], ["flat"]]),
        ("activation", [["skip"], ["main"], ["add", "act"], ["exp"], ["neg"], ["flat"]]),
        # Add joins the later of the two convolutions; d is read twice, so nothing joins Clip.
        ("elementwise", [["skip"], ["main", "add", "act"], ["exp"], ["neg"], ["flat"]]),
    ],
)
def test_fusion(fusion: Fusion, expected: list[list[str]]) -> None:
    subject = program.of(residual(), Sharing(fusion=fusion))
    assert chains(subject) == expected


def test_a_fused_step_reads_and_writes_what_its_chain_does() -> None:
    subject = program.of(residual(), Sharing(fusion="elementwise"))
    fused = subject.steps[1]
    assert fused.op == "Conv+Add+Clip"
    assert [subject.storages[index].values[0].name for index in fused.reads] == ["x", "a"]
    assert [subject.storages[index].values[0].name for index in fused.writes] == ["d"]
    assert {value.name: size for value, size in fused.constants.items()} == {"w": 64}
    assert fused.after == (0,)
    assert fused.moved == 576 + 576 + 64 + 576


def test_a_reshape_is_a_view_and_lives_in_its_input() -> None:
    assert ["e", "y"] in shared(program.of(residual()))
    copied = program.of(residual(), Sharing(views=False))
    assert ["e"] in shared(copied)
    assert ["y"] in shared(copied)


def test_no_view_joins_a_model_input_or_a_constant_to_an_output() -> None:
    subject = program.of(
        graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[4] x) => (float[4] a, float[4] b, float[2,2] c, float[2,2] d)
        <float[4] k = {1,2,3,4}, int64[2] square = {2, 2}>
        {
            a = Identity(x)
            b = Identity(k)
            hidden = Relu(x)
            c = Reshape(hidden, square)
            d = Identity(c)
        }""")
    )
    assert shared(subject) == [["x"], ["a"], ["b"], ["hidden", "c"], ["d"]]
    assert [item.kind for item in subject.storages] == [
        "input", "output", "output", "output", "output",
    ]  # fmt: skip


def test_a_view_of_a_constant_is_no_activation() -> None:
    subject = program.of(
        graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[2,2] x) => (float[2,2] y)
        <float[4] k = {1,2,3,4}, int64[2] square = {2, 2}>
        { m = Reshape(k, square)  y = Add(x, m) }""")
    )
    assert shared(subject) == [["x"], ["y"]]
    assert {value.name: size for value, size in subject.steps[1].constants.items()} == {"k": 16}


def test_dequantized_tensors_are_read_as_they_are_stored() -> None:
    model = graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (int8[1,4,6,6] x) => (int8[1,4,6,6] y)
        <float s = {0.1}, int8 zero = {0},
         int8[4,4,1,1] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}>
        {
            [dx] a = DequantizeLinear(x, s, zero)
            [dw] v = DequantizeLinear(w, s, zero)
            [conv] b = Conv(a, v)
            [qb] c = QuantizeLinear(b, s, zero)
            [dc] d = DequantizeLinear(c, s, zero)
            [pool] e = MaxPool<kernel_shape=[1,1]>(d)
            [qe] y = QuantizeLinear(e, s, zero)
        }""")
    subject = program.of(model, Sharing(fusion="activation"))
    assert chains(subject) == [["dx"], ["dw"], ["conv", "qb"], ["dc"], ["pool", "qe"]]
    assert shared(subject) == [["x", "a"], ["c", "d"], ["y"]]
    conv = subject.steps[2]
    assert (conv.dtype, conv.moved) == ("int8", 144 + 16 + 144 + 4 + 1)  # and the scale and zero
    apart = program.of(model)
    assert len(apart.storages) == 1 + 7  # without fusion each is a tensor of its own
    assert apart.steps[2].dtype == "float32"


def test_what_may_be_overwritten() -> None:
    def names(sharing: Sharing) -> list[list[str]]:
        subject = program.of(residual(), sharing)
        return [
            [str(subject.storages[index].values[0].name) for index in step.overwrites]
            for step in subject.steps
        ]

    assert not any(names(Sharing()))
    # Not by a convolution, not a model input, not by an output that has memory of its own.
    assert names(Sharing(in_place=True)) == [[], [], ["a", "b"], ["c"], [], [], []]
    assert names(Sharing(in_place=True, interface="arena")) == [
        [], [], ["a", "b"], ["c"], ["d"], ["d"], [],
    ]  # fmt: skip
    # The fused chain reads a at the index it writes, and x through the convolution's window.
    assert names(Sharing(in_place=True, fusion="elementwise"))[1] == ["a"]


def test_a_broadcast_operand_is_not_overwritten() -> None:
    subject = program.of(
        graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[4,1] x) => (float[1,4] z)
        <int64[1] axis = {0}>
        { a = Relu(x)  b = Transpose(a)  c = Add(a, b)  z = ReduceSum(c, axis) }"""),
        Sharing(in_place=True),
    )
    assert subject.steps[2].overwrites == ()


def test_the_interface() -> None:
    apart = program.of(residual())
    assert [item.held for item in apart.storages if item.kind != "intermediate"] == [True] * 3
    arena = program.of(residual(), Sharing(interface="arena"))
    assert not any(item.held for item in arena.storages)
    assert [(item.kind, item.kept) for item in arena.storages if item.kind != "intermediate"] == [
        ("input", False), ("output", True), ("output", True),
    ]  # fmt: skip


def test_bodies_are_programs_of_their_own() -> None:
    subject = program.of(
        graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (bool c, float[4] x) => (float[4] y) {
            y = If (c) <
                then_branch = t () => (float[4] a) { a = Relu(x) },
                else_branch = e () => (float[4] b) { n = Neg(x)  b = Exp(n) }
            >
        }""")
    )
    then, other = subject.steps[0].bodies
    assert shared(then) == [["a"]]
    assert shared(other) == [["n"], ["b"]]


def test_resizing_keeps_only_what_still_fits_in_place() -> None:
    subject = program.of(residual(), Sharing(in_place=True))
    widened = subject.resized(lambda item: 2 * item.size if item.values[0].name == "a" else 7)
    assert [step.overwrites for step in widened.steps] == [
        (), (), (subject.steps[2].overwrites[1],), subject.steps[3].overwrites, (), (), (),
    ]  # fmt: skip


@settings(max_examples=50)
@given(graphs.random_models())
def test_every_value_is_placed_once_and_steps_stay_in_order(model: ir.Model) -> None:
    for fusion in ("none", "elementwise"):
        subject = program.of(model, Sharing(fusion=fusion))
        nodes = [node for step in subject.steps for node in step.nodes]
        assert sorted(map(id, nodes)) == sorted(map(id, model.graph))
        assert all(before < index for index, step in enumerate(subject.steps)
                   for before in step.after)  # fmt: skip
        placed = [value for item in subject.storages for value in item.values]
        fused = [value for step in subject.steps for node in step.nodes[:-1]
                 for value in node.outputs]  # fmt: skip
        every = [*model.graph.inputs, *(value for node in nodes for value in node.outputs)]
        assert sorted(map(id, placed + fused)) == sorted(map(id, every))
        writers = [index for step in subject.steps for index in step.writes]
        assert len(writers) == len(set(writers))
