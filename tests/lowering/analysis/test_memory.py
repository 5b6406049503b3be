"""Liveness by hand, and the peak with what lives there."""

from __future__ import annotations

import json

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.lowering.analysis import memory, program
from tapeout.lowering.analysis.memory import Liveness, LiveTensor
from tapeout.lowering.analysis.program import Fusion, Interface, Sharing

import graphs


def model() -> ir.Model:
    """Return a chain with a skip: sizes in bytes 40, 400, 400, 40, 40, 40, 40."""
    return graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[10] x) => (float[10] y)
        <int64[2] wide = {10, 10}, int64[1] axis = {0}, int64[1] flat = {10}>
        {
            [expand] a = Expand(x, wide)
            [relu] b = Relu(a)
            [sum] c = ReduceSum(b, axis)
            [view] d = Reshape(c, flat)
            [add] e = Add(d, x)
            [exp] y = Exp(e)
        }""")


def lives(alive: Liveness) -> list[tuple[list[str], int, int, int]]:
    return [
        ([str(item.values[0].name) for item in one.storages], one.size, one.first, one.last)
        for one in alive.buffers
    ]


def test_lives_with_the_interface_apart() -> None:
    alive = memory.liveness(program.of(model()))
    assert lives(alive) == [
        (["a"], 400, 0, 1),
        (["x"], 40, 0, 5),
        (["y"], 40, 0, 5),
        (["b"], 400, 1, 2),
        (["c"], 40, 2, 4),  # d is its view
        (["e"], 40, 4, 5),
    ]
    assert alive.profile == (480, 880, 520, 120, 160, 120)


def test_lives_in_the_arena() -> None:
    alive = memory.liveness(program.of(model(), Sharing(interface="arena")))
    assert lives(alive) == [
        (["a"], 400, 0, 1),
        (["x"], 40, 0, 4),
        (["b"], 400, 1, 2),
        (["c"], 40, 2, 4),
        (["e"], 40, 4, 5),
        (["y"], 40, 5, 5),
    ]
    assert alive.profile == (440, 840, 480, 80, 120, 80)


def test_in_place_is_one_buffer() -> None:
    alive = memory.liveness(program.of(model(), Sharing(in_place=True, interface="arena")))
    assert lives(alive) == [
        (["a", "b"], 400, 0, 2),
        (["x"], 40, 0, 4),
        (["c", "e", "y"], 40, 2, 5),
    ]
    assert alive.profile == (440, 440, 480, 80, 80, 40)


def test_fusion_leaves_out_what_is_between() -> None:
    alive = memory.liveness(program.of(model(), Sharing(fusion="elementwise")))
    assert [names for names, *_ in lives(alive)] == [["a"], ["x"], ["y"], ["b"], ["c"]]


def test_the_peak_names_everything_that_lives_there() -> None:
    subject = model()
    subject.graph[1].metadata_props["tapeout.from"] = "first,second"
    peak = memory.liveness(program.of(subject)).peak
    assert peak is not None
    assert (peak.step, peak.name, peak.op, peak.bytes) == (1, "relu", "Relu", 880)
    assert peak.origins == ("first", "second")
    assert [tensor.name for tensor in peak.live] == ["a", "b", "x", "y"]
    assert peak.live[1] == LiveTensor(
        name="b",
        views=(),
        shape=(10, 10),
        dtype="float32",
        bytes=400,
        kind="intermediate",
        producer="relu",
        op="Relu",
        origins=("first", "second"),
        first=1,
        last=2,
        last_reader="sum",
    )
    x, y = peak.live[2:]
    assert (x.kind, x.producer, x.last_reader) == ("input", None, None)
    assert (y.kind, y.producer, y.last_reader) == ("output", "exp", None)
    json.dumps(peak.to_json())


def test_a_moment_shows_the_tensor_that_is_in_the_buffer_then() -> None:
    alive = memory.liveness(program.of(model(), Sharing(in_place=True, interface="arena")))
    assert [tensor.name for tensor in alive.moment(0).live] == ["a", "x"]
    assert [tensor.name for tensor in alive.moment(2).live] == ["b", "x", "c"]
    assert [tensor.views for tensor in alive.moment(3).live] == [(), ("d",)]
    assert [tensor.name for tensor in alive.moment(5).live] == ["y"]


def test_an_input_that_is_read_in_another_order_lives_as_long() -> None:
    subject = program.of(
        graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[10] x) => (float[10] y) { a = Relu(x)  b = Neg(x)  y = Add(a, b) }"""),
        Sharing(in_place=True, interface="arena"),
    )
    assert lives(memory.liveness(subject))[0] == (["x", "b"], 40, 0, 2)
    assert lives(memory.liveness(subject, (1, 0, 2)))[0] == (["x", "a", "y"], 40, 0, 2)


def test_the_body_of_a_branch_needs_scratch() -> None:
    alive = memory.liveness(
        program.of(
            graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (bool c, float[4] x) => (float[4] y) {
            y = If (c) <
                then_branch = t () => (float[4] a) { a = Relu(x) },
                else_branch = e () => (float[4] b) { n = Neg(x)  m = Exp(n)  b = Add(n, m) }
            >
        }""")
        )
    )
    peak = alive.peak
    assert peak is not None
    assert (peak.bytes, peak.scratch) == (1 + 16 + 16 + 48, 48)


def test_a_graph_without_nodes_has_no_peak() -> None:
    empty = graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]> g (float[4] x) => (float[4] x) { }""")
    alive = memory.liveness(program.of(empty))
    assert (alive.peak, alive.peak_bytes) == (None, 0)


@settings(max_examples=50)
@given(graphs.random_models(), st.sampled_from(["apart", "arena"]))
def test_the_profile_is_what_a_simulation_needs(model: ir.Model, interface: Interface) -> None:
    """Allocate on writing and free after the last use, with no sharing at all."""
    arena = interface == "arena"
    alive = memory.liveness(program.of(model, Sharing(views=False, interface=interface)))
    graph, outputs = model.graph, set(model.graph.outputs)
    size = {value: 4 * int(value.shape[0]) for value in graph.inputs}
    for node in graph:
        size |= {value: 4 * int(value.shape[0]) for value in node.outputs}
    always = set() if arena else {*graph.inputs, *outputs}
    live = {*graph.inputs, *always}
    for index, node in enumerate(graph):
        live |= set(node.outputs)
        assert alive.profile[index] == sum(size[value] for value in live)
        later = {value for after in list(graph)[index + 1 :] for value in after.inputs}
        unread = {value for value in graph.inputs if not value.uses()}
        live = {value for value in live if value in later | outputs | always | unread}


@pytest.mark.parametrize("fusion", ["none", "activation", "elementwise"])
def test_sharing_more_never_needs_more(fusion: Fusion) -> None:
    for name in ("resnet8_cifar10", "vww_mobilenet"):
        subject = graphs.static(name)
        plain = memory.liveness(program.of(subject)).peak_bytes
        fused = memory.liveness(program.of(subject, Sharing(fusion=fusion))).peak_bytes
        both = Sharing(fusion=fusion, in_place=True)
        assert memory.liveness(program.of(subject, both)).peak_bytes <= fused <= plain


def test_the_peak_of_the_residual_network_by_hand() -> None:
    """Three tensors of 16x32x32 floats at the addition, the input and the ten outputs."""
    peak = memory.liveness(program.of(graphs.static("resnet8_cifar10"))).peak
    assert peak is not None
    assert peak.bytes == 3 * 16 * 32 * 32 * 4 + 32 * 32 * 3 * 4 + 40
