"""A whole network in numpy: the host's steps around the integer reference of the hardware."""

from __future__ import annotations

import numpy as np

from ..base import Arrays
from .network import reference
from .network.importing import Imported
from .run import host


def frames(model: Imported, feeds: Arrays) -> np.ndarray:
    """Return what the hardware is given for samples: int8 [frames, height, width, channels]."""
    given = host.run(model.before, np.asarray(feeds[model.input]))
    return given.reshape(-1, *model.network.input.shape)


def outputs(model: Imported, feeds: Arrays) -> dict[str, np.ndarray]:
    """Return the model's output, as the bundle gives it."""
    given = reference.run(model.network, frames(model, feeds))
    return {model.output: host.run(model.after, given)}
