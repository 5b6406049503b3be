"""The log of tuning: what is written is read, and what is not of a log is refused with its line."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.errors import UsageError
from tapeout.targets.tvm import tuning_log
from tapeout.targets.tvm.schedules.choices import analysed
from tapeout.targets.tvm.schedules.workload import Workload
from tapeout.targets.tvm.tuning_log import CoreKey, Entry

from kernels import HALVES
from workloads import Others, convolution, workloads

CORE = HALVES["wide"]


def entry(work: Workload, place: int = 0, **others: Any) -> Entry:
    return Entry(core=CoreKey.of(CORE), workload=work, choice=Others(CORE, place)[work], **others)


@settings(derandomize=True, max_examples=30)
@given(works=st.lists(workloads(), max_size=4, unique=True), place=st.integers(0, 9))
def test_what_is_written_is_read(
    works: list[Workload], place: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path_factory.mktemp("log") / "folder" / "log.jsonl"
    entries = [entry(work, place, gain=1.25, tried=8) for work in works]
    tuning_log.add(log, entries)
    assert tuning_log.read(log) == {(item.core, item.workload): item for item in entries}
    assert [item.core.core for item in entries] == [CORE] * len(works)


def test_the_last_line_for_a_workload_holds(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    tuning_log.add(log, [entry(convolution(14, 64)), entry(convolution(14, 96))])
    log.write_text(log.read_text().rstrip("\n"))  # as some editors leave it
    tuning_log.add(log, [entry(convolution(14, 64), 3)])
    found = tuning_log.read(log)
    assert len(log.read_text().splitlines()) == 3
    assert [item.choice for item in found.values()] == [
        Others(CORE, 3)[convolution(14, 64)],
        Others(CORE, 0)[convolution(14, 96)],
    ]


def test_the_same_entries_are_the_same_text() -> None:
    one, other = entry(convolution(14, 64)), entry(convolution(14, 96))
    assert tuning_log.written([one, other]) == tuning_log.written([other, one])
    assert "gain" not in tuning_log.written([one])


def _add(log: Path, numbers: range) -> None:
    for number in numbers:
        tuning_log.add(log, [entry(convolution(14, 16 * number))])


def test_all_that_several_write_at_once_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add, args=(log, range(n, 90, 3))) for n in (1, 2, 3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {work.outputs // 16 for _, work in tuning_log.read(log)} == set(range(1, 90))


def test_every_wrong_line_is_told_with_its_number_and_key(tmp_path: Path) -> None:
    good = json.loads(entry(convolution(14, 96)).line)
    log = tmp_path / "log.jsonl"
    lines = [
        good,
        {**good, "choice": {**good["choice"], "channels": 20}},
        {**good, "workload": {**good["workload"], "taps": "9", "places": []}},
        {**good, "core": {**good["core"], "integers": "amx"}},
        {**good, "choice": {**good["choice"], "width": 0, "speed": 3}},
        {key: value for key, value in good.items() if key != "choice"},
    ]
    log.write_text("\n".join(map(json.dumps, lines)) + "\n\n{half a line\n\xff")
    with pytest.raises(UsageError) as caught:
        tuning_log.read(log)
    said = [(problem.where, problem.what) for problem in caught.value.problems]
    assert [where for where, _ in said] == [
        "log.jsonl:2",
        "log.jsonl:3.workload.places",
        "log.jsonl:3.workload.taps",
        "log.jsonl:4.core.integers",
        "log.jsonl:5.choice.width",
        "log.jsonl:5.choice.speed",
        "log.jsonl:6.choice",
        "log.jsonl:8",
        "log.jsonl:9",
    ]
    assert "channels: 20 does not divide 96" in said[0][1]
    assert str(log) in caught.value.summary


def test_a_log_that_cannot_be_read_or_written_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        tuning_log.read(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="Is a directory"):
        tuning_log.add(tmp_path, [entry(convolution(14, 64))])


def test_a_choice_of_the_analysis_fits_every_core() -> None:
    for core in HALVES.values():
        work = convolution(14, 96)
        found = Entry(core=CoreKey.of(core), workload=work, choice=analysed(work, core))
        assert Entry.model_validate_json(found.line) == found
        assert found.core.core == core
