"""The target by the command line: what is offered, settled, refused, and runs in a simulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner, Result

from tapeout.budget import Budget
from tapeout.cli import app
from tapeout.compiler import Options, plan, prepare
from tapeout.planner import Candidate
from tapeout.targets.fpga.run.engine import FACTS
from tapeout.targets.fpga.simulation import verilator

import support

DIGITS = support.MODELS / "digits_cnn.onnx"
SAMPLES = f"{support.MODELS / 'digits.npz'}:calibration"


def tapeout(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def check(*arguments: str, model: Path = DIGITS, device: str = "ulx3s-85f") -> Result:
    return tapeout("check", model, "--device", device, "--calibration", SAMPLES, *arguments)


def candidate(device: str = "ulx3s-85f", latency: float | None = None, **options: Any) -> Candidate:
    budget = Budget(latency=latency)
    job = prepare(DIGITS, device, budget, Options("int8", calibration=SAMPLES, **options))
    [found] = plan(job)
    return found


def folding(found: Candidate) -> str:
    return str(dict(found.plan.options)["folding"])


def latency(found: Candidate) -> float:
    assert found.usage.latency is not None
    return found.usage.latency.value


def test_a_budget_changes_the_folding() -> None:
    fast, slow = candidate(), candidate(latency=1e-3)
    assert latency(fast) < latency(slow) <= 1e-3
    assert fast.usage.memory.value > slow.usage.memory.value
    assert fast.usage.memory.known == "exact"
    smaller = candidate("ulx3s-25f")
    assert len({folding(item) for item in (fast, slow, smaller)}) == 3


def test_verilog_alone_is_made_on_request() -> None:
    given = dict(candidate(plan={"flow": "rtl"}).plan.options)
    assert given["flow"] == "rtl"
    assert "flow" not in dict(candidate().plan.options)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--precision", "fp32"], 3, ["integers of 8 bits"]),
        (["--latency", "10us"], 4, ["a frame each", "too late"]),
        (["--memory", "20KiB"], 4, ["a frame each", "more block RAMs than the 8 it may take"]),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    arguments: list[str], code: int, said: list[str]
) -> None:
    done = check(*arguments)
    assert done.exit_code == code, done.stderr
    for words in said:
        assert words in done.stderr


def test_every_operator_without_an_engine_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("LRN", ["x"], ["a"], name="first", size=1),
        helper.make_node("Conv", ["a", "w"], ["b"], name="between"),
        helper.make_node("Det", ["b"], ["y"], name="second"),
    ]
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 1, 1], [1.0])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])
    graph = helper.make_graph(nodes, "g", [x], [y], [weights])
    path = tmp_path / "strange.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    done = check(model=path)
    assert done.exit_code == 3
    assert "'LRN'" in done.stderr
    assert "'Det'" in done.stderr


def test_a_missing_simulator_is_named_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = check()
    assert done.exit_code == 5
    assert "apt-get install" in done.stderr
    assert "verilator" in done.stderr


@pytest.mark.bitstream
def test_a_deferred_bundle_is_proven_and_runs_in_the_simulator(tmp_path: Path) -> None:
    """On the smallest folding, whose simulators are compiled in seconds."""
    bundle = tmp_path / "digits.bundle"
    images = f"{support.MODELS / 'digits.npz'}:test"
    given = ["--device", "pynq-z2", "--calibration", images, "--latency", "4ms", "-o", str(bundle)]
    done = tapeout("compile", DIGITS, *given)
    assert done.exit_code == 0, done.stderr
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert (manifest["status"], manifest["engine"]) == ("deferred", FACTS)
    proof = manifest["report"]["proof"]
    assert proof["samples"] >= 20
    assert proof["simulator"] == verilator.version()
    assert proof["latency"] <= 4e-3 * 100e6
    verified = tapeout("verify", bundle)
    assert verified.exit_code == 0, verified.stderr
    assert "differs by at most 0 of" in verified.stdout
    assert "in a simulator that counts the cycles" in verified.stdout
    bench = tapeout("bench", bundle, "--runs", "2", "--json")
    assert bench.exit_code == 0, bench.stderr
    measured = json.loads(bench.stdout)["latency"]
    # Its own count of cycles is the one that was proven.
    assert measured["p50"] == pytest.approx(proof["latency"] / 100e6)
