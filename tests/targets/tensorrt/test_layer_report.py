"""What the layers of engines cost, and that nothing of the network is lost on the way."""

from __future__ import annotations

import json
from pathlib import Path

import architectures
import numpy as np
import onnx_ir as ir
import pytest
from typer.testing import CliRunner

from tapeout.cli import app
from tapeout.data import Data
from tapeout.job import described
from tapeout.lowering.analysis import costs
from tapeout.lowering.analysis.program import DEFAULT
from tapeout.lowering.analysis.roofline import Cache, Machine, estimate
from tapeout.lowering.canonical import canonical
from tapeout.lowering.importers.onnx import load
from tapeout.quantizer import Converter
from tapeout.targets.tensorrt.builder import Request, engine
from tapeout.targets.tensorrt.layer_report import latency, report, tables
from tapeout.targets.tensorrt.network import onnx_of

import support

TWO_PROFILES = (Path(__file__).with_name("logs") / "two_profiles.txt").read_text(encoding="utf-8")

MACHINE = Machine(
    peaks={"float32": 80e12, "float16": 160e12, "int8": 640e12},
    bandwidth=1e12,
    caches=(Cache(1 << 20, 3e12),),
    overhead=1e-6,
)


def attention(batch: int = 1) -> ir.Model:
    """The network that `TWO_PROFILES` is of."""
    weights = np.zeros((64, 64), np.float32)
    return support.from_text(
        f"""
        attention (float[{batch},16,64] x, float[64,64] w, float[64,64] v)
        => (float[{batch},16,64] y)
        {{ q = MatMul(x, w)
          k = MatMul(x, v)
          kt = Transpose <perm = [0, 2, 1]> (k)
          s = MatMul(q, kt)
          p = Softmax(s)
          y = MatMul(p, x) }}
        """,
        w=weights,
        v=weights + 1,
    )


def lowered(name: str, scheme: str, folder: Path) -> ir.Model:
    """Return one of the networks in the numbers of a scheme, as the builder takes it."""
    path = support.MODELS / f"{name}.onnx"
    if name in architectures.ARCHITECTURES:
        path = folder / "model.onnx"
        path.write_bytes(architectures.ARCHITECTURES[name]().SerializeToString())
    model = load(path)
    if scheme != "fp32":
        samples = Data(support.random_feeds(model), None)
        inputs = tuple(map(described, model.graph.inputs))
        converter = Converter(model, inputs, samples, None, None, progress=lambda _: None)
        model = converter.to(scheme).outcome.model
    return canonical("nchw").run(model)


@pytest.mark.parametrize(
    ("name", "scheme", "dtype", "apart", "otherwise"),
    [
        ("resnet8_cifar10", "fp32", "float32", set(), set()),
        ("encoder", "fp16", "float16", {"Transpose"}, set()),
        ("resnet8_cifar10", "tensorrt", "int8", {"QuantizeLinear", "DequantizeLinear"}, set()),
        # RTX has no kernel for a transposed convolution in int8.
        ("u_net_learned", "tensorrt", "int8", set(), {"ConvTranspose"}),
    ],
)
def test_nothing_of_a_network_is_lost(
    name: str, scheme: str, dtype: str, apart: set[str], otherwise: set[str], tmp_path: Path
) -> None:
    model = lowered(name, scheme, tmp_path)
    (table,) = tables(engine(Request(onnx_of(model), ("8.9",))).log.layers, [model], MACHINE)
    operators = {str(node.name): node.op_type for node in model.graph}
    total = costs.of(model)
    assert sum(row.time.macs for row in table.rows) == total.macs == sum(table.macs.values())
    assert table.apart_macs == 0
    assert next(iter(table.macs)) == dtype
    assert {operators[node] for node in table.apart} == apart
    named = {node for row in table.rows for node in row.layer.nodes}
    missing = set(operators) - named - set(table.apart)
    weights = {value.name for value in model.graph.initializers.values()}
    for node in model.graph:  # the rest moves nothing at run time
        if str(node.name) in missing:
            assert costs.is_view(node) or all(
                value.name in weights for value in node.inputs if value
            )
    wrong = [row for row in table.rows if row.asked not in ("", row.dtype)]
    found = {operators[node] for row in wrong for node in row.layer.nodes}
    assert found == otherwise
    assert all(row.exact for row in table.rows)
    assert table.estimate.seconds == pytest.approx(sum(row.time.seconds for row in table.rows))


def test_the_time_of_a_layer_is_that_of_its_bytes_or_its_arithmetic() -> None:
    machine = Machine({"float32": 1e9}, 1e9, (Cache(1 << 20, 4e9),), overhead=1e-6)
    (first,) = tables([TWO_PROFILES], [attention()], machine)
    product, softmax, shapes = first.rows
    macs = 16 * 64 * 16
    moved = 2 * 16 * 64 * 4 + 16 * 16 * 4 + 8
    assert (product.time.macs, product.time.ops, product.time.bytes) == (macs, 0, moved)
    assert product.time.compute == pytest.approx(2 * macs / 1e9)
    assert product.time.memory == pytest.approx(moved / 4e9)  # all of it fits into the cache
    assert product.time.seconds == pytest.approx(2 * macs / 1e9 + 1e-6)
    assert softmax.time.bytes == 2 * 16 * 16 * 4  # it names its input twice
    assert (shapes.time.seconds, shapes.time.limit) == (0.0, "none")
    assert first.apart == ("q", "k", "kt", "y")
    assert first.apart_macs == 2 * 16 * 64 * 64 + macs


def test_dimensions_that_are_known_when_it_runs_count_as_the_network_has_them() -> None:
    _, second = tables([TWO_PROFILES], [attention(), attention(8)], MACHINE)
    moved, product, *_ = second.rows
    assert not moved.exact
    assert moved.time.bytes == 0  # the log does not say of which node it is
    assert product.time.macs == 8 * 16 * 64 * 64
    assert product.time.bytes == 8 * 2 * 16 * 64 * 4 + 64 * 64 * 4 + 8


def test_a_list_that_cannot_be_read_is_said_and_nothing_else() -> None:
    model = attention()
    entry = report(["Layers:\nnews"], [("", model)], MACHINE, "8.9")
    assert entry["profiles"] == []
    assert "does not end before" in entry["unreadable"]
    entry = report([TWO_PROFILES] * 2, [("", model)], MACHINE, "8.9")
    assert "2 lists" in entry["unreadable"]
    entry = report([TWO_PROFILES], [("x=1", model)] * 3, MACHINE, "8.9")
    assert entry["unreadable"] == "the layers are of 2 profiles, not 3"
    figure = latency([], model, MACHINE, DEFAULT)
    assert figure.value == estimate(model, MACHINE).seconds
    assert figure.note == "roofline over the network"
    figure = latency([TWO_PROFILES], model, MACHINE, DEFAULT)
    assert figure.value == tables([TWO_PROFILES], [model], MACHINE)[0].estimate.seconds
    assert "layers" in figure.note


def test_a_bundle_tells_its_layers(tmp_path: Path) -> None:
    output = tmp_path / "b"
    command = ["compile", str(support.MODELS / "digits_cnn.onnx"), "--device", "rtx-4090"]
    done = CliRunner().invoke(app, [*command, "--precision", "fp16", "-o", str(output), "--json"])
    assert done.exit_code == 0, done.output
    layers = json.loads(done.stdout)["layers"]
    manifest = json.loads((output / "manifest.json").read_bytes())
    assert manifest["report"]["layers"] == layers
    assert layers["capability"] == "8.9"
    (profile,) = layers["profiles"]
    assert profile["macs"] == {"float16": manifest["report"]["macs"]}
    usage = manifest["usage"]
    on_gpu = usage.get("latency_parts", {}).get("on the GPU", usage["latency"])
    assert on_gpu["value"] == pytest.approx(profile["seconds"])
    told = CliRunner().invoke(app, ["explain", str(output)]).output
    assert "MACs: 100.0% in float16" in told
    assert f"{sum(row['limit'] != 'none' for row in profile['rows'])} layers for compute" in told
