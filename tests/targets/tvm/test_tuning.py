"""Tuned engines: they compute the same, and the log in a bundle builds the same engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

from tapeout import compiler, runner
from tapeout.budget import Budget
from tapeout.bundle import MANIFEST, Bundle
from tapeout.compiler import Options
from tapeout.errors import UsageError
from tapeout.profiles import catalog
from tapeout.targets.tuning import Tuning
from tapeout.targets.tvm import tuner, tuning, tuning_log
from tapeout.targets.tvm.build import Request
from tapeout.targets.tvm.tuning import LOG
from tapeout.targets.tvm.tuning_log import Choices, CoreKey, Entry

import support
from workloads import Others

MODEL = support.MODELS / "digits_cnn.onnx"


@pytest.fixture(autouse=True, scope="module")
def _times_count_for_nothing_here() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuner, "_ROUNDS", 1)
        patch.setattr(tuner, "_SECONDS", 0.001)
        yield


def compiled(output: Path, tuning: Tuning, device: str = "host") -> Bundle:
    return compiler.compile(MODEL, device, output, options=Options(runtime="tvm", tuning=tuning))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    """A log that tuning made, and what was built with it."""
    folder = tmp_path_factory.mktemp("tuned")
    return folder / "log.jsonl", compiled(folder / "x.bundle", Tuning(1, folder / "log.jsonl"))


@pytest.fixture(scope="module")
def logged(
    tuned: tuple[Path, Bundle], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Bundle]:
    """A log with an alternative for each workload, and what was built with it."""
    folder = tmp_path_factory.mktemp("logged")
    tuning_log.add(folder / "log.jsonl", others(tuned[0], "host"))
    return folder / "log.jsonl", compiled(folder / "x.bundle", Tuning(0, folder / "log.jsonl"))


def others(log: Path, device: str) -> list[Entry]:
    """Return the first alternatives for what a log is of, on the core of a device."""
    core = Request.of(catalog.load(device)).core
    first = Others(core, 0)
    works = [entry.workload for entry in tuning_log.read(log).values()]
    return [Entry(core=CoreKey.of(core), workload=work, choice=first[work]) for work in works]


def test_a_tuned_engine_computes_the_same_and_its_log_is_kept(tuned: tuple[Path, Bundle]) -> None:
    log, bundle = tuned
    assert runner.verify(bundle).differences
    entries = tuning_log.read(log).values()
    assert len(entries) == bundle.manifest.report["tuning"]["workloads"] > 3
    assert all(entry.tried == 1 and entry.gain is not None for entry in entries)


def test_what_was_tried_is_not_tried_again(tuned: tuple[Path, Bundle], tmp_path: Path) -> None:
    log, _ = tuned
    before = log.read_bytes()
    lines: list[str] = []
    options = Options(runtime="tvm", tuning=Tuning(1, log))
    job = compiler.prepare(MODEL, "host", Budget(), options, lines.append)
    compiler.build(job, tmp_path / "x.bundle")
    assert log.read_bytes() == before
    assert not any("alternative" in line for line in lines)


def test_a_log_decides_and_the_bundles_own_builds_the_same_bytes(
    tuned: tuple[Path, Bundle], logged: tuple[Path, Bundle], tmp_path: Path
) -> None:
    _, bundle = logged
    assert bundle.engine.read_bytes() != tuned[1].engine.read_bytes()
    assert runner.verify(bundle).differences
    again = compiled(tmp_path / "x.bundle", Tuning(0, bundle.directory / LOG))
    for name in (bundle.manifest.engine, LOG, MANIFEST):
        assert (again.directory / name).read_bytes() == (bundle.directory / name).read_bytes()


def test_a_bundles_log_tells_nothing_measured(logged: tuple[Path, Bundle]) -> None:
    _, bundle = logged
    entries = tuning_log.read(bundle.directory / LOG).values()
    report = bundle.manifest.report["tuning"]
    assert len(entries) == report["workloads"] == report["logged"] >= report["chosen"] > 0
    assert {(entry.gain, entry.tried) for entry in entries} == {(None, None)}
    text = (bundle.directory / LOG).read_text()
    assert text.splitlines() == sorted(text.splitlines())


def test_a_log_for_another_device_is_used_where_its_code_is_built(
    logged: tuple[Path, Bundle], tmp_path: Path
) -> None:
    """Lines for another core are of no concern."""
    log = tmp_path / "log.jsonl"
    log.write_bytes(logged[0].read_bytes())
    tuning_log.add(log, others(log, "raspberry-pi-5"))
    bundle = compiled(tmp_path / "x.bundle", Tuning(0, log), "raspberry-pi-5")
    report = bundle.manifest.report["tuning"]
    assert report["logged"] == report["workloads"] >= report["chosen"] > 0
    assert set(tuning_log.read(bundle.directory / LOG)) == {
        (entry.core, entry.workload) for entry in others(log, "raspberry-pi-5")
    }


def test_what_cannot_be_tuned_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    missing = tmp_path / "missing.jsonl"
    junk = tmp_path / "junk.jsonl"
    junk.write_text("{}\n")
    refused = {
        ("raspberry-pi-5", "tvm", Tuning(8)): "--tuning FILE, without --tune",
        ("host", "tflite", Tuning(8)): "tflite: ",
        ("host", "tvm", Tuning(0, missing)): "missing.jsonl: No such file",
        ("raspberry-pi-5", "tvm", Tuning(0, junk)): "junk.jsonl:1.workload",
        ("host", "tvm", Tuning(8, junk)): "junk.jsonl:1.core",
    }
    for (device, runtime, asked), said in refused.items():
        output = tmp_path / "x.bundle"
        options = Options(runtime=runtime, tuning=asked)
        with pytest.raises(UsageError) as caught:
            compiler.compile(MODEL, device, output, options=options)
        assert said in str(caught.value)
        assert not output.exists()


def test_findings_go_to_the_users_own_log_where_none_is_named(
    tuned: tuple[Path, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = list(tuning_log.read(tuned[0]).values())
    told = {entry.workload: entry.choice for entry in entries}
    known: list[int] = []

    def find(*arguments: Any) -> tuple[Choices, list[Entry]]:
        *_, before, _ = arguments
        known.append(len(before))
        return told, entries

    monkeypatch.setattr(tuning, "tuned", find)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    request, model = (
        Request.of(catalog.load("host")),
        ir.Model(ir.Graph([], [], nodes=[]), ir_version=10),
    )
    for _ in range(2):
        made = tuning.tuned_request(Tuning(1), model, request, {"tvm": "1"}, lambda _: None)
        assert dict(made.choices) == told
    (log,) = (tmp_path / "tapeout" / "tuning").iterdir()
    assert log.name.endswith("-tvm-1.jsonl")
    assert known == [0, len(entries)]
