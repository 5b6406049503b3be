"""A streaming design as data: modules, the streams between them, and what their ROMs hold.

The Verilog, the model of time and the model of resources are all made from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Folding:
    """How far the engine of one layer is unrolled.

    Attributes:
        pe: channels computed side by side; divides the channels out (of one group).
        simd: products added up side by side; divides the channels in (of one group); 1 where each
            channel is computed alone.
    """

    pe: int = 1
    simd: int = 1


@dataclasses.dataclass(frozen=True)
class Stream:
    """Numbers on their way from one stage to another: `valid`, `ready` and `lanes` elements.

    Attributes:
        name: a Verilog identifier.
        lanes: elements side by side, the first in the lowest bits.
        beats: transfers in one frame.
        bits: of one element.
    """

    name: str
    lanes: int
    beats: int
    bits: int = 8

    @property
    def width(self) -> int:
        """Bits of one beat."""
        return self.lanes * self.bits


@dataclasses.dataclass(frozen=True, eq=False)
class Rom:
    """What one memory holds: `bits` [depth, width], 0 or 1 (uint8), the lowest bit first."""

    bits: np.ndarray

    @property
    def depth(self) -> int:
        return len(self.bits)

    @property
    def width(self) -> int:
        return int(self.bits.shape[1])


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """One module instance.

    Attributes:
        name: a Verilog identifier, and its instance's name.
        module: the file of `rtl/`, without its ending, that defines it.
        parameters: of the module, in its order; text is a string in Verilog.
        roms: parameter -> what the memory that it names holds.
        inputs, outputs: names of streams, in the order of the module's ports.
        layer: the layer that it belongs to, for messages.
    """

    name: str
    module: str
    parameters: Mapping[str, int | str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layer: str
    roms: Mapping[str, Rom] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """The core: stages in the order of the flow.

    Attributes:
        stages: each reads streams of stages before it, or `input`.
        streams: by name, `input` and `output` among them.
    """

    stages: tuple[Stage, ...]
    streams: Mapping[str, Stream]
    input: str
    output: str
