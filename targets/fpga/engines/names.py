"""What the parts of a layer are called in Verilog."""

from __future__ import annotations

from ..network.graph import Layer, Network


def name_of(layer: Layer, network: Network) -> str:
    """Return the identifier of a layer's stage: layers are told apart by their place."""
    return f"layer{network.layers.index(layer)}"


def inputs_of(layer: Layer, network: Network) -> tuple[str, ...]:
    """Return the names of the streams that a layer's stage reads."""
    name = name_of(layer, network)
    return tuple(f"{name}_in{index}" for index in range(len(layer.inputs)))


def output_of(layer: Layer, network: Network) -> str:
    """Return the name of the stream that a layer's stage writes."""
    return f"{name_of(layer, network)}_out"
