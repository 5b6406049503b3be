"""What the tests of quantization share: canonical models, recipes by the simplest method, and
small networks between QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from tapeout.lowering.canonical import canonical
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.matching import array_of
from tapeout.lowering.quantization.parameters import Parameters, of_range, of_weights
from tapeout.lowering.quantization.placement import channel_axis, place
from tapeout.lowering.quantization.recipe import Recipe, Weights
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme
from tapeout.lowering.reference import Reference

import support

Feeds = Mapping[str, np.ndarray]

INTEGER_SCHEMES = tuple(
    item for item in SCHEMES.values() if isinstance(item, Scheme) and not item.is_float
)


def real_model(name: str) -> ir.Model:
    """Return one of the real models, canonical and channels-first."""
    return canonical("nchw").run(load(support.MODELS / f"{name}.onnx"))


def real_batches(name: str, model: ir.Model, count: int = 8) -> list[Feeds]:
    """Return real samples, each of the model's static shape."""
    [entry] = model.graph.inputs
    return [{str(entry.name): x} for x in support.real_inputs(name, count)[:, None]]


def values_of(model: ir.Model, batches: Sequence[Feeds], names: Sequence[str]) -> list[Feeds]:
    """Return the named values, by name, for each batch."""
    watched = model.clone()
    known = {str(value.name): value for node in watched.graph for value in node.outputs}
    for name in names:
        if name in known and known[name] not in watched.graph.outputs:
            watched.graph.outputs.append(known[name])
    reference = Reference(watched)
    return [{**batch, **reference.run(batch)} for batch in batches]


def min_max(
    model: ir.Model, scheme: Scheme, batches: Sequence[Feeds], kept: Mapping[str, str] | None = None
) -> Recipe:
    """Return the recipe of ranges from least to greatest, and of weights rounded to nearest."""
    placement = place(model, scheme, kept or {})
    seen = values_of(model, batches, list(placement.values))
    activations: dict[str, Parameters] = {}
    for name, item in placement.values.items():
        if item.like is None and item.fixed is None:
            low = min(float(values[name].min()) for values in seen)
            high = max(float(values[name].max()) for values in seen)
            activations[name] = of_range(low, high, scheme)
        elif item.fixed is not None:
            scale, zero = item.fixed
            dtype = scheme.activations
            activations[name] = Parameters(
                np.array(scale, np.float32), np.array(zero, dtype.numpy()), dtype
            )
    for name, item in placement.values.items():
        if item.like is not None:
            activations[name] = activations[item.like]
    weights = {}
    for node in model.graph:
        array = array_of(node.inputs[1]) if node.name in placement.nodes else None
        if array is not None:
            parameters = of_weights(array, channel_axis(node), scheme)
            bias = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
            weights[str(node.name)] = Weights(parameters.integers(array), parameters, bias)
    return Recipe(scheme, activations, weights, kept or {})


@dataclasses.dataclass(frozen=True)
class Integers:
    """Integers that stand for scale x (integer - zero): an input of this shape, or a constant.

    A scale for each position of `axis` is a vector.
    """

    held: tuple[int, ...] | np.ndarray
    scale: float | np.ndarray
    zero: int | np.ndarray = 0
    dtype: type = np.int8
    axis: int | None = None


def network(nodes: str, outputs: Mapping[str, Integers | str], **tensors: Integers) -> ir.Model:
    """Return a network of integers around `nodes`, which compute in float32.

    Args:
        nodes: text in ONNX's own syntax.
        outputs: what the nodes give: quantized if it is `Integers`, else as it is, of the type that
            the text says.
        tensors: what the nodes read, by name; ``x_q`` is the input that is dequantized to ``x``.
    """
    constants: dict[str, np.ndarray] = {}
    before, after, inputs, results = [], [], [], []
    for name, item in {**tensors, **outputs}.items():
        if isinstance(item, str):
            results.append(f"{item} {name}")
            continue
        axis = "" if item.axis is None else f"<axis = {item.axis}>"
        parameters = {
            f"{name}_s": np.asarray(item.scale, np.float32),
            f"{name}_z": np.asarray(item.zero, item.dtype),
        }
        constants |= parameters
        inputs += [_declared(array, key) for key, array in parameters.items()]
        held = np.zeros(item.held, item.dtype) if isinstance(item.held, tuple) else item.held
        if name in outputs:
            after.append(f"{name}_q = QuantizeLinear {axis} ({name}, {name}_s, {name}_z)")
            results.append(_declared(held, f"{name}_q"))
            continue
        if held is item.held:
            constants[f"{name}_q"] = held
        inputs.append(_declared(held, f"{name}_q"))
        before.append(f"{name} = DequantizeLinear {axis} ({name}_q, {name}_s, {name}_z)")
    body = "\n".join([*before, nodes, *after])
    text = f"g ({', '.join(inputs)}) => ({', '.join(results)}) {{ {body} }}"
    return support.from_text(text, **constants)


def _declared(array: np.ndarray, name: str) -> str:
    dtype = {"float32": "float"}.get(str(array.dtype), str(array.dtype))
    return f"{dtype}[{','.join(map(str, array.shape))}] {name}" if array.ndim else f"{dtype} {name}"


def integer_feeds(model: ir.Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random integers over the whole range of each input."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.inputs:
        dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.int8)
        info, shape = np.iinfo(dtype), tuple(int(dim) for dim in value.shape or ())
        feeds[str(value.name)] = rng.integers(info.min, info.max + 1, shape).astype(dtype)
    return feeds
