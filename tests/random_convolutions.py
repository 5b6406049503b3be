"""Convolutions of any shape, with what follows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir
from hypothesis import strategies as st

import support

#: What follows a convolution.
FOLLOWING: Final = {
    "nothing": "y = {node}(x, w)",
    "bias": "y = {node}(x, w, b)",
    "activation": "c = {node}(x, w, b) y = Relu(c)",
    "residual": "c = {node}(x, w, b) s = Add(c, r) y = Relu(s)",
    "gate": "c = {node}(x, w, b) g = Sigmoid(c) y = Mul(c, g)",
}


def followed(
    operator: str,
    attributes: Mapping[str, int | Sequence[int]],
    shape: Sequence[int],
    weight: Sequence[int],
    out: Sequence[int],
    following: str,
) -> ir.Model:
    """Return a node with a random weight, and perhaps a bias, and what follows it.

    Args:
        shape, out: of its data and of its result, (n, C, space).
        following: of `FOLLOWING`.
    """
    rng = np.random.default_rng(0)
    constants = {"w": rng.standard_normal(weight).astype(np.float32)}
    if following != "nothing":
        constants["b"] = rng.standard_normal(out[1]).astype(np.float32)
    dims = {"x": shape, **({"r": out} if following == "residual" else {})}
    dims |= {name: array.shape for name, array in constants.items()}
    given = ", ".join(f"float[{','.join(map(str, dim))}] {name}" for name, dim in dims.items())
    said = ", ".join(
        f"{name} = {value if isinstance(value, int) else list(value)}"
        for name, value in attributes.items()
    )
    text = FOLLOWING[following].replace("{node}", f"{operator} <{said}> ")
    result = ",".join(map(str, out))
    return support.from_text(f"g ({given}) => (float[{result}] y) {{ {text} }}", **constants)


def convolution(
    shape: tuple[int, ...],
    outputs: int,
    kernel: tuple[int, ...],
    *,
    strides: tuple[int, ...] = (),
    dilations: tuple[int, ...] = (),
    pads: tuple[int, ...] = (),
    group: int = 1,
    following: str,
) -> ir.Model | None:
    """Return a convolution and what follows; None where its window does not fit in the input."""
    images, channels, *space = shape
    rank = len(space)
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    pads = pads or (0,) * 2 * rank
    places = places_of(space, kernel, strides, dilations, pads)
    if min(places) < 1:
        return None
    attributes = {"strides": strides, "dilations": dilations, "pads": pads, "group": group}
    weight, out = (outputs, channels // group, *kernel), (images, outputs, *places)
    return followed("Conv", attributes, shape, weight, out, following)


def places_of(
    space: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
) -> list[int]:
    """Return in how many places along each axis a window stands."""
    rank = len(space)
    return [
        (size + low + high - (k - 1) * d - 1) // s + 1
        for size, low, high, k, d, s in zip(
            space, pads[:rank], pads[rank:], kernel, dilations, strides, strict=True
        )
    ]


@st.composite
def convolutions(draw: st.DrawFn) -> ir.Model | None:
    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    rank = draw(st.sampled_from([1, 2, 2, 2]))
    kind = draw(st.sampled_from(["plain", "plain", "depthwise", "grouped"]))
    inputs, outputs = draw(st.integers(1, 70)), draw(st.integers(1, 100))
    group = 1
    if kind == "depthwise":
        group = inputs = outputs
    elif kind == "grouped":
        group = draw(st.integers(2, 4))
        inputs, outputs = group * (inputs % 20 + 1), group * (outputs % 20 + 1)
    return convolution(
        (draw(st.integers(1, 2)), inputs, *each(1, 20)),
        outputs,
        draw(st.sampled_from([(1,) * rank, (3,) * rank, each(1, 5)])),
        strides=each(1, 3),
        dilations=each(1, 2),
        pads=draw(st.sampled_from([(0,) * 2 * rank, (1,) * 2 * rank, each(0, 2) + each(0, 2)])),
        group=group,
        following=draw(st.sampled_from(list(FOLLOWING))),
    )
