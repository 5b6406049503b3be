"""The profiles of GPUs: their figures against one another, and what contradicts itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tapeout.errors import ProfileError
from tapeout.profiles import catalog

NAMES = (
    "a10",
    "a100",
    "dgx-spark",
    "h100",
    "h200",
    "jetson-agx-orin",
    "jetson-orin-nano",
    "l4",
    "l40s",
    "rtx-2060",
    "rtx-3060",
    "rtx-3090",
    "rtx-4060",
    "rtx-4090",
    "rtx-5090",
    "rtx-portable",
    "rtx-pro-6000",
)

#: Dense operations of one multiprocessor in one cycle, by dtype, with float32 accumulate. Sources:
#: NVIDIA's architecture whitepapers of Turing, A100, GA102, Ada (V2.01), H100 and RTX Blackwell.
TURING = {"float32": 128, "float16": 512, "int8": 2048}
GEFORCE = {"float32": 256, "tfloat32": 256, "float16": 512, "bfloat16": 512, "int8": 2048}
GEFORCE_FP8 = {**GEFORCE, "float8e4m3fn": 1024}
PRO = {"float32": 256, "tfloat32": 512, "float16": 1024, "bfloat16": 1024, "int8": 2048}
PRO_FP8 = {**PRO, "float8e4m3fn": 2048}
GA100 = {"float32": 128, "tfloat32": 1024, "float16": 2048, "bfloat16": 2048, "int8": 4096}
ORIN = {**GA100, "float32": 256}
HOPPER = {name: 2 * ops for name, ops in GA100.items()} | {"float8e4m3fn": 8192}
RATES = {
    "a10": PRO,
    "a100": GA100,
    "dgx-spark": PRO_FP8,
    "h100": HOPPER,
    "h200": HOPPER,
    "jetson-agx-orin": ORIN,
    "jetson-orin-nano": ORIN,
    "l4": PRO_FP8,
    "l40s": PRO_FP8,
    "rtx-2060": TURING,
    "rtx-3060": GEFORCE,
    "rtx-3090": GEFORCE,
    "rtx-4060": GEFORCE_FP8,
    "rtx-4090": GEFORCE_FP8,
    "rtx-5090": GEFORCE_FP8,
    "rtx-portable": GEFORCE,
    "rtx-pro-6000": PRO_FP8,
}
#: Hopper clocks its tensor cores lower than its CUDA cores (H100 whitepaper).
TENSOR_CLOCK = {"h100": 1.83e9, "h200": 1.83e9}
#: What TensorRT for RTX 1.7 builds engines for.
RTX = {"7.5", "8.0", "8.6", "8.9", "12.0", "12.1"}

CARD = catalog.load("rtx-4090").to_json()
SINGLE = {"float32": CARD["compute"]["float32"]}
MODULE = {**copy.deepcopy(CARD["gpu"]), "integrated": True, "pcie": None}


def card(**changes: Any) -> dict[str, Any]:
    """Return an RTX 4090 with another value at dotted keys."""
    data = copy.deepcopy(CARD)
    for path, value in changes.items():
        *way, last = path.split("__")
        at = data
        for key in way:
            at = at[key]
        at[last] = value
    return data


def told(data: dict[str, Any]) -> list[str]:
    with pytest.raises(ProfileError) as error:
        catalog.from_json(data, "card.yaml")
    return [str(problem).removeprefix("card.yaml: ") for problem in error.value.problems]


def test_the_catalogue_has_them():
    assert catalog.names("gpu") == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_peaks_are_multiprocessors_x_clock_x_operations(name: str):
    profile = catalog.load(name)
    assert profile.gpu is not None
    assert set(profile.compute) == set(RATES[name])
    for dtype, operations in RATES[name].items():
        boost = profile.gpu.clock.value
        clock = boost if dtype == "float32" else TENSOR_CLOCK.get(name, boost)
        expected = profile.gpu.multiprocessors.value * clock * operations
        assert profile.peak(dtype) == pytest.approx(expected, rel=0.03), dtype


@pytest.mark.parametrize("name", NAMES)
def test_runtimes_serve_the_capability(name: str):
    profile = catalog.load(name)
    assert profile.gpu is not None
    runtimes = [runtime.name for runtime in profile.runtimes]
    assert ("tensorrt-rtx" in runtimes) == (set(profile.gpu.capabilities) <= RTX)
    assert "tensorrt-rtx" not in runtimes[1:]  # what is built here comes first
    assert ("tvm-cuda" in runtimes) == (profile.gpu.capability == "9.0")


@pytest.mark.parametrize("name", NAMES)
def test_the_memory_and_its_default_budget(name: str):
    profile = catalog.load(name)
    assert profile.gpu is not None
    assert profile.gpu.l2.value < profile.main_memory.size.value
    # What the CPU's programs need is not the model's.
    default = profile.main_memory.size.value // 2 if profile.gpu.integrated else None
    assert profile.budget.memory == default


def test_a_portable_engine_is_held_to_the_weakest_card():
    portable = catalog.load("rtx-portable")
    assert portable.gpu is not None
    for name in ("rtx-3060", "rtx-3090", "a10", "rtx-4060", "rtx-4090", "l4", "l40s", "rtx-5090"):
        served = catalog.load(name)
        assert served.gpu is not None
        assert served.gpu.capability in portable.gpu.capabilities
        assert portable.main_memory.size.value <= served.main_memory.size.value
        assert portable.main_memory.bandwidth.value <= served.main_memory.bandwidth.value
        assert portable.gpu.pcie is not None
        assert served.gpu.pcie is not None
        assert portable.gpu.pcie.bandwidth.value <= served.gpu.pcie.bandwidth.value
        assert portable.gpu.l2.value <= served.gpu.l2.value
        for dtype in portable.compute:
            assert (portable.peak(dtype) or 0) <= (served.peak(dtype) or 0)


def test_an_engine_may_serve_several_capabilities():
    profile = catalog.from_json(card(gpu__also=["12.0"]), "card.yaml")
    assert profile.gpu is not None
    assert profile.gpu.capabilities == ("8.9", "12.0")
    assert profile.cpu is None
    assert profile.threads == 1


def test_a_module_has_no_link_of_its_own():
    profile = catalog.from_json(card(gpu=MODULE), "card.yaml")
    assert profile.gpu is not None
    assert profile.gpu.integrated
    assert profile.gpu.pcie is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"gpu": None},
            "gpu: a profile of the kind 'gpu' needs a block gpu",
        ),
        (
            {"gpu__capability": "sm_89"},
            "gpu.capability: 'sm_89' should match pattern '^[1-9][0-9]?\\.[0-9]$'"
            ' (Its compute capability, quoted: "8.9".)',
        ),
        (
            {"gpu__also": ["8.6", "8.6"]},
            "gpu.also[1]: '8.6' is there twice; keep one",
        ),
        (
            {"gpu__also": ["8.9"]},
            "gpu.also[0]: '8.9' is there twice; keep one",
        ),
        (
            {"gpu__also": ["7.5"], "dtypes": ["float32"], "compute": SINGLE},
            "gpu.sparse: tensor cores are sparse from compute capability 8.0 on, not in 7.5;"
            " write false",
        ),
        (
            {"gpu__pcie": None},
            "gpu.pcie: is missing on a card that has its own memory;"
            " give generation and lanes, or integrated: true",
        ),
        (
            {"gpu__integrated": True},
            "gpu.pcie: a GPU that computes from the CPU's memory has none;"
            " remove it, or integrated",
        ),
        (
            {"gpu__pcie__lanes__value": 8},
            "gpu.pcie.bandwidth: 31.5 GB/s is more than 8 lanes of generation 4 carry in one"
            " direction, 15.75 GB/s",
        ),
        (
            {"gpu__also": ["8.6"]},
            "dtypes[4]: 'float8e4m3fn' is computed from compute capability 8.9 on, not in 8.6;"
            " remove it",
        ),
        (
            {"compute": {}},
            "compute.float32: is missing: tensor cores do not compute all;"
            " give the CUDA cores' peak",
        ),
        (
            {"toolchain__cpu": "sm_86"},
            "toolchain.cpu: 'sm_86' is not of gpu.capability 8.9; write sm_89",
        ),
    ],
)
def test_what_contradicts_itself_is_told(changes: dict[str, Any], message: str):
    assert told(card(**changes)) == [message]


def test_only_the_kind_gpu_has_the_block():
    no_block = "gpu: a profile of the kind 'fpga' has no block gpu"
    assert no_block in told(card(kind="fpga"))
