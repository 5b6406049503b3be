"""The real models, all the way through TVM: compiled for four architectures, run on two of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tapeout import compiler, runner
from tapeout.budget import Budget
from tapeout.bundle import Bundle
from tapeout.lowering.reference import Reference
from tapeout.numerics import compare

import support

pytestmark = pytest.mark.slow

#: Relative to the largest absolute value of the output.
TOLERANCE = 1e-4

#: How `file` names the machine of an engine.
ARCHITECTURES = {
    "host": "x86-64",
    "raspberry-pi-5": "ARM aarch64",
    "beaglebone-black": "ARM, EABI5",
    "visionfive-2": "UCB RISC-V",
}


def compiled(name: str, device: str, tmp_path: Path) -> Bundle:
    options = compiler.Options(runtime="tvm", verify_passes=True)
    job = compiler.prepare(support.MODELS / f"{name}.onnx", device, Budget(), options)
    return compiler.build(job, tmp_path / "x.bundle").bundle


@pytest.mark.parametrize("name", support.NAMES)
@pytest.mark.parametrize("device", ARCHITECTURES)
def test_a_model_is_compiled_for_the_architecture_and_runs_where_it_can(
    name: str, device: str, tmp_path: Path
) -> None:
    bundle = compiled(name, device, tmp_path)
    told = subprocess.run(
        ["file", "--brief", str(bundle.engine)], capture_output=True, text=True, check=True
    ).stdout
    assert told.startswith("ELF ")
    assert ARCHITECTURES[device] in told
    if device in ("host", "raspberry-pi-5"):
        samples = support.real_inputs(name, 16)
        (item,) = bundle.manifest.inputs
        np.savez(tmp_path / "real.npz", **{item.name: samples})
        outputs = runner.run(bundle, str(tmp_path / "real.npz"))
        expected = Reference(support.MODELS / f"{name}.onnx").run({item.name: samples})
        for difference in compare(outputs, expected, TOLERANCE):
            assert difference.problem is None


def test_the_figures_of_memory_add_up_and_are_exact(tmp_path: Path) -> None:
    bundle = compiled("resnet8_cifar10", "host", tmp_path)
    usage = bundle.usage
    assert usage.memory.known == usage.storage.known == "exact"
    assert usage.memory.value == sum(part.value for _, part in usage.parts)
    files = [bundle.engine, bundle.engine.with_suffix(".weights")]
    assert usage.storage.value == sum(file.stat().st_size for file in files)
    assert usage.latency is not None
    assert usage.latency.known == "estimated"
