"""The networks that CPUs are compared on: trained ones from files, and architectures of size.

The architectures are those of the tests, of the size that they are used at; their weights are
random, as latency does not depend on them.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from tapeout import quantizer
from tapeout.lowering.analysis import costs
from tapeout.lowering.importers.onnx import load

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))  # where the networks are generated

import architectures  # noqa: E402 - found by the line above

import networks  # noqa: E402 - as is this

#: Trained networks, with the largest number of their input; the least is 0.
TRAINED: Final[Mapping[str, float]] = {
    "digits_cnn": 1,
    "resnet8_cifar10": 255,
    "kws_dscnn": 1,
    "ad_autoencoder": 1,
    "vww_mobilenet": 1,
}

#: Samples that fix the ranges of int8; the latency does not depend on them.
_CALIBRATION: Final = 4


#: Architectures; BERT's are BERT-Mini (Turc et al., 2019) and MiniLM-L12-H384 (Wang et al., 2020).
GENERATED: Final[Mapping[str, Callable[[], onnx.ModelProto]]] = {
    "resnet_18": architectures.resnet_18,
    "resnet_50": architectures.resnet_50,
    "mobilenet_v2": lambda: networks.mobilenet_v2(branch=0.3),
    "efficient_net": lambda: architectures.efficient_net(224),
    "u_net": lambda: architectures.u_net(128, 32),
    "bert_4_layers": lambda: architectures.encoder(128, 256, 4, 4),
    "bert_12_layers": lambda: architectures.encoder(128, 384, 12, 12),
    "lstm": architectures.lstm,
}

NAMES: Final = (*TRAINED, *GENERATED)


@dataclasses.dataclass(frozen=True)
class Network:
    """A network on disk with static shapes, the same for all engines, and samples for it.

    Attributes:
        folder: where its files are written.
        source: the folder of the trained networks.
    """

    name: str
    folder: Path
    source: Path

    @functools.cached_property
    def macs(self) -> int:
        """Multiply-adds of an inference, those of padding included."""
        return costs.of(load(self.file, {})).macs

    @functools.cached_property
    def file(self) -> Path:
        """The network in float32; a batch of any size becomes 1."""
        trained = self.name in TRAINED
        model = onnx.load(self.source / f"{self.name}.onnx") if trained else GENERATED[self.name]()
        for value in (*model.graph.input, *model.graph.output):
            for dim in value.type.tensor_type.shape.dim:
                if not dim.HasField("dim_value"):
                    dim.dim_value = 1
        path = self.folder / f"{self.name}.onnx"
        onnx.save(model, path)
        return path

    @functools.cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """Some random samples for each input, one after the other along the first dimension."""
        rng, limit = np.random.default_rng(0), TRAINED.get(self.name, 1)
        graph = onnx.load(self.file, load_external_data=False).graph
        shapes = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in graph.input
        }
        return {
            name: limit * rng.random((_CALIBRATION * first, *rest), np.float32)
            for name, (first, *rest) in shapes.items()
        }

    @property
    def feeds(self) -> dict[str, np.ndarray]:
        """The first sample: what is timed."""
        return {name: array[: len(array) // _CALIBRATION] for name, array in self.samples.items()}

    @functools.cached_property
    def calibration(self) -> Path:
        """The samples in a file."""
        path = self.folder / f"{self.name}.npz"
        np.savez(path, **self.samples)
        return path

    @functools.cached_property
    def quantized(self) -> Path:
        """The network in int8, as an ONNX file with QuantizeLinear and DequantizeLinear."""
        path = self.folder / f"{self.name}.int8.onnx"
        options = quantizer.QuantizeOptions(calibration=str(self.calibration))
        quantizer.quantize(self.file, path, options, force=True)
        return path

    @functools.cached_property
    def quantized_by_onnx_runtime(self) -> Path:
        """The network as ONNX Runtime's own quantizer writes it, for its fastest kernels on x86.

        These take unsigned activations and signed weights: with our signed ones of the same scales
        ResNet-18 takes 2.6 times as long there.
        """
        prepared = self.folder / f"{self.name}.prepared.onnx"
        path = self.folder / f"{self.name}.uint8.onnx"
        quant_pre_process(str(self.file), str(prepared))
        quantization.quantize_static(
            str(prepared),
            str(path),
            _Reader(self.samples),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return path


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # it has no types
    def __init__(self, samples: Mapping[str, np.ndarray]) -> None:
        cut = {name: np.split(array, _CALIBRATION) for name, array in samples.items()}
        self._feeds = iter(
            [{name: parts[index] for name, parts in cut.items()} for index in range(_CALIBRATION)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)
