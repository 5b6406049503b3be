"""Real networks all the way: proven on real samples, placed and routed in time, and run whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeout import numerics
from tapeout.budget import Budget
from tapeout.bundle import Bundle
from tapeout.compiler import Options, build, plan, prepare
from tapeout.job import Job
from tapeout.lowering.reference import Reference
from tapeout.profiles import catalog
from tapeout.targets.base import target_for
from tapeout.targets.fpga.elaboration import system
from tapeout.targets.fpga.folding.device import device
from tapeout.targets.fpga.folding.solution import designed_as
from tapeout.targets.fpga.hardware.memories import MEMORIES
from tapeout.targets.fpga.hosted import outputs
from tapeout.targets.fpga.network.importing import imported

import support

DEVICE = "ulx3s-85f"

#: Those whose place and route takes a quarter of an hour or more.
LARGE = {"kws_dscnn", "resnet8_cifar10"}

NETWORKS = [
    pytest.param(name, marks=pytest.mark.layout if name in LARGE else pytest.mark.bitstream)
    for name in support.FPGA_LATENCIES
]


def job_of(
    name: str, folder: Path, count: int = 24, latency: float | None = None, **options: Any
) -> Job:
    [entry] = prepare(support.MODELS / f"{name}.onnx", DEVICE, Budget(), Options()).inputs
    data = folder / "samples.npz"
    np.savez(data, **{entry.name: support.real_inputs(name, count)})
    chosen = Options("int8", calibration=str(data), **options)
    return prepare(support.MODELS / f"{name}.onnx", DEVICE, Budget(latency=latency), chosen)


def execute(bundle: Bundle, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    profile = catalog.load(DEVICE)
    return target_for("fpga").execute(bundle.directory, profile, feeds).outputs


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_becomes_a_bitstream(name: str, tmp_path: Path) -> None:
    job = job_of(name, tmp_path, latency=support.FPGA_LATENCIES[name])
    [candidate] = plan(job)
    bundle = build(job, tmp_path / "bundle").bundle
    manifest = bundle.manifest
    assert manifest.status == "compiled"
    report, fpga = manifest.report, catalog.load(DEVICE).fpga
    assert fpga is not None

    # Bit for bit under stalls, on real samples; in the cycles that were predicted; in time.
    proof = report["proof"]
    assert proof["samples"] >= 20
    latency = proof["latency"] / fpga.clock.value
    assert candidate.usage.latency is not None
    assert latency == candidate.usage.latency.value
    assert max(latency, proof["interval"] / fpga.clock.value) < support.FPGA_LATENCIES[name]

    # As placed: at the clock, within the device, and as many blocks and multipliers as predicted.
    made = report["implementation"]
    assert made["hertz"] >= fpga.clock.value
    model = imported(candidate.model)
    folding = str(dict(candidate.plan.options)["folding"])
    solution = designed_as(model.network, folding, device(fpga))
    expected = solution.point.cost + system.cost(solution.design, MEMORIES[fpga.family])
    taken, netlist = made["cost"], made["netlist"]
    assert (taken["multipliers"], taken["blocks"]) == (expected.multipliers, expected.blocks)
    assert abs(expected.luts / netlist["luts"] - 1) < 0.15
    assert abs(expected.flip_flops / netlist["flip_flops"] - 1) < 0.15
    assert taken["luts"] <= fpga.luts.value
    assert bundle.engine.stat().st_size == manifest.usage["storage"]["value"]

    # The whole of it, its serial port included, gives what numpy gives.
    feeds = {model.input: support.real_inputs(name, 2)}
    found = execute(bundle, feeds)[model.output]
    np.testing.assert_array_equal(found, outputs(model, feeds)[model.output])


@pytest.mark.bitstream
def test_every_digit_is_read_as_by_the_int8_model(tmp_path: Path) -> None:
    """By the whole design in the simulator, against the quantized model in ONNX Runtime."""
    job = job_of("digits_cnn", tmp_path, 64, plan={"flow": "rtl"})
    [candidate] = plan(job)
    bundle = build(job, tmp_path / "bundle").bundle
    digits = support.real_inputs("digits_cnn", 597)
    [entry], [output] = job.inputs, job.outputs
    found = execute(bundle, {entry.name: digits})[output.name]
    quantized = Reference(candidate.source)
    expected = np.concatenate(
        [quantized.run({entry.name: digit})[output.name] for digit in digits[:, None]]
    )
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))
    labels = np.load(support.MODELS / "digits.npz")["labels"]
    reached = numerics.top1({output.name: found}, labels)
    assert reached == numerics.top1({output.name: expected}, labels)
    assert reached.share > 0.99


@pytest.mark.bitstream
def test_visual_wake_words_fit_and_are_proven(tmp_path: Path) -> None:
    job = job_of("vww_mobilenet", tmp_path, plan={"flow": "rtl"})
    bundle = build(job, tmp_path / "bundle").bundle
    report = json.loads((bundle.directory / "manifest.json").read_text())["report"]
    assert report["proof"]["samples"] >= 20
    assert report["proof"]["interval"] < 150_000
