"""What a profile says of an FPGA: what it is made of, and how its board is wired to it.

Sites and I/O standards are in the words of the constraints file that they end up in: LPF for ECP5,
PCF for iCE40, XDC for AMD's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from .blocks import Block, DType, Finding, FindingsError, Memory, Sourced
from .quantities import Count, Hertz, OpsPerSecond

Family = Literal["ecp5", "ice40", "xc7", "xcup"]

#: The families that open, pip-installed tools take to a bitstream: nextpnr has their wiring.
OPEN_FAMILIES: Final[tuple[Family, ...]] = ("ecp5", "ice40")

#: The word that a part is known by in the tools' options and reports.
_WORD: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"


class BlockRam(Block):
    """The block RAM of an FPGA: many memories of one kind."""

    name: str = Field(pattern=_WORD, description="The primitive, as synthesis counts it: DP16KD.")
    count: Sourced[Count] = Field(description="How many there are.")
    bits: Sourced[Count] = Field(description="Bits that one holds, parity bits included.")

    @property
    def size(self) -> int:
        """Bytes of all together."""
        return self.count.value * self.bits.value // 8


class Pin(Block):
    """One pin."""

    site: str = Field(pattern=r"^[A-Z0-9]+$", description="Its ball or number: G2.")
    standard: str | None = Field(
        default=None, pattern=_WORD, description="Its I/O standard: LVCMOS33; none for iCE40."
    )
    pull: Literal["up", "down", "none"] = Field(
        default="none", description="The resistor that the FPGA itself puts on it."
    )


class Switch(Pin):
    """A pin that means something when it is at one level."""

    active: Literal["high", "low"] = Field(description="The level that means it.")


class Oscillator(Pin):
    """The pin of the board's clock; of a differential one, the positive pin."""

    frequency: Sourced[Hertz] = Field(description="Its frequency.")
    negative: str | None = Field(
        default=None, pattern=r"^[A-Z0-9]+$", description="The negative pin of a differential one."
    )


class Uart(Block):
    """A serial port, in the FPGA's view."""

    receive: Pin = Field(description="The pin that the FPGA reads.")
    transmit: Pin = Field(description="The pin that the FPGA drives.")
    baud: Sourced[Count] = Field(description="Bits per second that both ends keep up with.")


class Spi(Block):
    """An SPI port whose slave is the FPGA."""

    select: Pin = Field(description="Chip select, low while a transfer runs.")
    clock: Pin = Field(description="The master's clock.")
    receive: Pin = Field(description="The pin that the FPGA reads (COPI).")
    transmit: Pin = Field(description="The pin that the FPGA drives (CIPO).")


class Board(Block):
    """How the FPGA is wired: what the top of a design needs."""

    oscillator: Oscillator = Field(description="The clock that is multiplied to the design's.")
    uart: Uart | None = Field(default=None, description="The serial port to the host.")
    spi: Spi | None = Field(default=None, description="An SPI port on one of its connectors.")
    reset: Switch | None = Field(default=None, description="A button that starts anew.")
    led: Switch | None = Field(default=None, description="A light that says the design runs.")
    held: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=32)], Switch] = Field(
        default={}, description="Pins that must be kept active for the board to work, by name."
    )

    def pins(self) -> Iterator[tuple[tuple[str, ...], Pin]]:
        """Yield every pin, after the keys that lead to it."""
        for name, link in (("uart", self.uart), ("spi", self.spi)):
            if link is not None:
                yield from (((name, key), pin) for key, pin in link if isinstance(pin, Pin))
        single = {"oscillator": self.oscillator, "reset": self.reset, "led": self.led}
        yield from (((name,), pin) for name, pin in single.items() if pin is not None)
        yield from ((("held", name), pin) for name, pin in self.held.items())


class Fpga(Block):
    """An FPGA, and its board where designs for it go all the way to one."""

    family: Family = Field(
        description="ecp5 and ice40 are Lattice's; xc7 and xcup AMD's 7 series and UltraScale+."
    )
    part: str = Field(pattern=_WORD, description="The part, without package and speed: LFE5U-85F.")
    package: str = Field(
        pattern=_WORD, description="The package, as place and route knows it: CABGA381."
    )
    speed: str = Field(
        pattern=_WORD,
        description="The speed grade, quoted; up for iCE40 UltraPlus, 1L and the like.",
    )
    luts: Sourced[Count] = Field(description="Look-up tables, of 4 inputs or (AMD's) 6.")
    flip_flops: Sourced[Count] = Field(description="Flip-flops beside them.")
    multipliers: Sourced[Count] = Field(
        description="Hard multipliers of at least 16 x 16 bits, each one product in a cycle."
    )
    block_ram: BlockRam = Field(description="Its block RAM.")
    clock: Sourced[Hertz] = Field(description="The clock that designs are built for.")
    board: Board | None = Field(default=None, description="How it is wired.")

    @property
    def is_open(self) -> bool:
        """Whether pip-installed tools make its bitstream."""
        return self.family in OPEN_FAMILIES

    @property
    def peak(self) -> Sourced[OpsPerSecond]:
        """Operations per second of its multipliers at the clock that designs are built for."""
        count, clock = self.multipliers.value, self.clock.value
        note = f"{count} multipliers x {clock / 1e6:g} MHz x 2"
        return Sourced[OpsPerSecond](value=count * clock * 2, source=self.clock.source, note=note)

    @model_validator(mode="after")
    def _wired_as_it_can_be(self) -> Fpga:
        found: list[Finding] = []
        used: dict[str, str] = {}
        for keys, pin in self.board.pins() if self.board is not None else ():
            where = ("board", *keys)
            if self.family == "ice40" and pin.pull == "down":
                found.append(((*where, "pull"), "iCE40 has no such resistor; write up or none"))
            if self.family != "ice40" and pin.standard is None:
                found.append(((*where, "standard"), "is missing: write LVCMOS33, or what it is"))
            if pin.site in used:
                told = f"{pin.site!r} is the site of {used[pin.site]} too"
                found.append(((*where, "site"), told))
            used[pin.site] = ".".join(keys)
        if found:
            raise FindingsError(found)
        return self

    def against(self, memories: tuple[Memory, ...], dtypes: tuple[DType, ...]) -> list[Finding]:
        """Return where the rest of its profile contradicts it."""
        found: list[Finding] = []
        stated = memories[0].size.value
        if stated != self.block_ram.size:
            count, bits = self.block_ram.count.value, self.block_ram.bits.value
            told = f"{stated} B is not {count} block RAMs of {bits} bits"
            told = f"{told}; write {self.block_ram.size} B"
            found.append((("memories", 0, "size"), told))
        if "int8" not in dtypes:
            found.append((("dtypes",), "has no int8, which an FPGA's designs compute with; add it"))
        return found
