"""The real models in integers, on real data: beside ONNX Runtime, by layer and as a whole."""

from __future__ import annotations

import integer_networks
import numpy as np
import pytest

from tapeout.lowering.importers.onnx import load
from tapeout.lowering.quantization.sqnr import sqnr
from tapeout.lowering.reference import Reference
from tapeout.targets.fpga.network import reference
from tapeout.targets.fpga.network.importing import imported
from tapeout.targets.fpga.run import host

import support

SAMPLES = 8

#: SQNR of the logits in dB beside the float model: some 2 dB less than measured.
FLOORS = {
    "digits_cnn": 38,
    "resnet8_cifar10": 35,
    "kws_dscnn": 41,
    "ad_autoencoder": 46,
    "vww_mobilenet": 23,
}


@pytest.mark.parametrize("name", support.NAMES)
def test_every_layer_is_within_one_step(name: str) -> None:
    source = load(support.MODELS / f"{name}.onnx")
    inputs = support.real_inputs(name, SAMPLES)
    model = integer_networks.lowered(source, inputs)
    found = imported(model)
    wanted = integer_networks.watched(model, found.network, inputs)
    apart = integer_networks.steps_apart(found.network, wanted)
    assert set(apart.values()) <= {0, 1}, apart

    # The logits, not what Softmax makes of them.
    result = reference.run(found.network, host.run(found.before, inputs))
    steps = [step for step in found.after if step["op"] != "softmax"]
    logits = host.run(steps, result).reshape(len(inputs), -1)
    for node in source.graph:
        if node.op_type == "Softmax":
            source.graph.outputs[0] = node.inputs[0]
    runtime = Reference(source)
    floats = [next(iter(runtime.run({found.input: x}).values())) for x in inputs[:, None]]
    assert sqnr(np.concatenate(floats), logits) > FLOORS[name]


def test_no_digit_is_read_otherwise() -> None:
    model = integer_networks.real("digits_cnn", 32)
    found, digits = imported(model), support.real_inputs("digits_cnn", 597)
    runtime = Reference(model)
    wanted = np.concatenate([runtime.run({found.input: x})[found.output] for x in digits[:, None]])
    outputs = host.run(found.after, reference.run(found.network, host.run(found.before, digits)))
    np.testing.assert_array_equal(outputs.argmax(1), wanted.argmax(1))
    labels = np.load(support.MODELS / "digits.npz")["labels"]
    assert (outputs.argmax(1) == labels).mean() > 0.99
