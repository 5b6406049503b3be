"""What Vela is told, and what is made of what it says."""

from __future__ import annotations

import configparser
from importlib import metadata
from pathlib import Path

import ethos
import pytest

from tapeout.errors import ProfileError, TapeoutError
from tapeout.profiles import catalog
from tapeout.profiles.schema import EthosU
from tapeout.targets.tflite.ethos_u import vela
from tapeout.targets.tflite.ethos_u.optimised import optimised
from tapeout.targets.tflite.lower import to_tflite


def npu_of(name: str) -> EthosU:
    found = catalog.load(name).ethos_u
    assert found is not None
    return found


@pytest.mark.parametrize("name", ethos.DEVICES)
def test_the_profiles_say_what_vela_is_told(name: str) -> None:
    """Bandwidth is clock times the width of the ports: 8 bytes of U55, 16 of U65."""
    profile, npu = catalog.load(name), npu_of(name)
    files = metadata.files("ethos-u-vela") or ()
    (installed,) = [file.locate() for file in files if file.name == "vela.ini"]
    config = configparser.ConfigParser()
    config.read(str(installed))
    system = config[f"System_Config.{npu.system}"]
    clock, width = float(system["core_clock"]), 8 if "u55" in name else 16
    assert npu.peak.value == 2 * int(npu.accelerator.rpartition("-")[2]) * clock
    ports = {"sram": "Sram", "dram": "Dram", "flash": "OffChipFlash"}
    for memory in profile.memories:
        scale = float(system[f"{ports[memory.name]}_clock_scale"])
        assert memory.bandwidth.value == pytest.approx(scale * clock * width)
    own = config[f"Memory_Mode.{npu.memory_mode}"].get("arena_cache_size")
    sizes = {memory.name: memory.size.value for memory in profile.memories}
    assert own is None or int(own) == sizes["sram"]
    assert profile.runtimes[0].version == metadata.version("ethos-u-vela")


@pytest.mark.parametrize("name", ethos.DEVICES)
def test_the_memory_is_what_vela_says(name: str, tmp_path: Path) -> None:
    """Its summary gives SRAM in KiB: the arena's, or that of an NPU with SRAM of its own."""
    npu = npu_of(name)
    content = to_tflite(ethos.real("digits_cnn"))
    (tmp_path / "model.tflite").write_bytes(content)
    vela._run(tmp_path, vela._arguments(npu, "performance", None))
    figures = vela._summary(tmp_path / f"model_summary_{npu.system}.csv")
    made = vela.compiled(content, npu, "performance", None)
    assert made.content == (tmp_path / "model_vela.tflite").read_bytes()
    found = optimised(made.content)
    sram = found.fast or found.arena
    assert sram == round(float(figures["sram_memory_used"]) * 1024)
    assert (found.fast > 0) == ("Dedicated" in npu.memory_mode)
    assert made.seconds == pytest.approx(float(figures["inference_time"]))


@pytest.mark.parametrize(
    ("key", "value"), [("memory_mode", "Sram_Nowhere"), ("accelerator", "ethos-u55-100")]
)
def test_a_configuration_that_vela_does_not_know(key: str, value: str) -> None:
    npu = npu_of("ethos-u55-128").model_copy(update={key: value})
    with pytest.raises(ProfileError, match=value) as caught:
        vela.compiled(b"", npu, "size", None)
    assert caught.value.exit_code == 2


def test_a_file_on_which_vela_fails() -> None:
    with pytest.raises(TapeoutError, match="Vela (crashed|failed|does not take)"):
        vela.compiled(b"\0" * 64, npu_of("ethos-u55-128"), "size", None)
