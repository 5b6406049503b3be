"""What is held to ONNX Runtime before hardware is made: integers, in their own steps."""

from __future__ import annotations

import dataclasses

import integer_networks
import numpy as np
import pytest

from tapeout.errors import VerificationError
from tapeout.lowering.reference import Reference
from tapeout.targets.fpga.hosted import checked, outputs
from tapeout.targets.fpga.network.graph import Conv
from tapeout.targets.fpga.network.importing import Imported, imported

import support

SAMPLES = 24


@pytest.mark.parametrize("name", ["digits_cnn", "resnet8_cifar10"])
def test_outputs_are_those_of_onnx_runtimes_integers(name: str) -> None:
    """Of ResNet-8, one step makes up to 0.08 of a probability: no reason to refuse it."""
    model = integer_networks.real(name, 32)
    found, inputs = imported(model), support.real_inputs(name, SAMPLES)
    runtime = Reference(model)
    wanted = np.concatenate([runtime.run({found.input: x})[found.output] for x in inputs[:, None]])
    given = checked(model, found, {found.input: inputs})[found.output]
    np.testing.assert_allclose(given, wanted, atol=1e-6)
    bits = outputs(found, {found.input: inputs})[found.output]
    assert (bits.argmax(1) == wanted.argmax(1)).mean() > 0.95


def test_what_rounding_does_not_explain_is_refused() -> None:
    model = integer_networks.real("digits_cnn", 32)
    found, inputs = imported(model), support.real_inputs("digits_cnn", SAMPLES)
    with pytest.raises(VerificationError, match=r"differs by \d+ steps at \[\d+, 0, 0, \d\]: "):
        checked(model, _spoilt(found), {found.input: inputs})


def _spoilt(found: Imported) -> Imported:
    """Return a network whose last layer has no bias."""
    *layers, last = found.network.layers
    assert isinstance(last, Conv)
    spoilt = dataclasses.replace(last, bias=last.bias * 0)
    network = dataclasses.replace(found.network, layers=(*layers, spoilt))
    return dataclasses.replace(found, network=network)
