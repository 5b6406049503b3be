"""The profiles of GPUs: their figures against one another, and what contradicts itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tapeout.errors import ProfileError
from tapeout.profiles import catalog
from tapeout.profiles.schema import Profile

NAMES = ("rtx-4090",)
CARD = catalog.load("rtx-4090").to_json()
MODULE = {**copy.deepcopy(CARD["gpu"]), "integrated": True, "pcie": None}


def gpu(name: str) -> Profile:
    return catalog.load(name)


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
            {"gpu__also": ["7.5"], "dtypes": ["float32", "float16", "int8"], "compute": {}},
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
            {"toolchain__cpu": "sm_86"},
            "toolchain.cpu: 'sm_86' is not of gpu.capability 8.9; write sm_89",
        ),
        (
            {"kind": "fpga"},
            "gpu: a profile of the kind 'fpga' has no block gpu",
        ),
    ],
)
def test_what_contradicts_itself_is_told(changes: dict[str, Any], message: str):
    assert told(card(**changes)) == [message]
