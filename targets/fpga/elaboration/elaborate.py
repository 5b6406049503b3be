"""From a network and a folding of each layer to a design: engines, and what joins them.

Between the stream that an engine writes and those that others read stand, where they are needed:
copies (`tee`), beats of another width (`adapt`), and at a layer with several inputs FIFOs, which
keep what has come until the rest is there.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping

from ....errors import ModelError, Problem
from ..engines import engine
from ..engines.names import inputs_of, output_of
from ..hardware.design import Design, Folding, Stage, Stream
from ..hardware.memories import Memory
from ..network.graph import Layer, Network, Tensor
from ..timing import skips

#: The streams that are the core's own ports.
INPUT, OUTPUT = "s", "m"

#: Modules whose input has other lanes than PE, or whose lanes are no parameter.
_LANES_IN = {"argmax": "", "chain": "SIMD", "conv": "SIMD"}


def elaborate(network: Network, foldings: Mapping[str, Folding], memory: Memory) -> Design:
    """Return the design of a network, its FIFOs as deep as keeps them from slowing it down.

    The last few designs are kept: whoever asks again gets the same one.

    Args:
        foldings: of every layer, by its name.
        memory: the block RAM of the device.
    """
    taken = tuple((layer.name, foldings[layer.name]) for layer in network.layers)
    return _elaborated(network, taken, memory)


@functools.lru_cache(maxsize=4)
def _elaborated(network: Network, taken: tuple[tuple[str, Folding], ...], memory: Memory) -> Design:
    foldings = dict(taken)
    joins = [
        name
        for layer in network.layers
        if len(layer.inputs) > 1
        for name in inputs_of(layer, network)
    ]
    design = connect(network, foldings, memory, dict.fromkeys(joins, 1))
    if joins:
        found = skips.depths(design, interval(network, foldings, design))
        depths = {name: found[fifo_of(name)] for name in joins}
        design = connect(network, foldings, memory, depths)
        skips.check(design)
    return design


def interval(network: Network, foldings: Mapping[str, Folding], design: Design) -> int:
    """Return the cycles from one frame to the next of the slowest engine or stream."""
    periods = (
        engine(layer, network).period(layer, foldings[layer.name], network)
        for layer in network.layers
    )
    return max(*periods, *(stream.beats for stream in design.streams.values()))


def connect(
    network: Network,
    foldings: Mapping[str, Folding],
    memory: Memory,
    depths: Mapping[str, int],
) -> Design:
    """Return the design of a network with FIFOs of these depths, which need not be enough.

    Args:
        foldings: of every layer, by its name.
        memory: the block RAM of the device.
        depths: beats, by the input of a layer before which the FIFO stands (`layer3_in0`).
    """
    builder = _Builder(network, memory, depths)
    stages = {
        layer.name: engine(layer, network).stage(layer, foldings[layer.name], network, memory)
        for layer in network.layers
    }
    source = network.input
    readers = [stages[layer.name] for layer in network.readers(source.name)]
    builder.spread(
        source, Stream(INPUT, *_beats(source, math.gcd(*map(lanes_in, readers)))), stages
    )
    for layer in network.layers:
        builder.place(layer, stages)
    return Design(tuple(builder.stages), builder.streams, INPUT, OUTPUT)


def lanes_in(stage: Stage) -> int:
    """Return how many elements an engine reads side by side."""
    name = _LANES_IN.get(stage.module, "PE")
    return int(stage.parameters[name]) if name else 1


def lanes_out(stage: Stage) -> int:
    """Return how many elements an engine writes side by side."""
    return 1 if stage.module == "argmax" else int(stage.parameters["PE"])


def fifo_of(name: str) -> str:
    """Return the name of the FIFO before an input of a layer."""
    return f"{name}_fifo"


class _Builder:
    """The stages and streams so far."""

    def __init__(self, network: Network, memory: Memory, depths: Mapping[str, int]) -> None:
        self._network = network
        self._memory = memory
        self._depths = depths
        self._ends: dict[str, Stream] = {}  # input of a layer -> the stream that brings it
        self.stages: list[Stage] = []
        self.streams: dict[str, Stream] = {}

    def place(self, layer: Layer, stages: Mapping[str, Stage]) -> None:
        """Add a layer's engine, whose inputs are there, and all that stands behind it."""
        stage, tensor = stages[layer.name], layer.output
        is_last = tensor is self._network.output
        name = OUTPUT if is_last else output_of(layer, self._network)
        inputs = tuple(self._ends[item].name for item in inputs_of(layer, self._network))
        self.stages.append(dataclasses.replace(stage, inputs=inputs, outputs=(name,)))
        stream = Stream(name, *_beats(tensor, lanes_out(stage)), tensor.bits)
        self.spread(tensor, stream, stages)

    def spread(self, tensor: Tensor, stream: Stream, stages: Mapping[str, Stage]) -> None:
        """Bring a stream to every engine that reads the tensor."""
        self.streams[stream.name] = stream
        readers = list(self._readers(tensor))
        for number, (layer, name) in enumerate(readers, 1):
            if number < len(readers):
                branch, stream = self._tee(stream, f"{stream.name}_tee", layer)
            else:
                branch = stream
            self._ends[name] = self._bring(branch, name, lanes_in(stages[layer.name]), layer)

    def _readers(self, tensor: Tensor) -> Iterator[tuple[Layer, str]]:
        """Yield who reads a tensor, and by which of its inputs."""
        for layer in self._network.layers:
            names = inputs_of(layer, self._network)
            for name, item in zip(names, layer.inputs, strict=True):
                if item == tensor.name:
                    yield layer, name

    def _bring(self, stream: Stream, name: str, lanes: int, layer: Layer) -> Stream:
        """Return a stream of so many lanes for a layer; a FIFO stands at the narrower end.

        It stands at the wider one if no block RAM is as deep as that takes.
        """
        narrow, wide = sorted((stream.lanes, lanes))
        depth = self._depths.get(name, 0)
        is_deep = depth > self._memory.deepest and wide > narrow
        if is_deep:
            depth = -(-depth * narrow // wide) + 1
        is_early = stream.lanes == (wide if is_deep else narrow)
        if is_early:
            stream = self._fifo(stream, name, depth, layer)
        for step in (math.lcm(stream.lanes, lanes), lanes):
            stream = self._adapt(stream, f"{name}_by{step}", step, layer)
        return stream if is_early else self._fifo(stream, name, depth, layer)

    def _tee(self, stream: Stream, name: str, layer: Layer) -> tuple[Stream, Stream]:
        first = self._add(dataclasses.replace(stream, name=f"{name}0"))
        second = self._add(dataclasses.replace(stream, name=f"{name}1"))
        self.stages.append(
            Stage(
                name,
                "tee",
                {"WIDTH": stream.width},
                (stream.name,),
                (first.name, second.name),
                layer.name,
            )
        )
        return first, second

    def _adapt(self, stream: Stream, name: str, lanes: int, layer: Layer) -> Stream:
        if lanes == stream.lanes:
            return stream
        beats = stream.beats * stream.lanes // lanes
        result = self._add(Stream(f"{name}_out", lanes, beats, stream.bits))
        parameters = {"BITS": stream.bits, "IN": stream.lanes, "OUT": lanes}
        self.stages.append(
            Stage(name, "adapt", parameters, (stream.name,), (result.name,), layer.name)
        )
        return result

    def _fifo(self, stream: Stream, name: str, depth: int, layer: Layer) -> Stream:
        if not depth:
            return stream
        if depth > self._memory.deepest:
            raise ModelError(
                "what goes around layers does not fit the device",
                [
                    Problem(
                        layer.name,
                        f"{depth} beats of {stream.lanes} numbers have to wait for its other input",
                        f"a block RAM holds {self._memory.deepest}: use a smaller image",
                    )
                ],
            )
        name = fifo_of(name)
        result = self._add(dataclasses.replace(stream, name=f"{name}_out"))
        shape = self._memory.ram(stream.width, depth)
        parameters = {
            "WIDTH": stream.width,
            "DEPTH": depth,
            "STYLE": "block" if shape.width else "distributed",
            "SLICE_WIDTH": shape.width,
        }
        self.stages.append(
            Stage(name, "fifo", parameters, (stream.name,), (result.name,), layer.name)
        )
        return result

    def _add(self, stream: Stream) -> Stream:
        self.streams[stream.name] = stream
        return stream


def _beats(tensor: Tensor, lanes: int) -> tuple[int, int]:
    """Return the lanes and beats of a stream that carries a tensor."""
    return lanes, tensor.size // lanes
