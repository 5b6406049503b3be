"""The catalogue: its profiles, and what is said where there is none of a name."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tapeout.errors import ProfileError
from tapeout.profiles import catalog
from tapeout.profiles.schema import Sourced

CPUS = (
    "amd-epyc-milan",
    "ampere-altra",
    "aws-graviton3",
    "banana-pi-f3",
    "beaglebone-black",
    "host",
    "intel-n100",
    "intel-sapphire-rapids",
    "raspberry-pi-3b-plus",
    "raspberry-pi-4b",
    "raspberry-pi-5",
    "raspberry-pi-zero-2w",
    "rockchip-rk3588",
    "stm32mp157",
    "visionfive-2",
    "x86-64-v3",
)
PHONES = (
    "fairphone-4",
    "galaxy-s23",
    "galaxy-s24",
    "pixel-3",
    "pixel-6",
    "pixel-8",
    "pixel-9",
)
MICROCONTROLLERS = ("ethos-u55-128", "ethos-u65-256")
MOBILE = tuple(sorted(PHONES + MICROCONTROLLERS))
GPUS = catalog.names("gpu")  # test_gpu.py has their names
WITH_CORES = tuple(sorted(CPUS + MOBILE))
FPGAS = catalog.names("fpga")  # test_fpga.py has theirs
NAMES = tuple(sorted(WITH_CORES + GPUS + FPGAS))


def figures(value: object, path: str = "") -> list[tuple[str, Sourced[object]]]:
    """Return every figure under a block, with the way to it."""
    if isinstance(value, Sourced):
        return [(path, value)]
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, tuple):
        parts = enumerate(value)
    elif hasattr(type(value), "model_fields"):
        parts = ((name, getattr(value, name)) for name in type(value).model_fields)
    else:
        return []
    return [item for key, part in parts for item in figures(part, f"{path}.{key}")]


def test_names_are_the_catalogue():
    assert catalog.names() == NAMES
    assert catalog.names("cpu") == CPUS
    assert catalog.names("mobile") == MOBILE
    assert tuple(profile.name for profile in catalog.profiles()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_says_where_it_is_from(name: str):
    profile = catalog.load(name)
    assert profile.name == name
    found = figures(profile)
    assert len(found) > 9
    for path, figure in found:
        assert figure.note, path


@pytest.mark.parametrize("name", WITH_CORES)
def test_peaks_are_the_product_of_their_factors(name: str):
    profile = catalog.load(name)
    assert profile.cpu is not None
    assert "float32" in profile.compute
    for dtype, entry in profile.compute.items():
        assert entry.lanes is not None
        assert entry.units is not None
        product = profile.cpu.cores.value * profile.cpu.clock.value * entry.lanes.value
        assert profile.peak(dtype) == pytest.approx(product * entry.units.value * 2)


@pytest.mark.parametrize("name", PHONES)
def test_a_phone_says_its_android_and_what_delegates_reach(name: str):
    profile = catalog.load(name)
    assert profile.android is not None
    assert f"Android {profile.android.api.value - 19 - (profile.android.api.value > 31)}" in (
        profile.title
    )
    (gpu,) = profile.reached_by("gpu")
    assert {"float32", "float16"} <= set(gpu.compute)
    assert gpu in profile.reached_by("nnapi")


@pytest.mark.parametrize(
    ("name", "dtype", "measured"),
    [  # github.com/pigirons/cpufp, all cores
        ("raspberry-pi-4b", "float32", 47.88e9),
        ("raspberry-pi-5", "float32", 153.5e9),
        ("raspberry-pi-5", "float64", 76.75e9),
        ("raspberry-pi-5", "float16", 306.98e9),
        ("raspberry-pi-5", "int8", 614.0e9),
        ("intel-n100", "float32", 185.08e9),
        ("intel-n100", "int8", 369.66e9),
    ],
)
def test_peaks_are_those_measured_on_the_device(name: str, dtype: str, measured: float):
    assert catalog.load(name).peak(dtype) == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("name", WITH_CORES)
def test_the_default_budget_fits_the_memory(name: str):
    profile = catalog.load(name)
    assert profile.budget.memory is not None
    assert profile.budget.memory <= profile.main_memory.size.value


def test_json_round_trip_keeps_the_digest():
    for profile in catalog.profiles():
        again = catalog.from_json(profile.to_json(), "manifest.json")
        assert again == profile
        assert again.digest == profile.digest


def test_digest_is_the_same_in_another_process_and_differs_between_devices():
    program = "from tapeout.profiles import catalog; print(catalog.load('raspberry-pi-5').digest)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == catalog.load("raspberry-pi-5").digest
    assert len({profile.digest for profile in catalog.profiles()}) == len(NAMES)


def test_nothing_heavy_is_imported():
    program = (
        "import sys; from tapeout.profiles import catalog; catalog.profiles();"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "yaml" in loaded
    assert not loaded & {"numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "tvm", "tvm_ffi"}


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("raspbery-pi-5", "raspberry-pi-5"),
        ("Raspberry_Pi_5", "raspberry-pi-5"),
        ("graviton3", "aws-graviton3"),
        ("rk3588", "rockchip-rk3588"),
        ("beaglebone", "beaglebone-black"),
    ],
)
def test_an_unknown_device_offers_the_nearest(asked: str, near: str):
    with pytest.raises(ProfileError, match=f"no profile is called '{asked}'") as error:
        catalog.load(asked)
    assert error.value.exit_code == 2
    assert re.search(rf"did you mean ([\w-]+ or )*{near}\b", str(error.value))


def test_an_unknown_device_like_no_other_offers_all():
    with pytest.raises(ProfileError) as error:
        catalog.load("zzz")
    assert all(name in str(error.value) for name in NAMES)
