"""Ranges of shapes on the whole way: what is held to what, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from architectures import encoder
from typer.testing import CliRunner

from tapeout import compiler
from tapeout.budget import Budget
from tapeout.cli import app
from tapeout.compiler import Options
from tapeout.data import write_npz
from tapeout.errors import ModelError, VerificationError
from tapeout.lowering.dynamic.generalize import Dynamic, attach, dynamic_of
from tapeout.lowering.dynamic.ranges import ShapeRange
from tapeout.lowering.matching import is_op
from tapeout.shapes import require_every_shape, shapes_record

BATCHES = ShapeRange((1, 8, 16), (2, 8, 16), (5, 8, 16))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "encoder.onnx"
    onnx.save(encoder(8, 16, 2, 1, batch="batch"), path)
    return path


def planned(model: Path, device: str = "rtx-4090", **options: Any) -> ir.Model:
    chosen = Options(shapes={"image": BATCHES}, **options)
    return compiler.plan(compiler.prepare(model, device, Budget(), chosen))[0].model


def the_dynamic(model: ir.Model) -> Dynamic:
    found = dynamic_of(model)
    assert found is not None
    return found


def test_integers_are_chosen_once_and_hold_at_every_shape(model: Path, tmp_path: Path) -> None:
    data = np.random.default_rng(0).standard_normal((8, 8, 16)).astype(np.float32)
    write_npz(tmp_path / "data.npz", {"image": data})
    lowered = planned(model, precision="int8", calibration=str(tmp_path / "data.npz"))
    dynamic = the_dynamic(lowered)
    assert [node.op_type for node in dynamic.model.graph] == [n.op_type for n in lowered.graph]
    assert any(is_op(node, "QuantizeLinear") for node in dynamic.model.graph)
    said: list[str] = []
    require_every_shape(lowered, 1e-5, said.append)
    assert said == [f"comparing with the model at image={n}x8x16" for n in (1, 2, 5)]


def test_a_model_that_differs_at_one_shape_is_caught(model: Path) -> None:
    lowered = planned(model, precision="fp32")
    dynamic = the_dynamic(lowered)
    wrong = next(value for value in dynamic.model.graph.initializers.values() if value.dtype == 1)
    assert wrong.const_value is not None
    changed = dynamic.model.clone()
    constant = changed.graph.initializers[str(wrong.name)]
    constant.const_value = ir.Tensor(wrong.const_value.numpy() * 2, name=wrong.name)
    other = lowered.clone()
    attach(other, dataclasses.replace(dynamic, model=changed))
    require_every_shape(lowered, 1e-5, lambda _: None)
    with pytest.raises(VerificationError) as caught:
        require_every_shape(other, 1e-5, lambda _: None)
    assert [str(item).split(":")[0] for item in caught.value.problems] == [
        f"image={n}x8x16" for n in (1, 2, 5)
    ]


def test_static_shapes_have_nothing_to_hold_or_to_record(model: Path) -> None:
    lowered = dataclasses.replace(compiler.prepare(model, "rtx-4090", Budget(), Options())).model
    assert shapes_record(lowered) is None
    require_every_shape(lowered, 1e-5, lambda _: pytest.fail("static shapes are compared"))


def test_a_runtime_of_single_shapes_refuses_and_says_what_to_do(model: Path) -> None:
    with pytest.raises(ModelError) as caught:
        planned(model, "raspberry-pi-4b")
    assert caught.value.exit_code == 3
    assert {problem.where for problem in caught.value.problems} >= {"tvm"}
    assert all("takes no ranges of shapes" in item.what for item in caught.value.problems)


@pytest.mark.parametrize(
    ("shapes", "code", "said"),
    [
        (["1x8x16..x"], 2, "INPUT=1x3x224x224..8x3x512x512@1x3x224x224"),
        (["4x8x16..2x8x16"], 2, "not in ascending order"),
        (["1x8x16", "2x8x16"], 2, "given more than once"),
        (["1x4x16..2x8x16"], 2, "dimension 1 is 8 in the model, not 4..8@8"),
    ],
)
def test_wrong_ranges_are_refused(model: Path, shapes: list[str], code: int, said: str) -> None:
    given = [part for shape in shapes for part in ("--shape", f"image={shape}")]
    done = CliRunner().invoke(app, ["check", str(model), "--device", "rtx-4090", *given])
    assert done.exit_code == code
    assert said in " ".join(done.output.split())
