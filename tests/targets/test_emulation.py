"""The roots for emulation: what they are made of, and that they appear whole or not at all."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import threading
import time
import zipfile
from pathlib import Path

import pytest

from tapeout.errors import MissingToolError
from tapeout.targets import emulation
from tapeout.targets.emulation import Recipe, System, interpreter, missing, prepare
from tapeout.targets.tvm.root import RECIPES

ARM = RECIPES["aarch64"]


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAPEOUT_ROOTS", str(tmp_path / "roots"))
    return tmp_path / "roots"


def test_the_runtime_is_the_one_that_compiles() -> None:
    for name, version in ARM.wheels:
        assert importlib.metadata.version(name) == version


def test_the_digest_covers_the_recipe(roots: Path) -> None:
    newer = dataclasses.replace(ARM, wheels=(("numpy", "9.9"),))
    assert newer.path != ARM.path
    assert ARM.path.parent == roots
    assert ARM.path.name.startswith("tvm-arm64-bookworm-")
    system = dataclasses.replace(ARM.system, suite="trixie")
    assert dataclasses.replace(ARM, system=system).path != ARM.path
    assert system.path != ARM.system.path


def test_the_place_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAPEOUT_ROOTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert ARM.path.parent == tmp_path / "tapeout" / "roots"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert ARM.path.parent == tmp_path / "home" / ".cache" / "tapeout" / "roots"


def test_the_prepared_root_runs_python_of_its_architecture() -> None:
    assert missing(ARM) == []
    machine = "import platform; print(platform.machine())"
    assert emulation._call([*interpreter(ARM), "-I", "-c", machine]) == "aarch64\n"


def test_a_root_that_is_there_is_used_as_it_is(
    roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ARM.path.mkdir(parents=True)
    monkeypatch.setenv("PATH", "")  # nothing is called
    assert prepare(ARM) == ARM.path


def test_a_failure_leaves_nothing(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(system: System, directory: Path) -> list[Path]:
        directory.mkdir()
        raise MissingToolError("the download failed")

    monkeypatch.setattr(emulation, "_download_packages", fail)
    with pytest.raises(MissingToolError, match="the download failed"):
        prepare(ARM)
    assert [path.suffix for path in roots.iterdir()] == [".lock", ".lock"]


def test_a_root_that_cannot_run_the_program_is_not_put_in_place(
    roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulation, "_download_packages", lambda _, directory: [])
    monkeypatch.setattr(emulation, "_download_wheels", lambda _, directory: [])
    with pytest.raises(MissingToolError, match=r"qemu-aarch64-static .*python3\.11"):
        prepare(ARM)
    assert not ARM.path.exists()


def test_two_at_once_make_one_root(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make(recipe: Recipe, root: Path, scratch: Path) -> None:
        made.append(recipe)
        time.sleep(0.1)
        root.mkdir()

    monkeypatch.setattr(emulation, "_make_root", make)
    threads = [threading.Thread(target=prepare, args=(ARM,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [ARM]


def test_what_a_killed_run_left_is_removed(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    abandoned = roots / f".{ARM.path.name}.abcdefgh"
    (abandoned / "root").mkdir(parents=True)
    monkeypatch.setattr(emulation, "_download_packages", lambda _, directory: [])
    monkeypatch.setattr(emulation, "_download_wheels", lambda _, directory: [])
    monkeypatch.setattr(emulation, "_python", lambda _, directory: ["true"])
    assert prepare(ARM).is_dir()
    assert not abandoned.exists()


def test_every_missing_tool_is_told(
    roots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError) as caught:
        prepare(ARM)
    named = [problem.where for problem in caught.value.problems]
    assert named == ["qemu-aarch64-static", "apt-get", "dpkg-deb"]
    assert not roots.exists()


def test_a_system_without_a_mirror_is_told_how_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAPEOUT_DEBIAN_MIRROR", raising=False)
    with pytest.raises(MissingToolError, match="apt knows no mirror of Debian potato") as caught:
        emulation._mirror(dataclasses.replace(ARM.system, suite="potato"))
    assert caught.value.problems[0].fix == "set TAPEOUT_DEBIAN_MIRROR to a mirror's URI"
    monkeypatch.setenv("TAPEOUT_DEBIAN_MIRROR", "file:/mirror")
    assert emulation._mirror(ARM.system) == "file:/mirror"


def test_of_the_compiler_s_wheel_only_the_runtime_is_kept(tmp_path: Path) -> None:
    names = {
        "apache_tvm-0.27.0-py3-none-any.whl": [
            "tvm/__init__.py",
            "tvm/lib/libtvm_compiler.so",
            "tvm/lib/libtvm_runtime.so",
            "tvm/lib/libtvm_runtime_cuda.so",
            "apache_tvm-0.27.0.dist-info/RECORD",
        ],
        "apache_tvm_ffi-0.1.14-cp311-cp311-any.whl": ["tvm_ffi/__init__.py"],
    }
    for wheel, members in names.items():
        with zipfile.ZipFile(tmp_path / wheel, "w") as archive:
            for member in members:
                archive.writestr(member, "")
        emulation._unpack_wheel(tmp_path / wheel, tmp_path / "site", ARM)
    found = sorted(path for path in (tmp_path / "site").rglob("*") if path.is_file())
    assert [path.relative_to(tmp_path / "site").as_posix() for path in found] == [
        "apache_tvm-0.27.0.dist-info/RECORD",
        "tvm/lib/libtvm_runtime.so",
        "tvm_ffi/__init__.py",
    ]
