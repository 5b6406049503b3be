"""What hardware each layer becomes: one file per Verilog engine, named as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from ..hardware.design import Folding, Stage
from ..hardware.memories import Memory
from ..hardware.resources import Cost
from ..network.graph import (
    Add,
    ArgMax,
    AveragePool,
    Chain,
    Concat,
    Conv,
    Layer,
    MaxPool,
    Network,
    Resize,
    Table,
)
from . import (
    add,
    argmax,
    average,
    chain,
    concat,
    conv,
    depthwise,
    global_average,
    maxpool,
    resize,
    table,
)


class Engine(Protocol):
    """What each module of this folder offers; `layer` is of the type that the table names."""

    def foldings(self, layer: Any, network: Network) -> tuple[Folding, ...]:
        """Return every legal folding."""

    def period(self, layer: Any, folding: Folding, network: Network) -> int:
        """Return the cycles from one frame to the next if never starved nor stalled."""

    def stage(self, layer: Any, folding: Folding, network: Network, memory: Memory) -> Stage:
        """Return the module that computes the layer, for a device of these block RAM shapes."""

    def cost(self, stage: Stage) -> Cost:
        """Return what the module takes of the device."""


#: File of this folder -> what it offers.
ENGINES: Final[Mapping[str, Engine]] = {
    "add": add,
    "argmax": argmax,
    "average": average,
    "chain": chain,
    "concat": concat,
    "conv": conv,
    "depthwise": depthwise,
    "global_average": global_average,
    "maxpool": maxpool,
    "resize": resize,
    "table": table,
}

#: The engine of each layer, if nothing about the layer asks for another.
_USUAL: Final[Mapping[type[Layer], str]] = {
    Add: "add",
    ArgMax: "argmax",
    AveragePool: "average",
    Chain: "chain",
    Concat: "concat",
    Conv: "conv",
    MaxPool: "maxpool",
    Resize: "resize",
    Table: "table",
}


def engine(layer: Layer, network: Network) -> Engine:
    """Return the engine of a layer."""
    name = _USUAL[type(layer)]
    if isinstance(layer, Conv) and layer.is_depthwise:
        name = "depthwise"
    if isinstance(layer, AveragePool) and is_global(layer, network):
        name = "global_average"
    return ENGINES[name]


def is_global(layer: AveragePool, network: Network) -> bool:
    """Whether the window is the whole image: its sum then needs no buffer."""
    image = network.tensor(layer.inputs[0])
    return layer.window.kernel == (image.height, image.width) and not any(layer.window.pads)
