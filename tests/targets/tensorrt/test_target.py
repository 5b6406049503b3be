"""Compiling for an RTX card: the whole way, as a user goes it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import onnx_ir as ir
import pytest
from typer.testing import CliRunner

import tapeout
from tapeout.budget import Budget
from tapeout.cli import app
from tapeout.compiler import Options
from tapeout.errors import BudgetError, ModelError, TapeoutError
from tapeout.profiles import catalog
from tapeout.targets.base import Plan
from tapeout.targets.tensorrt import target
from tapeout.targets.tensorrt.run import header

import support

MODEL = support.MODELS / "digits_cnn.onnx"
DATA = f"{support.MODELS / 'digits.npz'}:test"


def command(output: Path, *more: str) -> list[str]:
    return ["compile", str(MODEL), "--device", "rtx-4090", "-o", str(output), *more]


def test_bundle_has_the_engine_and_its_figures(tmp_path: Path) -> None:
    for name in ("one", "two"):
        done = CliRunner().invoke(app, command(tmp_path / name, "--precision", "fp16"))
        assert done.exit_code == 0, done.output
        assert "compiled for rtx-4090: tensorrt-rtx, fp16" in done.output
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.is_file()}
        for name in ("one", "two")
    )
    assert one == two
    manifest = json.loads(one["manifest.json"])
    assert manifest["status"] == "compiled"
    usage = manifest["usage"]
    assert usage["memory"]["known"] == usage["storage"]["known"] == "exact"
    assert usage["memory"]["value"] == sum(part["value"] for part in usage["parts"].values())
    assert usage["storage"]["value"] == len(one["engine.trt"])
    assert "copies over PCIe" in done.output
    terms = {name: figure["value"] for name, figure in usage["latency_parts"].items()}
    assert usage["latency"]["value"] == pytest.approx(sum(terms.values()))
    assert manifest["report"]["by_limit"]["transfer"] == terms["copies over PCIe"] > 0
    found = header.parse(one["engine.trt"])
    version = manifest["runtime"]["version"]
    assert header.unfit(found, len(one["engine.trt"]), version, ["8.9"]) == []


def test_accuracy_of_the_network_is_an_estimate(tmp_path: Path) -> None:
    options = Options(precision="fp16", evaluation=DATA)
    bundle = tapeout.compile(MODEL, "rtx-4090", tmp_path / "b", Budget(accuracy_drop=0.01), options)
    drop = bundle.usage.accuracy_drop
    assert drop is not None
    assert drop.known == "estimated"
    assert "in ONNX Runtime" in drop.note
    assert abs(drop.value) <= 0.01


def test_budget_below_the_builder_s_figure_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="too much"):
        tapeout.compile(MODEL, "rtx-4090", tmp_path / "b", Budget(memory=1 << 20), Options())
    assert not (tmp_path / "b").exists()


def test_without_the_extra_it_exits_5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "tensorrt_rtx" else find(name, *more),
    )
    done = CliRunner().invoke(app, command(tmp_path / "b"))
    assert done.exit_code == 5
    assert "pip install 'tapeout[gpu]'" in done.output


def test_every_refused_node_is_named_before_a_conversion(tmp_path: Path) -> None:
    """What needs samples would say so first, were it converted."""
    model = tmp_path / "strange.onnx"
    text = """
        strange (float[4,4] x) => (float d, float e)
        { d = Det(x)
          y = Abs(x)
          e = Det(y) }
    """
    ir.save(support.from_text(text), model)
    with pytest.raises(ModelError) as caught:
        tapeout.compile(model, "rtx-4090", tmp_path / "b", Budget(), Options(precision="int8"))
    assert "does not take all operators" in str(caught.value)
    assert str(caught.value).count("Det: unsupported node") == 2


def test_engine_for_another_card_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The header's content is an observation: should it change, nothing is delivered."""
    profile = catalog.load("rtx-4090")
    assert profile.gpu is not None
    other = profile.model_copy(update={"gpu": profile.gpu.model_copy(update={"capability": "8.6"})})
    model = support.from_text("m (float[1,8] x) => (float[1,8] y) { y = Relu(x) }")
    built = target._engine(model, other, Plan("tensorrt-rtx", "fp32"))
    with pytest.raises(TapeoutError, match=r"for compute capability 8\.6, not 8\.9"):
        target._require_header(built.content, "1.7.1.116", ("8.9",))
    with pytest.raises(TapeoutError, match="a part is missing"):
        target._require_header(built.content[:100], "1.7.1.116", ("8.6",))
