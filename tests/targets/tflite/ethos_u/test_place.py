"""What the NPU runs, and what stays on the Cortex-M, with Vela's reason."""

from __future__ import annotations

import ethos
import pytest

from tapeout.errors import Problem
from tapeout.targets.tflite.ethos_u.glue import write_glue
from tapeout.targets.tflite.ethos_u.optimised import optimised
from tapeout.targets.tflite.ethos_u.target import _compiled

import support

TARGET, PROFILE, PLAN = ethos.TARGET, ethos.PROFILE, ethos.plan_for()


@pytest.mark.parametrize("name", [name for name in support.NAMES if name != "digits_cnn"])
def test_the_npu_runs_all_of_a_tiny_network(name: str) -> None:
    """Those of MLPerf Tiny, with integers in and out."""
    model = ethos.real(name)
    assert TARGET.check(model, PROFILE, PLAN) == []
    placement = TARGET.placement(model, PROFILE, PLAN)
    assert {row.where for row in placement.rows} == {("NPU",)}
    assert all(not row.reasons for row in placement.rows)
    (split,) = placement.splits
    assert [piece.operators for piece in split.pieces] == [len(placement.rows)]
    latency = TARGET.estimate(model, PROFILE, PLAN).latency
    assert latency is not None
    assert latency.value == split.seconds
    assert "CPU" not in latency.note


def test_an_operator_that_vela_leaves_runs_on_the_cpu(tmp_path) -> None:
    model = ethos.with_activation("Sin")
    assert TARGET.check(model, PROFILE, PLAN) == []
    placement = TARGET.placement(model, PROFILE, PLAN)
    found = [(row.operator, row.where[0]) for row in placement.rows]
    assert found == [
        ("TRANSPOSE", "NPU"),
        ("CONV_2D", "NPU"),
        ("DEQUANTIZE", "CPU"),
        ("SIN", "CPU"),
        ("QUANTIZE", "CPU"),
        ("CONV_2D", "NPU"),
        ("TRANSPOSE", "NPU"),
    ]
    reasons = {row.operator: row.reasons for row in placement.rows if row.reasons}
    assert reasons["SIN"] == {"NPU": "Unsupported opType"}
    assert "Float32 (b)" in reasons["QUANTIZE"]["NPU"]
    (split,) = placement.splits
    assert [(piece.where, piece.operators) for piece in split.pieces] == [
        ("NPU", 2), ("CPU", 3), ("NPU", 2)
    ]  # fmt: skip
    _, optimal, made = _compiled(model, PROFILE, PLAN)
    assert len(optimal.commands) == 2
    latency = TARGET.estimate(model, PROFILE, PLAN).latency
    assert latency is not None
    assert latency.value == split.seconds > made.seconds
    assert "a roofline of the CPU's 3 operators" in latency.note
    write_glue(tmp_path, "model_vela.tflite", optimised(made.content))
    main = (tmp_path / "run" / "main.cc").read_text()
    assert "MicroMutableOpResolver<4> resolver" in main
    assert "kTables = 7168;" in main
    for method in ("AddEthosU", "AddDequantize", "AddQuantize", "AddSin"):
        assert f"resolver.{method}()" in main


def test_an_operator_that_nothing_on_the_device_computes_is_named() -> None:
    (problem,) = TARGET.check(ethos.with_activation("Sign"), PROFILE, PLAN)
    assert problem == Problem(
        "SIGN 'b'", "Unsupported opType, and TFLite Micro has no kernel for it"
    )
