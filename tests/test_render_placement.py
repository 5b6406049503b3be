"""Where operators run, as `check` and `explain` show it: node, place, reason; the partitions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from typer.testing import CliRunner

from tapeout import render_placement
from tapeout.cli import app
from tapeout.tables import console

import support

PHONE = """\
extends: fairphone-4
name: phone
title: A phone with Android 11
android:
  api: {value: 30, source: datasheet, note: "Android 11"}
"""


@pytest.fixture(scope="module")
def gelu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that NNAPI has no word for in the middle: two convolutions around a GELU.

    It is large enough for the GPU to be estimated faster than a core.
    """
    window = "kernel_shape=[3,3], pads=[1,1,1,1]"
    weight = np.random.default_rng(0).standard_normal((32, 32, 3, 3)).astype(np.float32) / 16
    model = support.from_text(
        f"m (float[1,32,64,64] x, float[32,32,3,3] w) => (float[1,32,64,64] y) {{"
        f"[stem] a = Conv<{window}>(x, w) [act] b = Gelu(a) [head] y = Conv<{window}>(b, w) }}",
        w=weight,
    )
    path = tmp_path_factory.mktemp("model") / "gelu.onnx"
    ir.save(model, path)
    return path


def tapeout(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.stderr
    return done.stdout


def cells(output: str) -> list[list[str]]:
    """Return the cells of all lines; columns stand at least two spaces apart."""
    return [
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in output.split("\n")
    ]


def test_check_shows_three_partitions_and_why(gelu: Path, tmp_path: Path) -> None:
    profile = tmp_path / "phone.yaml"
    profile.write_text(PHONE)
    shown = cells(tapeout("check", gelu, "--device", profile))
    assert ["b", "GELU", "GPU", "CPU", "NNAPI: GELU is not on its list"] in shown
    (summary,) = (line[0] for line in shown if line and line[0].startswith("NNAPI: "))
    assert "operators in 2 partitions of 3, 2.00 MiB moved, " in summary
    assert summary.endswith("(estimated)")
    places = [line[1] for line in shown if line and line[0] in ("1", "2", "3")]
    assert places == ["NNAPI", "CPU", "NNAPI"]


def test_the_plan_with_a_delegate_is_in_the_bundle(gelu: Path, tmp_path: Path) -> None:
    """What `explain` shows stands in the manifest: it needs no toolchain, and no profile."""
    found = json.loads(tapeout("check", gelu, "--device", "fairphone-4", "--json"))["plans"]
    by_plan = {item["plan"]: item for item in found}
    for plan, planned in (
        ("cpu", [False, False]),
        ("gpu", [True, False]),
        ("nnapi", [False, True]),
    ):
        placement = by_plan[f"tflite, fp32, threads=1, delegate={plan}"]["placement"]
        assert [split["planned"] for split in placement["splits"]] == planned
    bundle = tmp_path / "gelu.bundle"
    said = tapeout("compile", gelu, "--device", "fairphone-4", "-o", bundle)
    assert "GPU (planned): 5 of 5 operators in 1 partition of 1, " in said
    assert "NNAPI" not in said
    explained = json.loads(tapeout("explain", bundle, "--json"))
    chosen = by_plan["tflite, fp32, threads=1, delegate=gpu"]
    assert explained["report"]["placement"] == chosen["placement"]
    assert explained["report"]["seconds"] == explained["usage"]["latency"]["value"]
    assert explained["usage"]["latency"] == chosen["usage"]["latency"]
    assert explained["usage"]["memory"]["known"] == "estimated"  # the delegate has its own buffers
    assert explained["usage"]["storage"]["known"] == "exact"
    shown = tapeout("explain", bundle)
    assert ["b", "GELU", "GPU", "CPU", "NNAPI: GELU is not on its list"] in cells(shown)
    assert shown.endswith("between the processors\n")
    assert (
        "computed on this machine in place of fairphone-4, without the delegate gpu: "
        "what that computes, only the device can tell"
    ) in tapeout("verify", bundle)


def test_plans_are_kept_to_what_is_asked(gelu: Path) -> None:
    asked = ("check", gelu, "--device", "fairphone-4", "--json")
    found = json.loads(tapeout(*asked, "--plan", "delegate=nnapi", "--plan", "threads=1"))
    assert [item["plan"] for item in found["plans"]] == ["tflite, fp32, threads=1, delegate=nnapi"]
    wrong = CliRunner().invoke(app, [*map(str, asked[:-1]), "--plan", "delegate=npu"])
    assert wrong.exit_code == 2
    assert wrong.stderr.splitlines() == [
        "error: no plan for fairphone-4 has delegate=npu; there are",
        "  threads: 1, 2",
        "  delegate: cpu, gpu, nnapi",
    ]
    twice = CliRunner().invoke(app, [*map(str, asked[:-1]), *["--plan", "threads=1"] * 2])
    assert twice.exit_code == 2
    assert "--plan is given more than once for threads" in twice.stderr


def row(node: str, operator: str, where: str, **reasons: str) -> dict[str, Any]:
    return {"node": node, "operator": operator, "where": [where], "reasons": reasons}


def test_long_tables_are_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row(f"a{index}", "CONV_2D", "NPU") for index in range(100)]
    rows += [row(f"b{index}", "CEIL", "CPU", NPU="no") for index in range(3)]
    rows += [row(f"c{index}", "CEIL", "CPU", NPU=f"no {index}") for index in range(50)]
    split = {"name": "NPU", "planned": True, "moved": 0, "seconds": None, "notes": ["so"]}
    piece = {"where": "NPU", "operators": 100, "first": "a0", "last": "a99"}
    split["pieces"] = [{**piece, "read": 0, "written": 0, "seconds": None}]
    render_placement.show(console(), {"rows": rows, "splits": [split]})
    shown = cells(capsys.readouterr().out)
    assert shown[:4] == [
        ["NODE", "OPERATOR", "NPU", "REASON"],
        ["a0 .. a99", "CONV_2D x 100", "NPU"],
        ["b0 .. b2", "CEIL x 3", "CPU", "NPU: no"],
        ["c0", "CEIL", "CPU", "NPU: no 0"],
    ]
    assert shown[41:44] == [
        ["12 others", "--json shows them all"],
        ["NPU (planned): 100 of 153 operators in 1 partition of 1, 0 B moved"],
        ["note: so"],
    ]
