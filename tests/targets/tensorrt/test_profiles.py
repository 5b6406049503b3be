"""Engines for ranges of shapes: their optimization profiles, and what each of them needs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import onnx
import pytest
from architectures import encoder
from typer.testing import CliRunner

from tapeout import ShapeRange, compiler
from tapeout.budget import Budget
from tapeout.bundle import opened
from tapeout.cli import app
from tapeout.compiler import Options
from tapeout.errors import BudgetError
from tapeout.lowering.dynamic.ranges import Given
from tapeout.planner import Candidate

#: Tokens and width of the network; large enough for its activations to grow with the batch.
ROW = (64, 256)


def batches(least: int, most: int, usual: int) -> ShapeRange:
    return ShapeRange((least, *ROW), (usual, *ROW), (most, *ROW))


SMALL, LARGE = batches(1, 4, 1), batches(1, 16, 8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "encoder.onnx"
    onnx.save(encoder(*ROW, 4, 1, batch="batch"), path)
    return path


def checked(model: Path, given: Given, memory: int | None = None) -> Candidate:
    options = Options(precision="fp16", shapes={"image": given})
    return compiler.check(compiler.prepare(model, "rtx-4090", Budget(memory=memory), options))[0]


@pytest.fixture(scope="module")
def both(model: Path) -> Candidate:
    return checked(model, (SMALL, LARGE))


def test_memory_is_told_for_each_profile_and_the_largest_counts(both: Candidate) -> None:
    usage = both.usage
    small, large = (int(figure.value) for figure in usage.profiles)
    assert small < large == usage.memory.value
    assert [figure.note for figure in usage.profiles] == [f"image={SMALL}", f"image={LARGE}"]
    assert {figure.known for figure in (*usage.profiles, usage.memory)} == {"exact"}
    parts = dict(usage.parts)
    assert sum(figure.value for figure in parts.values()) == large
    assert parts["inputs and outputs"].value == 2 * 4 * 16 * ROW[0] * ROW[1]
    assert usage.latency is not None
    assert "at image=1x64x256" in usage.latency.note


def test_budget_between_the_profiles_names_the_larger_and_what_would_fit(
    model: Path, both: Candidate
) -> None:
    small, large = (int(figure.value) for figure in both.usage.profiles)
    budget = (small + large) // 2
    with pytest.raises(BudgetError) as caught:
        checked(model, (SMALL, LARGE), budget)
    said = {problem.where: problem for problem in caught.value.problems}
    assert f"profile 1 (image={SMALL})" in said
    assert said[f"profile 1 (image={SMALL})"].what.startswith("fits: alone it needs")
    larger = said[f"profile 2 (image={LARGE})"]
    assert larger.what.startswith("is too large: alone it needs")
    found = re.fullmatch(r"with batch up to (\d+) it fits, not with (\d+)", larger.fix)
    assert found is not None
    fits, fails = map(int, found.groups())
    assert fits + 1 == fails <= 16


def test_profiles_are_dropped_only_where_that_is_asked_for(model: Path, both: Candidate) -> None:
    small, large = (int(figure.value) for figure in both.usage.profiles)
    limit = (small + large) // 2
    options = Options("fp16", shapes={"image": (LARGE, SMALL)}, drop_profiles=True)
    job = compiler.prepare(model, "rtx-4090", Budget(memory=limit), options)
    (candidate,) = compiler.check(job)
    assert candidate.usage.memory.value <= limit
    assert job.inputs[0].shape == (1, *ROW)
    assert [problem.where for problem in compiler.not_tried(job)] == [f"profile 1 (image={LARGE})"]


def test_bundle_records_what_varies(model: Path, tmp_path: Path) -> None:
    """The command line, with ranges as text."""
    ranges = [text for item in (SMALL, LARGE) for text in ("--shape", f"image={item}")]
    command = ["compile", str(model), "--device", "rtx-4090", "--precision", "fp16"]
    done = CliRunner().invoke(app, [*command, *ranges, "-o", str(tmp_path / "one")])
    assert done.exit_code == 0, done.output
    assert f"shapes in profile 2: image={LARGE}" in done.output
    shapes = json.loads((tmp_path / "one" / "manifest.json").read_bytes())["shapes"]
    assert shapes["inputs"] == {"image": ["batch", 64, 256]}
    assert shapes["outputs"] == {"scores": ["batch", 64, 256]}
    assert [profile["image"]["max"] for profile in shapes["profiles"]] == [[4, *ROW], [16, *ROW]]
    assert shapes["multiples"] == {}
    with opened(tmp_path / "one") as bundle:
        assert bundle.check_digests() == []
        assert len(bundle.usage.profiles) == 2
        assert bundle.manifest.inputs[0].shape == (1, *ROW)
