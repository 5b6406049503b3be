from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import dialect
from tapeout.lowering.editing import Editor
from tapeout.lowering.integer_constants import IntegerConstant, integer_constant
from tapeout.lowering.reference import Reference

import support

RNG = np.random.default_rng(0)


def constant(shape: tuple[int, ...], scales: tuple[int, ...], attributes: str = "") -> ir.Model:
    """Return a model that gives the real numbers of an int8 constant, and takes nothing."""
    dims, parts = list(shape), list(scales)
    return support.from_text(
        f"""g (int8{dims} w, float{parts} s, int8{parts} z) => (float{dims} y) {{
            y = DequantizeLinear{attributes}(w, s, z)
        }}""",
        w=RNG.integers(-128, 128, shape, np.int8),
        s=RNG.uniform(0.1, 1, scales).astype(np.float32),
        z=RNG.integers(-9, 9, scales, np.int8),
    )


def found(model: ir.Model) -> IntegerConstant:
    item = integer_constant(model.graph.outputs[0])
    assert item is not None
    return item


def numbers(model: ir.Model) -> np.ndarray:
    return Reference(model).run({})["y"]


def written(model: ir.Model, changed: IntegerConstant) -> np.ndarray:
    """Put a changed constant in the place of the old one; return its numbers."""
    edit = Editor(model)
    old = model.graph[0]
    value = changed.insert(edit, old, "changed")
    model.graph.outputs[0] = value
    old.outputs[0].name, value.name = "old", "y"
    edit.remove_unused(old)
    assert dialect.check(model) == []
    assert [node.op_type for node in model.graph] == ["DequantizeLinear"]
    return numbers(model)


KINDS = {
    "one scale": ((), ""),
    "a vector of one scale": ((1,), ""),
    "by channel": ((3,), "<axis=1>"),
    "by the last axis": ((4,), "<axis=-1>"),
    "by block": ((2, 3, 2), "<axis=2, block_size=2>"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_another_layout(kind: str) -> None:
    model = constant((2, 3, 4), *KINDS[kind])
    before = numbers(model)
    after = written(model, found(model).transpose((2, 0, 1)))
    np.testing.assert_array_equal(after, before.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("shape", "kinds"),
    [
        ((24,), ["one scale"]),
        ((6, 4), ["one scale", "by the last axis"]),
        ((2, 3, 2, 2), ["one scale", "by channel"]),
        ((2, 1, 3, 4), ["one scale", "by channel", "by the last axis"]),
        ((2, 12), ["one scale"]),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_another_shape(kind: str, shape: tuple[int, ...], kinds: list[str]) -> None:
    model = constant((2, 3, 4), *KINDS[kind])
    before, changed = numbers(model), found(model).reshaped(shape)
    if kind == "a vector of one scale":
        kind = "one scale"
    assert (changed is not None) == (kind in kinds)
    if changed is not None:
        np.testing.assert_array_equal(written(model, changed), before.reshape(shape))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_another_order(kind: str, axis: int) -> None:
    model = constant((2, 3, 4), *KINDS[kind])
    order = np.arange(model.graph.outputs[0].shape[axis])[::-1]
    before, changed = numbers(model), found(model).reordered(axis, order)
    assert (changed is None) == (kind == "by block")
    if changed is not None:
        np.testing.assert_array_equal(written(model, changed), np.take(before, order, axis))


@pytest.mark.parametrize(
    ("factor", "is_said"), [(0.5, True), (-1.0, False), (0.0, False), (1e-38, False), (1e39, False)]
)
def test_a_factor(factor: float, is_said: bool) -> None:
    model = constant((2, 3, 4), (3,), "<axis=1>")
    before, changed = numbers(model), found(model).scaled(factor)
    assert (changed is not None) == is_said
    if changed is not None:
        np.testing.assert_allclose(written(model, changed), factor * before, rtol=1e-6)


def test_what_does_not_change_is_shared() -> None:
    model = constant((2, 3), (3,), "<axis=1>")
    old = model.graph[0]
    edit = Editor(model)
    found(model).transpose((1, 0)).insert(edit, old, "turned")
    turned = model.graph[0]
    assert turned.attributes.get_int("axis") == 0
    assert list(turned.inputs)[1:] == list(old.inputs)[1:]
    assert turned.inputs[0] is not old.inputs[0]


def test_four_bits() -> None:
    model = support.from_text(
        """g (int4[2,3] w, int4[3] z) => (float[2,3] y) <float[3] s = {1,2,4}> {
            y = DequantizeLinear<axis=1>(w, s, z)
        }""",
        w=np.array([[-8, 7, 1], [0, 3, -2]], ml_dtypes.int4),
        z=np.array([0, 1, 0], ml_dtypes.int4),
    )
    item = found(model)
    assert item.nbytes == 3
    edit = Editor(model)
    value = item.transpose((1, 0)).insert(edit, model.graph[0], "turned")
    assert value.producer().inputs[0].dtype == ir.DataType.INT4
    model.graph.outputs.append(value)
    results = Reference(model).run({})
    np.testing.assert_array_equal(results[str(value.name)], results["y"].T)


def test_what_is_no_constant() -> None:
    model = support.from_text(
        """g (int8[2] x, float s) => (float[2] y, float[2] w)
            <int8[2] c = {1,2}, float[2] v = {1,2}> {
            y = DequantizeLinear(x, s)
            w = DequantizeLinear(c, s)
            a = Neg(v)
        }"""
    )
    assert [integer_constant(node.outputs[0]) for node in model.graph] == [None, None, None]
    assert integer_constant(model.graph.inputs[0]) is None
    assert integer_constant(None) is None
