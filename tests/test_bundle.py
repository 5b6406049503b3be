from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tapeout.budget import Figure, Usage
from tapeout.bundle import (
    MANIFEST,
    Bundle,
    Device,
    Manifest,
    ModelFile,
    PlanRecord,
    Runtime,
    describe_files,
    opened,
    staged,
    write_manifest,
)
from tapeout.errors import UsageError, VerificationError


def manifest(directory: Path, **changes: Any) -> Manifest:
    figure = Figure(1, "B", "exact")
    fields: dict[str, Any] = {
        "tapeout": "0",
        "status": "compiled",
        "model": ModelFile(file="m.onnx", sha256="0" * 64, opset=18),
        "device": Device(name="host", digest="0" * 64, profile={}),
        "runtime": Runtime(name="tvm", version="0"),
        "plan": PlanRecord(runtime="tvm", precision="fp32", options={}),
        "passes": "",
        "usage": Usage(figure, figure).to_json(),
        "budget": {},
        "verdict": {},
        "tolerance": 1e-4,
        "inputs": (),
        "outputs": (),
        "engine": "engine.so",
        "artifacts": describe_files(directory),
        "toolchain": {},
        "report": {},
    }
    return Manifest(**(fields | changes))


def fill(directory: Path) -> Bundle:
    (directory / "engine.so").write_bytes(b"engine")
    (directory / "run").mkdir()
    (directory / "run" / "run.py").write_text("print()\n")
    return write_manifest(directory, manifest(directory))


def make(path: Path) -> Path:
    with staged(path, force=False) as directory:
        fill(directory)
    return path


@pytest.mark.parametrize("name", ["x.bundle", "x.tar"])
def test_a_bundle_is_written_and_opened(tmp_path: Path, name: str) -> None:
    with opened(make(tmp_path / name)) as bundle:
        assert bundle.check_digests() == []
        assert bundle.engine.read_bytes() == b"engine"
    assert [item.name for item in tmp_path.iterdir()] == [name]


def test_an_archive_has_the_same_bytes_twice(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a.tar"), make(tmp_path / "b.tar")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", ["x.bundle", "x.tar"])
def test_a_failure_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(RuntimeError), staged(tmp_path / name, force=False) as directory:
        fill(directory)
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_an_existing_bundle_is_replaced_by_force_only(tmp_path: Path) -> None:
    path = make(tmp_path / "x.bundle")
    (path / "mark").touch()
    with pytest.raises(UsageError, match="--force"), staged(path, force=False):
        pass
    with staged(path, force=True) as directory:
        fill(directory)
    assert not (path / "mark").exists()


def test_a_failure_keeps_the_old_bundle(tmp_path: Path) -> None:
    path = make(tmp_path / "x.bundle")
    with pytest.raises(RuntimeError), staged(path, force=True):
        raise RuntimeError
    with opened(path) as bundle:
        assert bundle.check_digests() == []


def test_what_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").touch()
    with pytest.raises(UsageError, match="is not a bundle"), staged(tmp_path / "home", force=True):
        pass
    assert (tmp_path / "home" / "thesis.txt").exists()


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = make(tmp_path / "x.bundle")
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        content = file.read_bytes()
        for position in range(len(content)):
            changed = bytearray(content)
            changed[position] ^= 1
            file.write_bytes(changed)
            with pytest.raises(VerificationError), opened(path) as bundle:
                bundle.require_digests()
        file.write_bytes(content)
    with opened(path) as bundle:
        bundle.require_digests()


def test_missing_and_foreign_files_are_all_named(tmp_path: Path) -> None:
    path = make(tmp_path / "x.bundle")
    (path / "engine.so").unlink()
    (path / "extra").touch()
    (path / "link").symlink_to("/etc/passwd")
    with opened(path) as bundle:
        assert [problem.where for problem in bundle.check_digests()] == [
            "engine.so",
            "extra",
            "link",
        ]


@pytest.mark.parametrize("outside", ["../x", "/etc/passwd", "a/../../x", ""])
def test_a_manifest_that_leaves_its_folder_is_refused(tmp_path: Path, outside: str) -> None:
    path = make(tmp_path / "x.bundle")
    write_manifest(path, manifest(path, engine=outside))
    with pytest.raises(VerificationError, match="leaves the bundle"), opened(path):
        pass


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[" * 100_000, b"\xff", b'{"format": 2}', b"null"],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    path = make(tmp_path / "x.bundle")
    (path / MANIFEST).write_bytes(content)
    with pytest.raises(VerificationError, match="cannot be read"), opened(path):
        pass


def test_a_wrong_usage_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "x.bundle")
    data = json.loads((path / MANIFEST).read_text())
    for usage in ({}, {"memory": 1, "parts": {}}, {"parts": []}):
        (path / MANIFEST).write_text(json.dumps(data | {"usage": usage}))
        with pytest.raises(VerificationError), opened(path):
            pass


def test_an_archive_with_a_link_or_an_outside_member_is_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("engine.so")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    for index, member in enumerate([link, tarfile.TarInfo("../../outside")]):
        file = tmp_path / f"{index}.tar"
        with tarfile.open(file, "w") as archive:
            archive.addfile(member)
        with pytest.raises(VerificationError), opened(file):
            pass
    assert not (tmp_path.parent / "outside").exists()


def test_no_bundle_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no bundle"), opened(tmp_path / "x"):
        pass
    with pytest.raises(UsageError, match="has no manifest"), opened(tmp_path):
        pass
