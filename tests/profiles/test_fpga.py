"""The profiles of FPGAs: figures against one another, and what contradicts itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tapeout.errors import ProfileError
from tapeout.profiles import catalog
from tapeout.profiles.schema import Profile

NAMES = (
    "arty-a7-100t",
    "arty-a7-35t",
    "colorlight-i9",
    "icebreaker",
    "orangecrab-25f",
    "orangecrab-85f",
    "pynq-z2",
    "ulx3s-12f",
    "ulx3s-25f",
    "ulx3s-45f",
    "ulx3s-85f",
    "zcu104",
)
PROFILES = [catalog.load(name) for name in NAMES]


def test_the_names():
    assert catalog.names("fpga") == NAMES


@pytest.mark.parametrize("profile", PROFILES, ids=NAMES)
def test_block_ram_is_the_memory_and_multipliers_the_peak(profile: Profile):
    fpga = profile.fpga
    assert fpga is not None
    assert profile.capacity == fpga.block_ram.size == profile.main_memory.size.value
    widest = {18432: 36, 4096: 16}[fpga.block_ram.bits.value]
    bandwidth = fpga.block_ram.count.value * widest / 8 * fpga.clock.value
    assert profile.main_memory.bandwidth.value == pytest.approx(bandwidth)
    assert profile.peak("int8") == 2 * fpga.multipliers.value * fpga.clock.value
    assert fpga.part.lower() == profile.toolchain.cpu.lower()


def told(**changes: Any) -> list[str]:
    data = copy.deepcopy(catalog.load("ulx3s-85f").to_json())
    for path, value in changes.items():
        *keys, last = path.split("__")
        block = data
        for key in keys:
            block = block[int(key) if key.isdigit() else key]
        block[last] = value
    with pytest.raises(ProfileError) as error:
        catalog.from_json(data, "manifest.json")
    return [problem.what for problem in error.value.problems]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"fpga__block_ram__count__value": 56},
            "memories[0].size: 479232 B is not 56 block RAMs of 18432 bits; write 129024 B",
        ),
        (
            {"dtypes": ["int32"], "compute": {}},
            "dtypes: has no int8, which an FPGA's designs compute with; add it",
        ),
        (
            {"fpga__board__led__site": "L4"},
            "fpga.board.led.site: 'L4' is the site of uart.transmit too",
        ),
        (
            {"fpga__board__held__wifi_gpio0__standard": None},
            "fpga.board.held.wifi_gpio0.standard: is missing: write LVCMOS33, or what it is",
        ),
        (
            {"fpga__family": "ice40", "fpga__board__spi__clock__pull": "down"},
            "fpga.board.spi.clock.pull: iCE40 has no such resistor; write up or none",
        ),
        ({"fpga": None}, "fpga: a profile of the kind 'fpga' needs a block fpga"),
    ],
)
def test_what_contradicts_itself_is_told(changes: dict[str, Any], message: str):
    assert told(**changes) == [message]
