"""The profile `host`, of this machine and of others whose files are made here."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tapeout.errors import ProfileError
from tapeout.profiles import catalog, host
from tapeout.profiles.schema import Profile

XEON_FLAGS = (
    "fpu sse sse2 pni ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt xsave avx f16c lahf_lm abm bmi1 "
    "avx2 bmi2 avx512f avx512dq avx512cd avx512bw avx512vl avx512_vnni"
)


def made(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def cpuinfo(count: int, **keys: str) -> str:
    lines = "".join(f"{key.replace('_', ' ')}\t: {value}\n" for key, value in keys.items())
    return "".join(f"processor\t: {number}\n{lines}\n" for number in range(count))


def xeon(flags: str = XEON_FLAGS, **keys: str) -> str:
    info = {"cpu_family": "6", "model": "85", "cpu_MHz": "3141.592", **keys}
    name = {"model_name": "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz", **info}
    text = cpuinfo(4, **name, flags=flags)
    return text.replace("processor", "vendor_id\t: GenuineIntel\nprocessor", 1).replace(
        "\n\nprocessor", "\n\nvendor_id\t: GenuineIntel\nprocessor"
    )


def cpu_files(cpu: int, siblings: str, **others: str) -> dict[str, str]:
    folder = f"sys/devices/system/cpu/cpu{cpu}"
    return {
        f"{folder}/topology/thread_siblings_list": siblings,
        **{f"{folder}/{name.replace('__', '/')}": text for name, text in others.items()},
    }


def detected(root: Path, machine: str, available: tuple[int, ...]) -> Profile:
    family = {"kind": "cpu", "runtimes": [{"name": "tvm", "version": "1"}]}
    return Profile.model_validate({**family, **host.detect(root, machine, available)})


def sources(profile: Profile) -> dict[str, str]:
    assert profile.cpu is not None
    data = profile.cpu.model_dump()
    return {name: figure["source"] for name, figure in data.items() if figure}


def test_this_machine_is_detected_the_same_twice():
    here = catalog.load("host")
    program = (
        "import json; from tapeout.profiles import catalog;"
        "print(json.dumps(catalog.load('host').to_json()))"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        assert json.loads(done.stdout) == here.to_json()
    assert here.runtimes == catalog.load("raspberry-pi-5").runtimes
    assert here.toolchain.triple.startswith(platform.machine())
    assert here.toolchain.glibc == platform.libc_ver()[1]
    assert here.cpu is not None
    assert here.cpu.cores.value <= len(os.sched_getaffinity(0))


def test_a_server_with_two_threads_on_each_core(tmp_path: Path):
    caches = {
        "cache__index0__level": "1", "cache__index0__type": "Data", "cache__index0__size": "32K",
        "cache__index1__level": "1", "cache__index1__type": "Instruction",
        "cache__index1__size": "64K",
        "cache__index2__level": "2", "cache__index2__type": "Unified",
        "cache__index2__size": "1024K",
        "cache__index3__level": "3", "cache__index3__type": "Unified",
        "cache__index3__size": "28160K",
    }  # fmt: skip
    root = made(
        tmp_path,
        {
            "proc/cpuinfo": xeon(),
            "proc/meminfo": "MemTotal:       16384 kB\nMemFree:         1234 kB\n",
            **cpu_files(0, "0,2", **caches),
            **cpu_files(1, "1,3"),
            **cpu_files(2, "0,2"),
            **cpu_files(3, "1,3"),
        },
    )
    profile = detected(root, "x86_64", (0, 1, 2, 3))
    assert profile.cpu is not None
    assert profile.cpu.cores.value == 2
    assert profile.threads == 2
    assert profile.cpu.clock.value == 2.5e9
    assert (profile.cpu.vector_bits.value, profile.cpu.vector_registers.value) == (512, 32)
    assert profile.cpu.l1 is not None
    assert profile.cpu.l1.value == 32 * 1024
    assert profile.cpu.l3 is not None
    assert profile.cpu.l3.value == 28160 * 1024
    assert profile.main_memory.size.value == 16384 * 1024
    assert profile.budget.memory == 16384 * 1024
    assert (profile.toolchain.cpu, profile.toolchain.features) == ("x86-64-v4", ("+avx512vnni",))
    assert profile.vendor == "GenuineIntel"
    assert profile.peak("float32") == 2 * 2.5e9 * 16 * 2 * 2
    assert profile.peak("int8") == 2 * 2.5e9 * 64 * 2 * 2
    assert "assumed" not in sources(profile).values()


def test_the_momentary_clock_and_the_free_memory_are_not_read(tmp_path: Path):
    def profile(clock: str, free: int) -> dict[str, Any]:
        root = tmp_path / clock
        text = xeon(cpu_MHz=clock, model_name="A virtual CPU")
        memory = f"MemTotal: 16384 kB\nMemFree: {free} kB\n"
        made(root, {"proc/cpuinfo": text, "proc/meminfo": memory, **cpu_files(0, "0")})
        return host.detect(root, "x86_64", (0,))

    assert profile("1000.0", 1) == profile("2000.0", 2)
    assert profile("1000.0", 1)["cpu"]["clock"]["source"] == "assumed"


def test_clocks_are_taken_in_order_of_their_worth(tmp_path: Path):
    files = {"proc/cpuinfo": xeon(), **cpu_files(0, "0", cpufreq__cpuinfo_max_freq="3900000")}
    root = made(tmp_path, files)
    clock = host.detect(root, "x86_64", (0,))["cpu"]["clock"]
    assert (clock["value"], clock["source"]) == (2.5e9, "datasheet")
    made(root, cpu_files(0, "0", cpufreq__base_frequency="2400000"))
    clock = host.detect(root, "x86_64", (0,))["cpu"]["clock"]
    assert (clock["value"], clock["source"]) == (2.4e9, "measured")
    made(root, {"proc/cpuinfo": xeon(model_name="A virtual CPU")})
    (root / "sys/devices/system/cpu/cpu0/cpufreq/base_frequency").unlink()
    clock = host.detect(root, "x86_64", (0,))["cpu"]["clock"]
    assert (clock["value"], clock["source"]) == (3.9e9, "measured")


@pytest.mark.parametrize(
    ("family", "clock", "source"), [("6", 2.59e9, "measured"), ("25", 1.4 * 2.59e9, "assumed")]
)
def test_a_virtual_machine_tells_its_clock_by_its_counter(
    tmp_path: Path, family: str, clock: float, source: str
):
    """Servers with Zen boost further; the digits that differ from start to start do not matter."""
    vendor = "AuthenticAMD" if family == "25" else "GenuineIntel"

    def told(bogomips: str) -> dict[str, Any]:
        text = xeon(
            f"{XEON_FLAGS} constant_tsc",
            model_name="A virtual CPU",
            cpu_family=family,
            bogomips=bogomips,
        )
        files = {"proc/cpuinfo": text.replace("GenuineIntel", vendor), **cpu_files(0, "0")}
        found: dict[str, Any] = host.detect(made(tmp_path, files), "x86_64", (0,))["cpu"]["clock"]
        return found

    assert told("5182.25") == told("5182.24")
    assert told("5182.25")["value"] == pytest.approx(clock)
    assert told("5182.25")["source"] == source


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_without_any_file_all_is_assumed_and_says_so(tmp_path: Path, machine: str):
    profile = detected(tmp_path, machine, (0, 1))
    assert profile.cpu is not None
    found = sources(profile)
    for name in ("cores", "clock", "fma_units", "l1", "l2"):
        assert found[name] == "assumed", name
    assert profile.cpu.l3 is None
    assert profile.main_memory.size.source == "assumed"
    assert profile.toolchain.cpu == {"x86_64": "x86-64", "aarch64": "generic"}[machine]
    assert profile.toolchain.features == ()
    assert profile.cpu.vector_bits.value == 128


def arm(features: str, part: str, count: int) -> str:
    return cpuinfo(
        count, BogoMIPS="108.00", Features=features, CPU_implementer="0x41", CPU_part=part
    )


def test_an_arm_board_of_two_kinds_of_cores(tmp_path: Path):
    """The RK3588: four Cortex-A55 first, then four Cortex-A76."""
    features = "fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
    small, big = arm(features, "0xd05", 4), arm(features, "0xd0b", 8)
    root = made(tmp_path, {"proc/cpuinfo": small + big[big.index("processor\t: 4") :]})
    for cpu in range(8):
        capacity, clock = ("530", "1800000") if cpu < 4 else ("1024", "2400000")
        more = {"cpu_capacity": capacity, "cpufreq__cpuinfo_max_freq": clock}
        made(root, cpu_files(cpu, str(cpu), **more))
    profile = detected(root, "aarch64", tuple(range(8)))
    assert profile.cpu is not None
    assert profile.cpu.cores.value == 4
    assert profile.cpu.clock.value == 2.4e9
    assert profile.cpu.fma_units.note.startswith("Cortex-A76")
    assert profile.peak("float32") == 153.6e9
    assert profile.peak("int8") == 614.4e9
    assert profile.peak("float16") == 307.2e9
    assert profile.toolchain.features == ("+lse", "+rdm", "+fullfp16", "+dotprod")
    assert profile.toolchain.triple == "aarch64-linux-gnu"


def test_an_old_arm_core(tmp_path: Path):
    root = made(tmp_path, {"proc/cpuinfo": arm("fp asimd crc32 cpuid", "0xd03", 4)})
    profile = detected(root, "aarch64", (0, 1, 2, 3))
    assert profile.peak("float32") == 4 * 1.5e9 * 4 * 1 * 2
    assert profile.peak("float16") is None
    assert "float16" in profile.dtypes
    assert profile.toolchain.features == ()


@pytest.mark.parametrize(
    ("flags", "cpu", "features", "bits"),
    [
        ("sse2", "x86-64", (), 128),
        ("cx16 lahf_lm popcnt pni ssse3 sse4_1 sse4_2", "x86-64-v2", (), 128),
        (
            "cx16 lahf_lm popcnt pni ssse3 sse4_1 sse4_2 xsave avx f16c",
            "x86-64-v2",
            ("+avx", "+f16c"),
            256,
        ),
        (XEON_FLAGS.partition(" avx512f")[0], "x86-64-v3", (), 256),
        (f"{XEON_FLAGS.partition(' avx512f')[0]} avx_vnni", "x86-64-v3", ("+avxvnni",), 256),
        (f"{XEON_FLAGS.replace('avx512vl ', '')}", "x86-64-v3",
         ("+avx512f", "+avx512bw", "+avx512cd", "+avx512dq", "+avx512vnni"), 512),
    ],
)  # fmt: skip
def test_levels_of_x86(tmp_path: Path, flags: str, cpu: str, features: tuple[str, ...], bits: int):
    root = made(tmp_path, {"proc/cpuinfo": xeon(flags)})
    profile = detected(root, "x86_64", (0,))
    assert (profile.toolchain.cpu, profile.toolchain.features) == (cpu, features)
    assert profile.cpu is not None
    assert profile.cpu.vector_bits.value == bits
    assert ("float16" in profile.dtypes) == ("f16c" in flags)


@pytest.mark.parametrize(
    ("quota", "threads"), [("max 100000", 4), ("250000 100000", 2), ("50000 100000", 1)]
)
def test_the_control_group_limits_threads_and_memory(tmp_path: Path, quota: str, threads: int):
    root = made(
        tmp_path,
        {
            "proc/cpuinfo": xeon(),
            "proc/meminfo": "MemTotal: 16384 kB\n",
            "sys/fs/cgroup/cpu.max": f"{quota}\n",
            "sys/fs/cgroup/memory.max": "1048576\n",
        },
    )
    profile = detected(root, "x86_64", (0, 1, 2, 3))
    assert profile.threads == threads
    assert profile.main_memory.size.value == 1048576
    assert "control group" in profile.main_memory.size.note


def test_an_unknown_architecture(tmp_path: Path):
    with pytest.raises(ProfileError, match="'s390x' on Linux cannot be detected") as error:
        host.detect(tmp_path, "s390x", (0,))
    assert "x86_64" in error.value.problems[0].fix
