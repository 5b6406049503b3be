"""A function of one number: `rtl/lookup.v`, a table in logic for each lane."""

from __future__ import annotations

import numpy as np

from ..hardware.design import Folding, Rom, Stage
from ..hardware.memories import LOGIC, Memory, packed, parameters
from ..hardware.resources import Cost
from ..network.graph import Network, Table
from .arithmetic import divisors
from .names import inputs_of, name_of, output_of


def foldings(layer: Table, network: Network) -> tuple[Folding, ...]:
    """Return one for each divisor of the channels."""
    return tuple(Folding(pe) for pe in divisors(layer.output.channels))


def period(layer: Table, folding: Folding, network: Network) -> int:
    """Return the cycles from one frame to the next: one for each beat."""
    return layer.output.size // folding.pe


def stage(layer: Table, folding: Folding, network: Network, memory: Memory) -> Stage:
    """Return the module that looks up `pe` numbers side by side."""
    # The address is the number's bits: those of 0..127 come before those of -128..-1.
    values = np.roll(layer.values, 128)
    return Stage(
        name=name_of(layer, network),
        module="lookup",
        parameters={"PE": folding.pe, **parameters("VALUES", "", LOGIC)},
        inputs=inputs_of(layer, network),
        outputs=(output_of(layer, network),),
        layer=layer.name,
        roms={"VALUES": Rom(packed(values[:, None], 8))},
    )


def cost(stage: Stage) -> Cost:
    """Return what the module takes: a table of 256 words of 8 bits for each lane."""
    pe = int(stage.parameters["PE"])
    return Cost(0, 0, 8 * 20 * pe + 2, 8 * pe + 1)
