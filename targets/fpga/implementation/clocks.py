"""What a PLL divides and multiplies by, to make a design's clock of the board's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

from ....errors import Problem, ProfileError
from ....profiles.fpga_schema import Board, Family, Fpga


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the PLL of a family can do.

    Attributes:
        divide, multiply: the largest; the smallest is 1, or `least` for `multiply`.
        outs: dividers of the oscillator.
        compared: hertz at which phases may be compared, from and to.
        oscillator: hertz of the oscillator inside, from and to.
        loops_out: whether the feedback is taken from the output, after its divider.
    """

    divide: int
    multiply: int
    outs: tuple[int, ...]
    compared: tuple[float, float]
    oscillator: tuple[float, float]
    loops_out: bool = False
    least: int = 1


#: Sources: FPGA-DS-02012 (ECP5), FPGA-DS-02008 (iCE40 UltraPlus), DS181 (Artix-7, -1) and DS925
#: (Zynq UltraScale+, -1). Fractions, which AMD's allow, are left out.
LIMITS: Final[dict[Family, Limits]] = {
    "ecp5": Limits(128, 128, tuple(range(1, 129)), (10e6, 400e6), (400e6, 800e6), loops_out=True),
    "ice40": Limits(16, 128, (2, 4, 8, 16, 32, 64), (10e6, 133e6), (533e6, 1066e6)),
    "xc7": Limits(106, 64, tuple(range(1, 129)), (10e6, 450e6), (600e6, 1200e6), least=2),
    "xcup": Limits(106, 128, tuple(range(1, 129)), (10e6, 450e6), (800e6, 1600e6), least=2),
}

#: iCE40: hertz of the compared phases below which each setting of the loop filter is meant, from
#: setting 1 on; 6 beyond (icepll of Project IceStorm).
_FILTERS: Final = (17e6, 26e6, 44e6, 66e6, 101e6)


@dataclasses.dataclass(frozen=True)
class Settings:
    """The parameters of rtl/pll.v."""

    divide: int
    multiply: int
    out: int
    filter: int
    hertz: float


def settings(fpga: Fpga, board: Board) -> Settings:
    """Return what makes the clock that designs are built for of the board's oscillator.

    Phases are compared as often as possible, and the oscillator inside is in the middle of its
    range, or next to it: both make for little jitter.

    Raises:
        ProfileError: no setting gives the clock exactly; says the nearest slower one.
    """
    given, wanted = board.oscillator.frequency.value, fpga.clock.value
    limits = LIMITS[fpga.family]
    middle = sum(limits.oscillator) / 2
    slower = 0.0
    for divide in range(1, limits.divide + 1):
        found = dict(_possible(limits, given, divide))
        exact = [item for item in found if item.hertz == wanted]
        if exact:
            return min(exact, key=lambda item: abs(found[item] - middle))
        slower = max([slower, *(item.hertz for item in found if item.hertz < wanted)])
    fix = f"write {slower / 1e6:.10g} MHz" if slower else ""
    what = f"{wanted / 1e6:g} MHz cannot be made of the board's {given / 1e6:g} MHz"
    raise ProfileError("no PLL makes the clock", [Problem("fpga.clock", what, fix)])


def _possible(limits: Limits, given: float, divide: int) -> Iterator[tuple[Settings, float]]:
    """Yield the settings with a divider, each with the frequency of the oscillator inside."""
    compared = given / divide
    if not limits.compared[0] <= compared <= limits.compared[1]:
        return
    filtered = 1 + sum(compared >= edge for edge in _FILTERS)
    for multiply in range(limits.least, limits.multiply + 1):
        for out in limits.outs:
            inside = given * multiply * (out if limits.loops_out else 1) / divide
            if limits.oscillator[0] <= inside <= limits.oscillator[1]:
                yield Settings(divide, multiply, out, filtered, inside / out), inside
