"""All that was decided for one model: what the pass ``quantize`` writes into the graph."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping

import numpy as np

from .parameters import Parameters
from .scheme import Scheme


@dataclasses.dataclass(frozen=True, eq=False)
class Weights:
    """The quantized constants of one linear node.

    Attributes:
        integers: of the weight's shape, in the dtype of `parameters`.
        bias: float32, one number for each output channel; None if the node has none and needs
            none. It is quantized, where the scheme says so, when it is written.
    """

    integers: np.ndarray
    parameters: Parameters
    bias: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Recipe:
    """How one model is quantized.

    Attributes:
        activations: the parameters of every value that is quantized, by its name.
        weights: the constants of every quantized linear node, by the node's name.
        kept: the nodes that could be quantized but stay float, with the reason.
    """

    scheme: Scheme
    activations: Mapping[str, Parameters]
    weights: Mapping[str, Weights]
    kept: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all that the recipe says, as hexadecimal digits."""
        found = hashlib.sha256(self.scheme.name.encode())
        for name, parameters in sorted(self.activations.items()):
            _feed(found, name, parameters)
        for name, item in sorted(self.weights.items()):
            _feed(found, name, item.parameters)
            for array in (item.integers, item.bias):
                shape = "none" if array is None else str(array.shape)
                found.update(f"\0{shape}\0".encode())
                if array is not None:
                    found.update(np.ascontiguousarray(array).tobytes())
        for name, reason in sorted(self.kept.items()):
            found.update(f"\0{name}\0{reason}".encode())
        return found.hexdigest()


def _feed(found: hashlib._Hash, name: str, parameters: Parameters) -> None:
    kind = f"{parameters.dtype.name}\0{parameters.axis}\0{parameters.narrow}"
    found.update(f"\0{name}\0{kind}\0{parameters.scale.shape}\0".encode())
    found.update(parameters.scale.tobytes() + parameters.zero_point.tobytes())
