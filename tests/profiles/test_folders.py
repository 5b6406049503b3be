"""Profiles of the user: files, folders, inheritance, and all that is wrong at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tapeout.errors import ProfileError
from tapeout.profiles import catalog

BOARD = """\
extends: cortex-a76
name: board
title: A board
vendor: Somebody
cpu:
  cores: {value: 4, source: datasheet, note: "four"}
  clock: {value: 2 GHz, source: datasheet, note: "two"}
memories:
  - name: dram
    size: {value: 1 GiB, source: datasheet, note: "one"}
    bandwidth: {value: 8 GB/s, source: datasheet, note: "eight"}
    holds: [weights, activations]
"""


def write(path: Path, text: str = BOARD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def problems(error: pytest.ExceptionInfo[ProfileError]) -> list[str]:
    return [str(problem) for problem in error.value.problems]


def test_a_file_is_loaded_by_its_path(tmp_path: Path):
    path = write(tmp_path / "board.yaml")
    profile = catalog.load(path)
    assert catalog.load(str(path)) == profile
    assert profile.peak("float32") == 4 * 2e9 * 4 * 2 * 2
    assert profile.toolchain.cpu == "cortex-a76"


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ProfileError, match="there is no such file"):
        catalog.load(tmp_path / "none.yaml")


def test_a_users_folder_adds_and_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first, second = tmp_path / "first", tmp_path / "second"
    write(first / "board.yaml")
    write(second / "cpu" / "board.yaml", BOARD.replace("A board", "Another"))
    write(second / "raspberry-pi-5.yaml", "extends: raspberry-pi-5\ntitle: Mine, with 2 GB\n")
    built_in = catalog.names()
    before = catalog.load("raspberry-pi-5")
    monkeypatch.setenv("TAPEOUT_PROFILES", f"{first}{os.pathsep}{os.pathsep}{second}")
    assert catalog.names() == tuple(sorted({*built_in, "board"}))
    assert catalog.load("board").title == "A board"
    mine = catalog.load("raspberry-pi-5")
    assert mine.title == "Mine, with 2 GB"
    assert mine.cpu == before.cpu


def test_a_user_may_correct_the_detected_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    detected = catalog.load("host")
    assert detected.cpu is not None
    clock = "cpu:\n  clock: {value: 1.25 GHz, source: measured, note: turbostat}\n"
    write(tmp_path / "host.yaml", f"extends: host\n{clock}")
    monkeypatch.setenv("TAPEOUT_PROFILES", str(tmp_path))
    corrected = catalog.load("host")
    assert corrected.cpu is not None
    assert corrected.cpu.clock.value == 1.25e9
    assert corrected.cpu.cores == detected.cpu.cores
    ratio = detected.cpu.clock.value / 1.25e9
    assert corrected.peak("float32") == pytest.approx(detected.peak("float32") / ratio)


def test_a_users_family_does_not_change_what_built_in_profiles_inherit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = catalog.load("raspberry-pi-5")
    write(tmp_path / "family" / "cortex-a76.yaml", "extends: aarch64\ntoolchain: {cpu: generic}\n")
    write(tmp_path / "board.yaml")
    monkeypatch.setenv("TAPEOUT_PROFILES", str(tmp_path))
    assert catalog.load("raspberry-pi-5") == before
    with pytest.raises(ProfileError, match=r"cpu\.fma_units: is missing"):
        catalog.load("board")
    assert "cortex-a76" not in catalog.names()


def test_a_folder_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("TAPEOUT_PROFILES", f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}")
    with pytest.raises(ProfileError, match="TAPEOUT_PROFILES is wrong") as error:
        catalog.names()
    assert len(error.value.problems) == 2


def test_two_profiles_of_one_name_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "a" / "board.yaml")
    write(tmp_path / "b" / "board.yaml")
    monkeypatch.setenv("TAPEOUT_PROFILES", str(tmp_path))
    with pytest.raises(ProfileError, match="a second profile called 'board'"):
        catalog.names()


def test_a_name_that_is_not_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "other.yaml")
    monkeypatch.setenv("TAPEOUT_PROFILES", str(tmp_path))
    with pytest.raises(ProfileError) as error:
        catalog.load("other")
    where = f"{tmp_path / 'other.yaml'}:2"
    assert problems(error) == [
        f"{where}: name: 'board' is not the file's name (write other, or rename the file)"
    ]


def test_every_wrong_profile_of_the_catalogue_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path / "one.yaml", BOARD.replace("name: board", "name: one\nkind: tpu"))
    write(tmp_path / "two.yaml", BOARD.replace("name: board", "name: two\ncolour: red"))
    monkeypatch.setenv("TAPEOUT_PROFILES", str(tmp_path))
    with pytest.raises(ProfileError) as error:
        catalog.profiles()
    assert len(error.value.problems) == 2
    assert "'tpu'" in str(error.value)
    assert "colour" in str(error.value)


def test_figures_are_replaced_whole_and_lists_too(tmp_path: Path):
    write(tmp_path / "parent.yaml", BOARD.replace("name: board", "name: parent"))
    child = "extends: parent\nname: child\ncpu:\n  cores: {value: 2, source: assumed}\n"
    path = write(tmp_path / "child.yaml", f"{child}dtypes: [float32, float64, float16, int8]\n")
    profile = catalog.load(path)
    assert profile.cpu is not None
    assert profile.cpu.cores.model_dump() == {"value": 2, "source": "assumed", "note": ""}
    assert profile.cpu.clock.note == "two"
    assert profile.dtypes == ("float32", "float64", "float16", "int8")
    assert profile.compute["float32"].peak is not None
    assert profile.compute["float32"].peak.source == "assumed"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a": "a"}, r"a\.yaml:1: extends: a circle: a extends itself"),
        ({"a": "b", "b": "a"}, r"b\.yaml:1: extends: a circle: a -> b -> a"),
        ({"a": "b", "b": "c", "c": "b"}, r"c\.yaml:1: extends: a circle: b -> c -> b"),
        ({"a": "nobody"}, r"a\.yaml:1: extends: there is no 'nobody' beside the file"),
        ({"a": "../../etc/passwd"}, r"extends: '../../etc/passwd' is not a profile's name"),
        ({"a": "/etc/passwd"}, r"extends: '/etc/passwd' is not a profile's name"),
        ({"a": "[b, c]"}, r"extends: a list is not a profile's name"),
        ({f"p{n}": f"p{n + 1}" for n in range(9)}, "more than 8 files inherit"),
    ],
)
def test_wrong_extends(tmp_path: Path, files: dict[str, str], told: str):
    for name, parent in files.items():
        write(
            tmp_path / f"{name}.yaml", f"extends: {parent}\nname: {name}\nlimits: {{threads: 1}}\n"
        )
    with pytest.raises(ProfileError, match=told) as error:
        catalog.load(tmp_path / f"{next(iter(files))}.yaml")
    # The rest of the file is checked too, but what the parent might have said is not missed.
    assert "limits.threads" in str(error.value)
    assert "is missing" not in str(error.value)


def test_a_parent_that_a_link_leads_out_to_is_not_read(tmp_path: Path):
    secret = write(tmp_path / "secret.yaml", "password: hunter2\n")
    folder = tmp_path / "folder"
    path = write(folder / "board.yaml", "extends: parent\n")
    (folder / "parent.yaml").symlink_to(secret)
    with pytest.raises(ProfileError, match="there is no 'parent'") as error:
        catalog.load(path)
    assert "hunter2" not in str(error.value)
    assert "password" not in str(error.value)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path):
    path = write(
        tmp_path / "board.yaml",
        """\
extends: cortex-a76
name: board
titel: A board
vendor: Somebody
kind: tpu
runtimes:
  - {name: tvm, version: }
cpu:
  cores: 4
  clock: {value: 2 GB, source: datasheet}
  l1: {value: 64, source: guessed}
  l2: {value: -1 KiB, source: datasheet}
compute:
  float31: {}
memories:
  - name: dram
    size: {value: 1 GiB, source: datasheet}
    holds: [weights, secrets]
    holds: []
toolchain:
  features: [dotprod]
  glibc: new
budget: {latency: 5 parsecs}
""",
    )
    with pytest.raises(ProfileError, match="is wrong") as error:
        catalog.load(path)
    told = {line.partition(": ")[0].removeprefix(f"{path}:"): [] for line in problems(error)}
    for line in problems(error):
        told[line.partition(": ")[0].removeprefix(f"{path}:")].append(line.partition(": ")[2])
    assert told == {
        "1": ["title: is missing (Its name for people.)"],
        "3": ["titel: is not a key here (did you mean title?)"],
        "5": ["kind: 'tpu' is none of the choices ('cpu', 'gpu', 'mobile' or 'fpga')"],
        "7": [
            "runtimes[0].version: None should be a valid string"
            " (The version the bundle is built for.)"
        ],
        "9": [
            "cpu.cores: '4' is not a mapping"
            " (write {value: NUMBER UNIT, source: datasheet|measured|assumed, note: TEXT})"
        ],
        "10": [
            "cpu.clock.value: '2 GB' is not a quantity in hertz"
            " (write a number and one of Hz, KHz, MHz, GHz)"
        ],
        "11": [
            "cpu.l1.value: '64' is not a quantity in bytes"
            " (write a number and one of B, KB, MB, GB, KiB, MiB, GiB)",
            "cpu.l1.source: 'guessed' is none of the choices"
            " ('datasheet', 'measured' or 'assumed')",
        ],
        "12": [
            "cpu.l2.value: '-1 KiB' is not a quantity in bytes"
            " (write a number and one of B, KB, MB, GB, KiB, MiB, GiB)"
        ],
        "14": [
            "compute.float31: 'float31' is none of the choices ('float64', 'float32', 'tfloat32',"
            " 'float16', 'bfloat16', 'float8e4m3fn', 'int64', 'int32', 'int16', 'int8', 'int4',"
            " 'uint64', 'uint32', 'uint16', 'uint8' or 'bool')"
        ],
        "16": ["memories[0].bandwidth: is missing (Its peak bandwidth, all cores together.)"],
        "18": [
            "memories[0].holds[1]: 'secrets' is none of the choices"
            " ('weights', 'activations', 'code' or 'io')"
        ],
        "19": ["holds: is given twice, first on line 18 (keep one)"],
        "21": [
            "toolchain.features[0]: 'dotprod' should match pattern"
            " '^[+-][A-Za-z0-9][A-Za-z0-9._-]*$'"
            " (LLVM features beyond the processor's own: +dotprod.)"
        ],
        "22": [
            "toolchain.glibc: 'new' should match pattern '^[0-9]+\\.[0-9]+$'"
            ' (The oldest glibc the bundle must run with, quoted: "2.28".)'
        ],
        "23": [
            "budget.latency: '5 parsecs' is not a quantity in seconds"
            " (write a number and one of ns, us, µs, ms, s)"
        ],
    }  # fmt: skip


def test_a_fault_of_the_family_is_told_with_its_file(tmp_path: Path):
    write(tmp_path / "family.yaml", "extends: cortex-a76\ntoolchain: {glibc: old}\n")
    path = write(tmp_path / "board.yaml", BOARD.replace("cortex-a76", "family"))
    with pytest.raises(ProfileError) as error:
        catalog.load(path)
    (told,) = problems(error)
    assert told.startswith(f"{tmp_path / 'family.yaml'}:2: toolchain.glibc: 'old'")


def test_a_manifests_profile_that_is_wrong_is_told(tmp_path: Path):
    data = catalog.load("raspberry-pi-5").to_json()
    data["cpu"]["clock"]["value"] = -1.0
    data["memories"] = {"dram": 1}
    with pytest.raises(ProfileError) as error:
        catalog.from_json(data, "manifest.json")
    assert problems(error) == [
        "manifest.json: cpu.clock.value: -1.0 should be greater than 0"
        " (The figure, with its unit.)",
        "manifest.json: memories: a mapping should be a valid tuple"
        " (The memories, the one that activations live in first.)",
    ]
