from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.affine import Affine, affine_of, scaled, takes_offset, vector_of

import support


def read(node: str, axis: int = 1) -> Affine | None:
    """Return what one node on x (float[2,3,4]) does along an axis."""
    model = support.from_text(
        f"""g (float[2,3,4] x, float[3] s, float[3] v) => (float[2,3,4] y) <float two = {{2}},
            float zero = {{0}}, float[3,1] c = {{1, 2, 4}}, float[4] last = {{1, 2, 3, 4}}> {{
            {node}
        }}""",
        s=np.array([1, 2, 3], np.float32),
        v=np.array([4, 4, 4], np.float32),
    )
    (only,) = model.graph
    return affine_of(only, model.graph.inputs[0], axis)


@pytest.mark.parametrize(
    ("node", "scale", "offset"),
    [
        ("y = Add(x, c)", [1, 1, 1], [1, 2, 4]),
        ("y = Add(c, x)", [1, 1, 1], [1, 2, 4]),
        ("y = Sub(x, c)", [1, 1, 1], [-1, -2, -4]),
        ("y = Sub(c, x)", [-1, -1, -1], [1, 2, 4]),
        ("y = Mul(two, x)", [2, 2, 2], [0, 0, 0]),
        ("y = Div(x, c)", [1, 0.5, 0.25], [0, 0, 0]),
        ("y = BatchNormalization<epsilon=0.0>(x, s, s, s, v)", [0.5, 1, 1.5], [0.5, 0, -1.5]),
    ],
)
def test_what_a_node_does(node: str, scale: list[float], offset: list[float]) -> None:
    found = read(node)
    assert found is not None
    assert found.scale.tolist() == scale
    assert found.offset.tolist() == offset


@pytest.mark.parametrize(
    "node",
    [
        "y = Div(c, x)",
        "y = Div(x, zero)",
        "y = Add(x, last)",
        "y = Mul(x, x)",
        "y = Exp(x)",
        "y = Pow(x, two)",
    ],
)
def test_what_is_not_affine_per_channel(node: str) -> None:
    assert read(node) is None


def test_along_another_axis() -> None:
    found = read("y = Mul(x, last)", axis=2)
    assert found is not None
    assert found.scale.tolist() == [1, 2, 3, 4]
    assert read("y = BatchNormalization(x, s, s, s, v)", axis=2) is None


def test_one_after_the_other() -> None:
    first = Affine(np.array([2.0]), np.array([3.0]))
    second = Affine(np.array([5.0]), np.array([7.0]))
    both = second.after(first)
    assert (both.scale.tolist(), both.offset.tolist()) == ([10], [22])


def test_vectors() -> None:
    value = ir.val("v", const_value=ir.Tensor(np.ones((1, 4, 1), np.float16)))
    graph = ir.Graph([], [], nodes=[], initializers=[value])
    vector = vector_of(graph.initializers["v"], (2, 4, 9), 1)
    assert vector is not None
    assert vector.dtype == np.float64
    assert vector.shape == (4,)
    assert vector_of(value, (2, 5, 9), 1) is None
    assert vector_of(value, (4, 9), 0) is None
    assert vector_of(None, (4,), 0) is None


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("", True),
        ("<pads=[0,0]>", True),
        ("<pads=[1,0]>", False),
        ('<auto_pad="VALID">', True),
        ('<auto_pad="SAME_LOWER">', False),
    ],
)
def test_which_convolutions_take_an_offset(attributes: str, expected: bool) -> None:
    model = support.from_text(
        f"g (float[1,2,8] x, float[2,2,3] w) => (float[1,2,n] y) {{ y = Conv{attributes}(x, w) }}"
    )
    assert takes_offset(model.graph[0]) == expected


def test_scaling_rounds_once_and_refuses_to_overflow() -> None:
    weight = np.array([1, 3], np.float16)
    third = scaled(weight, np.array([1 / 3]))
    assert third is not None
    assert third.dtype == np.float16
    assert third.tolist() == [float(np.float16(1 / 3)), 1]
    assert scaled(weight, np.array([4e4])) is None
    assert scaled(np.zeros((0, 3), np.float32), np.ones(3)) is not None
