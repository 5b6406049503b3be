from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.lowering.reference import Reference
from tapeout.lowering.spatial import INDIRECT, window_attributes

import support

#: Sizes that every window below fits into, so that ONNX Runtime takes every combination.
SIZES = st.tuples(st.integers(7, 11), st.integers(7, 11))
SMALL = st.tuples(st.integers(1, 3), st.integers(1, 3))
NAMED = st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])


def ints(values: Sequence[int]) -> str:
    return f"[{', '.join(map(str, values))}]"


def model_of(node: str, size: Sequence[int], weight: Sequence[int]) -> ir.Model:
    rng = np.random.default_rng(0)
    return support.from_text(
        f"g (float[1,2,{size[0]},{size[1]}] x, float{ints(weight)} w) => (float[n,c,h,k] y)"
        f" {{ a = {node} b = Neg(w) y = Neg(a) }}",
        w=rng.standard_normal(weight).astype(np.float32),
    )


def assert_explicit_is_the_same(model: ir.Model) -> None:
    """Compare ONNX Runtime before and after the attributes are made explicit."""
    feeds = support.random_feeds(model)
    wanted = Reference(model).run(feeds)["y"]
    node = model.graph[0]
    node.outputs[0].shape = ir.Shape(wanted.shape)
    found = window_attributes(node)
    assert found is not None
    for name in INDIRECT:
        node.attributes.pop(name, None)
    for name, value in found.items():
        node.attributes.add(ir.convenience.convert_attribute(name, value))
    np.testing.assert_allclose(Reference(model).run(feeds)["y"], wanted, atol=1e-5)


@settings(max_examples=60)
@given(size=SIZES, kernel=SMALL, strides=SMALL, dilations=SMALL, named=NAMED)
def test_convolution(
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    named: str,
) -> None:
    if named.startswith("SAME"):  # ONNX Runtime refuses them together
        dilations = (1, 1)
    node = f'Conv<strides={ints(strides)}, dilations={ints(dilations)}, auto_pad="{named}">(x, w)'
    assert_explicit_is_the_same(model_of(node, size, (3, 2, *kernel)))


@settings(max_examples=60)
@given(
    size=SIZES,
    kernel=SMALL,
    data=st.data(),
    named=NAMED,
    ceil=st.booleans(),
    kind=st.sampled_from(["MaxPool", "AveragePool", "LpPool"]),
)
def test_pooling(
    size: tuple[int, int],
    kernel: tuple[int, int],
    data: st.DataObject,
    named: str,
    ceil: bool,
    kind: str,
) -> None:
    # ONNX Runtime refuses some windows that leave gaps.
    strides = [data.draw(st.integers(1, extent)) for extent in kernel]
    node = (
        f"{kind}<kernel_shape={ints(kernel)}, strides={ints(strides)}, ceil_mode={int(ceil)}, "
        f'auto_pad="{named}">(x)'
    )
    assert_explicit_is_the_same(model_of(node, size, (1,)))


@settings(max_examples=60)
@given(size=SIZES, kernel=SMALL, strides=SMALL, named=NAMED, data=st.data())
def test_transposed_convolution(
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    named: str,
    data: st.DataObject,
) -> None:
    attributes = [f"strides={ints(strides)}", f'auto_pad="{named}"']
    if data.draw(st.booleans()):
        reach = [
            (length - 1) * stride + extent
            for length, stride, extent in zip(size, strides, kernel, strict=True)
        ]
        shape = [
            data.draw(st.integers(max(length, extent - 2), extent))
            for length, extent in zip(size, reach, strict=True)
        ]
        attributes.append(f"output_shape={ints(shape)}")
    node = f"ConvTranspose<{', '.join(attributes)}>(x, w)"
    assert_explicit_is_the_same(model_of(node, size, (2, 3, *kernel)))


@pytest.mark.parametrize(
    ("node", "wanted"),
    [
        (
            'Conv<auto_pad="SAME_UPPER", strides=[2,1]>(x, w)',
            {"strides": (2, 1), "dilations": (1, 1), "group": 1, "pads": (0, 1, 1, 1)},
        ),
        (
            'Conv<auto_pad="SAME_LOWER", strides=[2,1]>(x, w)',
            {"strides": (2, 1), "dilations": (1, 1), "group": 1, "pads": (1, 1, 0, 1)},
        ),
    ],
)
def test_odd_padding(node: str, wanted: dict[str, object]) -> None:
    found = window_attributes(model_of(node, (8, 8), (3, 2, 3, 3)).graph[0])
    assert found == wanted | {"kernel_shape": (3, 3)}


def test_shapes_that_are_not_static() -> None:
    model = model_of("Conv(x, w)", (8, 8), (3, 2, 3, 3))
    model.graph.inputs[0].shape = ir.Shape(["n", 2, 8, 8])
    assert window_attributes(model.graph[0]) is None
