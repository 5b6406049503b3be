"""What a bundle carries to run its design: the program for a board or simulator, and its facts."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Final

from ...profiles.fpga_schema import Fpga
from ..process import RUN as PROGRAM
from .elaboration import inventory, system
from .hardware.design import Design
from .hardware.memories import MEMORIES
from .network.importing import Imported
from .run import engine, link, ports
from .timing import trace as timing

#: The folder of this package, and the one in a bundle.
RUN: Final = Path(engine.__file__).resolve().parent

#: What a bundle gets of it, beside the program that every bundle carries.
_FILES: Final = (
    "README.md",
    "engine.py",
    "host.py",
    "link.py",
    "ports.py",
    "serial_port.cpp",
    "simulator.py",
)

#: Bits that a byte takes on a serial line.
_BITS: Final = 10


def write_glue(directory: Path, model: Imported, design: Design, fpga: Fpga) -> None:
    """Write ``run/`` into a bundle's directory; the same bytes for the same arguments.

    It counts on the sources of the design and its system in ``rtl/``.
    """
    target = directory / RUN.name
    target.mkdir()
    for file in (PROGRAM, *(RUN / name for name in _FILES)):
        shutil.copyfile(file, target / file.name)
    text = json.dumps(dataclasses.asdict(facts(model, design, fpga)), sort_keys=True, indent=1)
    (directory / engine.FACTS).write_text(f"{text}\n", encoding="utf-8")


def facts(model: Imported, design: Design, fpga: Fpga) -> engine.Facts:
    """Return what the program in a bundle has to know."""
    memory, output = MEMORIES[fpga.family], model.network.output
    baud = fpga.board.uart.baud.value if fpga.board and fpga.board.uart else 0
    blocks = inventory.cost_of(design).blocks + system.cost(design, memory).blocks
    about = link.Design(
        name=system.name(design),
        inputs=model.network.input.size,
        outputs=output.size * output.bits // 8,
        clock=float(fpga.clock.value),
        rate=float(baud / _BITS if baud else ports.SPI_CLOCK / 8),
        cycles=timing.trace(design).latency(),
    )
    return engine.Facts(
        design=about,
        baud=baud,
        shape=output.shape,
        bits=output.bits,
        parameters=system.parameters(design, memory),
        before=model.before,
        after=model.after,
        memory=blocks * fpga.block_ram.bits.value // 8,
    )
