"""Matrix products that follow each other as one layer, whose engine works on one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from .graph import Chain, Conv, Layer, Network


def chained(network: Network) -> Network:
    """Return the network with each run of two products or more as one Chain; itself if none is."""
    layers = tuple(_merged(network))
    return (
        network
        if len(layers) == len(network.layers)
        else dataclasses.replace(network, layers=layers)
    )


def _merged(network: Network) -> Iterator[Layer]:
    run: list[Conv] = []
    for layer in network.layers:
        if run and not _follows(run[-1], layer, network):
            yield _chain(run)
            run = []
        if isinstance(layer, Conv) and layer.is_product:
            run.append(layer)
        else:
            yield layer
    if run:
        yield _chain(run)


def _follows(before: Conv, layer: Layer, network: Network) -> bool:
    """Whether a layer is a product, and it alone reads what the one before it gives."""
    is_next = isinstance(layer, Conv) and layer.is_product
    return is_next and network.readers(before.output.name) == (layer,)


def _chain(run: list[Conv]) -> Layer:
    first, last = run[0], run[-1]
    if first is last:
        return first
    return Chain(first.name, first.inputs, last.output, tuple(run))
