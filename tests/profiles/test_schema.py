"""The schema: quantities, peaks against their factors, and what a profile answers."""

from __future__ import annotations

import copy
from typing import Any

import pydantic
import pytest

from tapeout.profiles.schema import Block, Compute, Finding, FindingsError, Profile


def given(value: object, source: str = "datasheet") -> dict[str, object]:
    return {"value": value, "source": source, "note": "for a test"}


BOARD: dict[str, Any] = {
    "name": "board",
    "title": "A board",
    "vendor": "Somebody",
    "kind": "cpu",
    "runtimes": [{"name": "tvm", "version": "1"}],
    "dtypes": ["float32", "int8"],
    "cpu": {
        "cores": given("4"),
        "clock": given("1.5 GHz"),
        "vector_bits": given("128"),
        "vector_registers": given("32"),
        "fma_units": given("0.5", "assumed"),
    },
    "compute": {"float32": {}},
    "memories": [
        {
            "name": "dram",
            "size": given("1 GiB"),
            "bandwidth": given("17.1 GB/s"),
            "holds": ["activations"],
        }
    ],
    "toolchain": {"triple": "aarch64-linux-gnu", "cpu": "generic"},
}


def board(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(BOARD), **changes}


def finding(data: dict[str, Any]) -> list[Finding]:
    with pytest.raises(pydantic.ValidationError) as error:
        Profile.model_validate(data)
    (details,) = error.value.errors()
    cause = details["ctx"]["error"]
    assert isinstance(cause, FindingsError)
    return [((*map(str, details["loc"]), *keys), message) for keys, message in cause.found]


def test_quantities_are_kept_in_base_units():
    profile = Profile.model_validate(board(budget={"memory": "512 KiB", "latency": "5 ms"}))
    assert profile.cpu is not None
    assert profile.cpu.clock.value == 1.5e9
    assert profile.main_memory.size.value == 2**30
    assert profile.main_memory.bandwidth.value == 17_100_000_000
    assert profile.budget.memory == 524_288
    assert profile.budget.latency == 0.005
    assert profile.budget.storage is None
    assert (profile.cpu.l1, profile.limits.threads, profile.toolchain.abi) == (None, None, None)


@pytest.mark.parametrize(
    "value", ["2", "2 GB", "fast", "", "-1 GHz", "1e400 GHz", "0 GHz", "nan GHz"]
)
def test_a_wrong_quantity_is_refused(value: str):
    data = board()
    data["cpu"]["clock"]["value"] = value
    with pytest.raises(pydantic.ValidationError) as error:
        Profile.model_validate(data)
    assert error.value.errors()[0]["loc"] == ("cpu", "clock", "value")


def test_a_peak_follows_from_the_cpu_and_is_as_good_as_its_worst_factor():
    entry = Profile.model_validate(board()).compute["float32"]
    assert entry.lanes is not None
    assert entry.lanes.value == 4
    assert entry.units is not None
    assert entry.units.value == 0.5
    assert entry.peak is not None
    assert entry.peak.value == 4 * 1.5e9 * 4 * 0.5 * 2
    assert entry.peak.source == "assumed"
    assert entry.peak.note == "4 cores x 1.5 GHz x 4 lanes x 0.5 units x 2"


def test_factors_of_an_entry_override_those_of_the_cpu():
    factors = {"lanes": given("16"), "units": given("2", "measured")}
    profile = Profile.model_validate(board(compute={"int8": factors}))
    assert profile.peak("int8") == 4 * 1.5e9 * 16 * 2 * 2
    assert profile.compute["int8"].peak is not None
    assert profile.compute["int8"].peak.source == "measured"
    assert profile.peak("float32") is None
    assert profile.peak("no such dtype") is None


def test_a_peak_alone_is_taken():
    profile = Profile.model_validate(board(compute={"float32": {"peak": given("20 Gop/s")}}))
    assert profile.peak("float32") == 20e9
    assert profile.compute["float32"].lanes is None


def test_a_peak_may_be_rounded_but_not_disagree_with_its_factors():
    rounded = {"int8": {"lanes": given("16"), "peak": given("96.5 Gop/s")}}
    assert Profile.model_validate(board(compute=rounded)).peak("int8") == 96.5e9
    wrong = {
        "int8": {"lanes": given("16"), "peak": given("90 Gop/s")},
        "float32": {"units": given("1"), "peak": given("1 Top/s")},
    }
    assert finding(board(compute=wrong)) == [
        (
            ("compute", "int8", "peak"),
            "90 Gop/s is not 4 cores x 1.5 GHz x 16 lanes x 0.5 units x 2 = 96 Gop/s",
        ),
        (
            ("compute", "float32", "peak"),
            "1000 Gop/s is not 4 cores x 1.5 GHz x 4 lanes x 1 units x 2 = 48 Gop/s",
        ),
    ]


def test_a_peak_of_a_dtype_that_is_not_supported():
    assert finding(board(compute={"float64": {}})) == [
        (("compute", "float64"), "'float64' is not among dtypes")
    ]


@pytest.mark.parametrize("kind", ["cpu", "mobile"])
def test_kind_and_cpu_belong_together(kind: str):
    assert Profile.model_validate(board(kind=kind)).threads == 4
    without = {key: value for key, value in board(kind=kind).items() if key != "cpu"}
    missing = [
        (("compute", "float32", "peak"), "is missing, and there is no cpu to compute it from")
    ]
    assert finding(without) == missing
    without["compute"] = {"float32": {"peak": given("1 Gop/s")}}
    needs = f"a profile of the kind {kind!r} needs a block cpu"
    assert finding(without) == [(("cpu",), needs)]


def test_an_fpga_has_no_cpu_but_a_block_of_its_own():
    assert finding(board(kind="fpga")) == [
        (("cpu",), "a profile of the kind 'fpga' has no block cpu"),
        (("fpga",), "a profile of the kind 'fpga' needs a block fpga"),
    ]


GPU: dict[str, Any] = {
    "name": "mali",
    "title": "A Mali",
    "delegates": ["gpu", "nnapi"],
    "compute": {"float16": {"peak": given("2 Top/s")}},
    "bandwidth": given("30 GB/s"),
}


def test_accelerators_are_reached_by_delegates():
    npu = {**GPU, "name": "npu", "delegates": ["nnapi"]}
    phone = board(kind="mobile", android={"api": given("30")}, accelerators=[GPU, npu])
    profile = Profile.model_validate(phone)
    assert [item.name for item in profile.reached_by("nnapi")] == ["mali", "npu"]
    assert [item.name for item in profile.reached_by("gpu")] == ["mali"]
    assert profile.accelerators[0].compute["float16"].peak.value == 2e12
    assert Profile.model_validate(profile.to_json()) == profile


def test_what_only_phones_have():
    phone = {"android": {"api": given("30")}, "accelerators": [GPU]}
    assert finding(board(**phone)) == [
        (("android",), "a profile of the kind 'cpu' has no android"),
        (("accelerators",), "a profile of the kind 'cpu' has no accelerators"),
    ]
    old = {"android": {"api": given("26")}, "accelerators": [GPU, {**GPU, "delegates": ["gpu"]}]}
    wrong = [
        (
            ("accelerators", 0, "delegates"),
            "NNAPI is part of Android, from API 27 on; see android.api",
        ),
        (("accelerators", 1, "name"), "'mali' is there twice"),
    ]
    assert finding(board(kind="mobile", **old)) == wrong
    assert finding(board(kind="mobile", accelerators=old["accelerators"])) == wrong


def test_threads_are_the_cores_unless_limited():
    assert Profile.model_validate(board()).threads == 4
    assert Profile.model_validate(board(limits={"threads": given("2")})).threads == 2


def test_the_main_memory_holds_the_activations():
    sram = {
        "name": "sram",
        "size": given("64 KiB"),
        "bandwidth": given("32 GB/s"),
        "holds": ["code"],
    }
    profile = Profile.model_validate(board(memories=[sram, *BOARD["memories"]]))
    assert profile.main_memory.name == "dram"
    assert Profile.model_validate(board(memories=[sram])).main_memory.name == "sram"


def test_a_profile_is_read_only():
    profile = Profile.model_validate(board())
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        profile.title = "Another"


def test_the_digest_covers_every_figure():
    profile = Profile.model_validate(board())
    assert len(profile.digest) == 64
    assert Profile.model_validate(board()).digest == profile.digest
    other = board()
    other["cpu"]["clock"]["note"] = "another"
    assert Profile.model_validate(other).digest != profile.digest


def blocks(block: type[Block] = Block) -> list[type[Block]]:
    return [found for child in block.__subclasses__() for found in (child, *blocks(child))]


def test_every_field_is_described_on_one_line():
    assert {Profile, Compute} <= set(blocks())
    for block in blocks():
        for name, field in block.model_fields.items():
            assert field.description, f"{block.__name__}.{name}"
            assert "\n" not in field.description
