"""Plans of builds: their keys, what executes them, and the cache of what they wrote."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import pytest

from tapeout.errors import MissingToolError, TapeoutError
from tapeout.targets.fpga.implementation import cache as build_cache
from tapeout.targets.fpga.implementation.build import BuildPlan, Step, Tool, execute_plan, require
from tapeout.targets.fpga.implementation.cache import Cache, machine_code, user_cache

#: A tool that every Python has.
ZIP = Tool("zip", "python-zip", "zipfile", "main")


def zipped() -> Step:
    return Step("zipping", ZIP, ("-c", "out.zip", "a.txt"), ("out.zip",))


UNZIPPED = Step("unzipping", ZIP, ("-e", "out.zip", "."), ("a.txt",))


def plan(*steps: Step, text: str = "hello", version: str = "1") -> BuildPlan:
    return BuildPlan({"a.txt": text}, steps, {ZIP.package: version})


def test_a_key_depends_on_all_that_came_before_and_on_nothing_after():
    base = plan(zipped(), UNZIPPED)
    assert plan(zipped(), UNZIPPED).keys == base.keys
    assert plan(zipped()).keys == base.keys[:1]
    assert base.digest == base.keys[1]
    others = [
        plan(zipped(), UNZIPPED, text="other"),
        plan(zipped(), UNZIPPED, version="2"),
        plan(dataclasses.replace(zipped(), arguments=("-c", "out.zip", "./a.txt")), UNZIPPED),
        dataclasses.replace(base, files={"b.txt": "hello"}),
    ]
    assert len({item.keys[1] for item in [base, *others]}) == 5
    later = plan(zipped(), dataclasses.replace(UNZIPPED, outputs=("out.zip",)))
    assert later.keys[0] == base.keys[0]
    assert later.keys[1] != base.keys[1]


def test_steps_are_done_once_and_their_outputs_kept(tmp_path: Path):
    cache, said = Cache(tmp_path / "cache"), []
    made = plan(zipped(), UNZIPPED)
    first = [outputs for _, outputs in execute_plan(made, said.append, cache)]
    assert first[1] == {"a.txt": b"hello"}
    assert said == [
        f"zipping with zip (build {made.keys[0][:12]})",
        f"unzipping with zip (build {made.keys[1][:12]})",
    ]
    said.clear()
    assert [outputs for _, outputs in execute_plan(made, said.append, cache)] == first
    assert said == [
        f"zipping: known (build {made.keys[0][:12]})",
        f"unzipping: known (build {made.keys[1][:12]})",
    ]


def test_a_step_goes_on_from_what_was_kept(tmp_path: Path):
    cache = Cache(tmp_path)
    list(execute_plan(plan(zipped()), lambda _: None, cache))
    said: list[str] = []
    *_, (_, outputs) = execute_plan(plan(zipped(), UNZIPPED), said.append, cache)
    assert outputs == {"a.txt": b"hello"}
    assert ["known" in line for line in said] == [True, False]


def test_who_stops_asking_stops_the_build(tmp_path: Path):
    cache = Cache(tmp_path)
    made = plan(zipped(), UNZIPPED)
    next(execute_plan(made, lambda _: None, cache))
    assert cache.get(made.keys[0]) is not None
    assert cache.get(made.keys[1]) is None


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            dataclasses.replace(zipped(), arguments=("-l", "nothing.zip")),
            r"zipping: zip failed with 1\n(.*\n)*.*nothing\.zip",
        ),
        (
            dataclasses.replace(zipped(), outputs=("out.zip", "report.json")),
            r"zipping: zip wrote no report\.json",
        ),
    ],
)
def test_a_step_that_fails_or_leaves_something_out_is_told(
    step: Step, message: str, tmp_path: Path
):
    made = plan(step)
    with pytest.raises(TapeoutError, match=message):
        list(execute_plan(made, lambda _: None, Cache(tmp_path)))
    assert Cache(tmp_path).get(made.digest) is None


def test_milestones_of_the_log_are_told(tmp_path: Path):
    lister = dataclasses.replace(ZIP, milestones=r"(\w+)\.txt .* 5$")
    listing = Step("listing", lister, ("-l", "out.zip"), ())
    said: list[str] = []
    list(execute_plan(plan(zipped(), listing), said.append, Cache(tmp_path)))
    assert said[2:] == ["listing: a"]


def test_missing_tools_are_told_with_what_installs_them():
    tools = [Tool("x", "yowasp-x", "yowasp_x", "run"), Tool("y", "yowasp-y", "yowasp_y", "run")]
    with pytest.raises(MissingToolError) as error:
        require(tools)
    assert [problem.where for problem in error.value.problems] == ["yowasp-x", "yowasp-y"]
    assert {problem.fix for problem in error.value.problems} == {"pip install 'tapeout[fpga]'"}


KEY, OTHER = (hashlib.sha256(text).hexdigest() for text in (b"1", b"2"))


def test_a_damaged_entry_is_not_there(tmp_path: Path):
    cache = Cache(tmp_path)
    cache.put(KEY, {"a": b"1" * 100, "b": b""})
    assert cache.get(KEY) == {"a": b"1" * 100, "b": b""}
    assert cache.get(OTHER) is None
    (path,) = tmp_path.iterdir()
    for content in (path.read_bytes()[:-1], b"", path.read_bytes().replace(b"b", b"c", 1)):
        path.write_bytes(content)
        assert cache.get(KEY) is None


def test_entries_longest_unused_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build_cache, "KEPT", 2)
    cache = Cache(tmp_path)
    keys = [hashlib.sha256(bytes([number])).hexdigest() for number in range(3)]
    for age, key in zip((30, 20), keys, strict=False):
        cache.put(key, {"a": key.encode()})
        path = tmp_path / f"{key}.step"
        os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime - age))
    assert cache.get(keys[0])  # used: now the second is the oldest
    cache.put(keys[2], {})
    assert [cache.get(key) is not None for key in keys] == [True, False, True]


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path):
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / "file" / "cache")
    cache.put(KEY, {"a": b""})
    assert cache.get(KEY) is None
    Cache(None).put(KEY, {"a": b""})
    assert Cache(None).get(KEY) is None


def test_a_key_never_leads_out_of_the_folder(tmp_path: Path):
    with pytest.raises(ValueError, match="is not a SHA-256"):
        Cache(tmp_path).get("../../etc/passwd")


def test_the_users_cache_is_where_caches_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache().folder == tmp_path / "tapeout" / "fpga"


def test_of_two_first_runs_one_leaves_its_machine_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("YOWASP_CACHE_DIR", raising=False)
    with machine_code("tool-1") as one:
        with machine_code("tool-1") as other:
            assert one != other
            for folder in (one, other):
                folder.mkdir(parents=True)
                (folder / "code").write_text("whole")
        kept = tmp_path / "tapeout" / "tools" / "tool-1"
        assert (kept / "code").read_text() == "whole"
    assert list(kept.parent.iterdir()) == [kept]
    with machine_code("tool-1") as known:
        assert known == kept


def test_machine_code_has_a_folder_where_there_is_no_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.delenv("YOWASP_CACHE_DIR", raising=False)
    with machine_code("tool-1") as folder:
        folder.mkdir()
    assert not folder.exists()
    monkeypatch.setenv("YOWASP_CACHE_DIR", str(tmp_path / "own"))
    with machine_code("tool-1") as folder:
        assert folder == tmp_path / "own"
