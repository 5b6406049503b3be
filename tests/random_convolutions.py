"""Convolutions of any shape, with what follows them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from hypothesis import strategies as st

import support


def convolution(
    shape: tuple[int, ...],
    outputs: int,
    kernel: tuple[int, ...],
    *,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[int, ...],
    group: int,
    epilogue: str,
) -> ir.Model | None:
    """Return a convolution and what follows; None where its window does not fit in the input."""
    _, channels, *space = shape
    rank = len(space)
    places = [
        (size + low + high - (k - 1) * d - 1) // s + 1
        for size, low, high, k, d, s in zip(
            space, pads[:rank], pads[rank:], kernel, dilations, strides, strict=True
        )
    ]
    if min(places) < 1:
        return None
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((outputs, channels // group, *kernel)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    text = {
        "nothing": "y = Conv{a}(x, w)",
        "bias": "y = Conv{a}(x, w, b)",
        "activation": "c = Conv{a}(x, w, b) y = Relu(c)",
        "residual": "c = Conv{a}(x, w, b) s = Add(c, r) y = Relu(s)",
        "gate": "c = Conv{a}(x, w, b) g = Sigmoid(c) y = Mul(c, g)",
    }[epilogue]
    attributes = ", ".join(
        f"{name} = {list(value)}"
        for name, value in (("strides", strides), ("dilations", dilations), ("pads", pads))
    )
    text = text.replace("{a}", f" <{attributes}, group = {group}> ")
    out = ",".join(map(str, (shape[0], outputs, *places)))
    constants = {"w": weight} if epilogue == "nothing" else {"w": weight, "b": bias}
    inputs = {"x": shape, **{name: array.shape for name, array in constants.items()}}
    if epilogue == "residual":
        inputs["r"] = (shape[0], outputs, *places)
    given = ", ".join(f"float[{','.join(map(str, dims))}] {name}" for name, dims in inputs.items())
    return support.from_text(f"g ({given}) => (float[{out}] y) {{ {text} }}", **constants)


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
        epilogue=draw(st.sampled_from(["nothing", "bias", "activation", "residual", "gate"])),
    )
