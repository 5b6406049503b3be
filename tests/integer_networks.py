"""What the tests of FPGAs share: models in integers, and how far two computations are apart."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tapeout.data import Data
from tapeout.job import described
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.reference import Reference
from tapeout.quantizer import Converter
from tapeout.targets.fpga.network import reference
from tapeout.targets.fpga.network.graph import Network, Tensor
from tapeout.targets.fpga.network.importing import SCHEME
from tapeout.targets.fpga.pipeline import pipeline

import support


def converted(model: ir.Model, samples: np.ndarray) -> ir.Model:
    """Return a float model with integers between QuantizeLinear and DequantizeLinear.

    Args:
        samples: [samples, ...] to find ranges with.
    """
    inputs = tuple(map(described, model.graph.inputs))
    data = Data({inputs[0].name: samples}, None)
    return Converter(model, inputs, data, None, None, method="minmax").to(SCHEME).outcome.model


def lowered(model: ir.Model, samples: np.ndarray) -> ir.Model:
    """Return a float model in integers, as targets for FPGAs are given it."""
    return pipeline().run(converted(model, samples))


def real(name: str, count: int = 16) -> ir.Model:
    """Return one of the real models in integers, calibrated with so many real samples."""
    return lowered(load(support.MODELS / f"{name}.onnx"), support.real_inputs(name, count))


def watched(model: ir.Model, network: Network, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Return what ONNX Runtime gives for each tensor of the network: [frames, ...] by name."""
    model = model.clone()
    values = {str(value.name): value for node in model.graph for value in node.outputs}
    values |= {str(value.name): value for value in model.graph.inputs}
    names = [tensor.name for tensor in network.tensors()]
    model.graph.outputs[:] = [values[name] for name in names if values[name].producer()]
    runtime, [entry] = Reference(model), model.graph.inputs
    found = [
        {entry.name: frame, **runtime.run({str(entry.name): frame})} for frame in frames[:, None]
    ]
    return {
        tensor.name: _channels_last(np.concatenate([item[tensor.name] for item in found]), tensor)
        for tensor in network.tensors()
    }


def _channels_last(array: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Return [frames, ...] as the tensor has it; the model may see the channels first."""
    height, width, channels = tensor.shape
    if array.shape[1:] == (channels, height, width) != tensor.shape:
        array = np.moveaxis(array, 1, -1)
    return array.reshape(-1, *tensor.shape)


def steps_apart(network: Network, wanted: dict[str, np.ndarray]) -> dict[str, int]:
    """Return by how much each layer, given what ONNX Runtime gives it, differs at most."""
    found = {}
    for layer in network.layers:
        given = reference.compute(layer, *(wanted[name] for name in layer.inputs))
        off = given.astype(np.int64) - wanted[layer.output.name]
        found[layer.name] = int(np.abs(off).max())
    return found
