from __future__ import annotations

import pytest

from tapeout.lowering.canonical import canonical
from tapeout.lowering.importers.onnx import load
from tapeout.targets.tensorrt.builder import Request, engine
from tapeout.targets.tensorrt.enterprise.memory import needed, workspace
from tapeout.targets.tensorrt.network import onnx_of

import support

#: What the builder of TensorRT-RTX keeps for a layer whose kernel needs it.
_SCRATCH = 8_192_000


@pytest.mark.parametrize("name", ["digits_cnn", "resnet8_cifar10"])
def test_estimate_is_what_the_sibling_library_plans(name: str) -> None:
    model = canonical("nchw").run(load(support.MODELS / f"{name}.onnx"))
    planned = engine(Request(onnx_of(model), ("8.9",))).log.memory(1)
    [ours] = needed(model)
    assert planned.activations[0] + planned.persistent[0] - ours.activations in (0, _SCRATCH)
    assert ours.weights == pytest.approx(planned.weights, rel=0.02)


@pytest.mark.parametrize(
    ("capability", "size"), [("8.7", 16 << 20), ("8.9", 16 << 20), ("9.0", 32 << 20)]
)
def test_workspace_of_a_gpu(capability: str, size: int) -> None:
    assert workspace(capability) == size
