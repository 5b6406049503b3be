from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.channels import Channels, Group, channel_groups, per_channel

import support

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def network(nodes: str, outputs: str = "float[1,2,4,4] z") -> ir.Model:
    """Return a model of the nodes between x, an image of 2 channels, and the outputs."""
    return support.from_text(
        f"""g (float[1,2,4,4] x, float[4,2,1,1] a, float[4,2,1,1] b, float[2,4,1,1] c,
               float[4,4,1,1] e, float[4] bias, float[3,64] dense) => ({outputs})
            <float low = {{0}}, float high = {{6}}, float negative = {{-1}},
             int64[2] flat = {{1,-1}}, int64[3] lines = {{1,4,16}}>
            {{ {nodes} }}""",
        a=draw(4, 2, 1, 1),
        b=draw(4, 2, 1, 1),
        c=draw(2, 4, 1, 1),
        e=draw(4, 4, 1, 1),
        bias=draw(4),
        dense=draw(3, 64),
    )


def described(group: Group) -> tuple[list[str], list[str], list[str]]:
    return (
        [str(value.name) for value in group.values],
        [str(node.name) for node in group.producers],
        [str(node.name) for node in group.consumers],
    )


def groups(nodes: str, outputs: str = "float[1,2,4,4] z") -> list[tuple[list[str], ...]]:
    return [described(group) for group in channel_groups(network(nodes, outputs))]


def test_a_chain_is_one_group() -> None:
    found = channel_groups(network("p = Conv(x, a, bias) q = Clip(p, low, high) z = Conv(q, c)"))
    [group] = found
    assert described(group) == (["p", "q"], ["p"], ["z"])
    assert group.count == 4
    assert [(value.name, bound) for value, bound in group.ceilings] == [("q", 6.0)]
    assert list(group.values.values()) == [Channels(1), Channels(1)]


def test_branches_that_meet_in_a_sum_share_a_group() -> None:
    nodes = """p = Conv(x, a) q = Conv(x, b) s = Add(p, q) r = Relu(s)
               t = Conv(r, e) u = Sub(r, t) z = Conv(u, c)"""
    assert groups(nodes) == [
        (["p", "q", "s", "r", "t", "u"], ["p", "q", "t"], ["t", "z"]),
    ]


@pytest.mark.parametrize("operator", ["Add(p, p)", "Add(p, r)", "Sub(r, p)"])
def test_a_sum_of_values_of_one_group(operator: str) -> None:
    nodes = f"p = Conv(x, a) r = Relu(p) s = {operator} z = Conv(s, c)"
    assert groups(nodes) == [(["p", "r", "s"], ["p"], ["z"])]


def test_two_groups_in_a_row() -> None:
    nodes = "p = Conv(x, a) q = Relu(p) r = Conv(q, e) s = LeakyRelu(r) z = Conv(s, c)"
    assert groups(nodes) == [(["p", "q"], ["p"], ["r"]), (["r", "s"], ["r"], ["z"])]


@pytest.mark.parametrize(
    ("nodes", "places"),
    [
        ("m = MaxPool<kernel_shape=[1,1]>(p) f = Reshape(m, flat)", [(1, 1), (1, 1), (1, 16)]),
        ("m = Reshape(p, lines) f = Reshape(m, flat)", [(1, 1), (1, 1), (1, 16)]),
        ("m = Reshape(p, flat) f = Identity(m)", [(1, 1), (1, 16), (1, 16)]),
        (
            """m = Transpose<perm=[0,2,3,1]>(p) n = Transpose<perm=[0,3,1,2]>(m)
               f = Reshape(n, flat)""",
            [(1, 1), (3, 1), (1, 1), (1, 16)],
        ),
    ],
)
def test_channels_are_followed_through_views(nodes: str, places: list[tuple[int, int]]) -> None:
    model = network(f"p = Conv(x, a) {nodes} z = Gemm<transB=1>(f, dense)", "float[1,3] z")
    [group] = channel_groups(model)
    assert list(group.values.values()) == [Channels(*place) for place in places]
    assert [node.name for node in group.consumers] == ["z"]


LEFT = {
    "a graph output": ("p = Conv(x, a) z = Conv(p, c)", "float[1,2,4,4] z, float[1,4,4,4] p"),
    "not homogeneous": ("p = Conv(x, a) q = Sigmoid(p) z = Conv(q, c)", None),
    "a sum beside it": ("p = Conv(x, a) q = Add(p, x4) z = Conv(q, c)", None),
    "a bias": ("p = Conv(x, a) q = Add(p, row) z = Conv(q, c)", None),
    "bounds on both sides of zero": (
        "p = Conv(x, a) q = Clip(p, negative, high) z = Conv(q, c)",
        None,
    ),
    "a variable weight": ("p = Conv(x, a) z = Conv(p, w)", None),
    "a variable bias": ("p = Conv(x, a) z = Conv(p, c, v)", None),
    "slopes that have scales": ("p = Conv(x, a) q = PRelu(x4, p) z = Conv(q, c)", None),
    "slopes of the same group": ("p = Conv(x, a) q = PRelu(p, p) z = Conv(q, c)", None),
    "channels that are mixed": ("p = Conv(x, a) q = Reshape(p, apart) z = Conv(q, sq)", None),
    "two outputs": (
        "p = Conv(x, a) q, i = MaxPool<kernel_shape=[1,1]>(p) z = Conv(q, c)",
        "float[1,2,4,4] z, int64[1,4,4,4] i",
    ),
    "another layout for the product": (
        "p = Conv(x, a) q = MatMul(p, sq) z = Conv(q, c)",
        None,
    ),
    "nothing reads it": ("p = Conv(x, a) z = Relu(p)", "float[1,4,4,4] z"),
    "nothing linear gives it": ("p = Relu(x4) z = Conv(p, c)", None),
}


@pytest.mark.parametrize("name", LEFT)
def test_left(name: str) -> None:
    nodes, outputs = LEFT[name]
    shape = "float[1,2,8,4] z" if "apart" in nodes else "float[1,2,4,4] z"
    if "apart" in nodes:
        nodes = nodes.replace("sq", "a2")
    model = support.from_text(
        f"""g (float[1,2,4,4] x, float[1,4,4,4] x4, float[2,4,1,1] w, float[2] v,
               float[4,2,1,1] a, float[2,4,1,1] c, float[4,1,1] row, float[4,4] sq,
               float[2,2,1,1] a2) => ({outputs or shape})
            <float low = {{0}}, float high = {{6}}, float negative = {{-1}},
             int64[4] apart = {{1,2,8,4}}> {{ {nodes} }}""",
        a=draw(4, 2, 1, 1),
        c=draw(2, 4, 1, 1),
        row=draw(4, 1, 1),
        sq=draw(4, 4),
        a2=draw(2, 2, 1, 1),
    )
    assert channel_groups(model) == []


def test_a_body_of_control_flow_holds_what_it_reads() -> None:
    model = support.from_text(
        """g (float[1,2,4,4] x, bool go, float[4,2,1,1] a, float[2,4,1,1] c)
            => (float[1,2,4,4] z, float[1,4,4,4] y) {
            p = Conv(x, a)
            z = Conv(p, c)
            y = If(go) <then_branch = t () => (float[1,4,4,4] m) { m = Neg(p) },
                        else_branch = e () => (float[1,4,4,4] n) { n = Conv(x, a) }>
        }""",
        a=draw(4, 2, 1, 1),
        c=draw(2, 4, 1, 1),
    )
    assert channel_groups(model) == []


def test_figures_of_channels_are_the_largest() -> None:
    figures = np.array([1.0, 4, 3, 2, 0, 0])
    assert per_channel(figures, Channels(1)).tolist() == [1, 4, 3, 2, 0, 0]
    assert per_channel(figures, Channels(1, 2)).tolist() == [4, 3, 0]
