"""The engine that `build.py` built on this device, loaded by TensorRT and run on the GPU.

It has been run by a recording stand-in for the two libraries only, not yet on a GPU.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

from . import build, card

AGAIN = "build it on this machine: python3 run/build.py"


class Engine(card.Engine):
    """A loaded engine with its memory on the GPU; see `card.Engine`."""

    library = "TensorRT"

    def _open(self, file: Path) -> tuple[bytes, Any, card.Cuda, card.fit.Gpu]:
        """Return a checked engine, both libraries, and the GPU to run on.

        Args:
            file: the engine in the bundle, or the network whose engine lies beside the bundle.
        """
        bundle = file.parent
        order = build.Order.read(bundle / "run" / "build.json")
        content, problems = _found(file, order)
        trt = importlib.import_module("tensorrt")
        problems += build.wrong_version(order.version, str(trt.__version__))
        cuda = card.Cuda("and its driver")
        gpus = cuda.gpus()
        fitting = [gpu for gpu in gpus if gpu.capability in order.capabilities]
        if not fitting:
            served = " or ".join(order.capabilities)
            problems += [f"{gpu} is not one that the bundle is for: {served}" for gpu in gpus]
        if problems:
            raise card.UnfitError([*problems, AGAIN])
        self._size = len(content)
        return content, trt, cuda, fitting[0]

    def _weights(self) -> int:
        """Return the bytes of the weights; of the whole engine where the library does not tell."""
        return super()._weights() if hasattr(self._trt, "EngineStat") else self._size


def _found(file: Path, order: build.Order) -> tuple[bytes, list[str]]:
    """Return the engine, and everything in which it is not the one that was built here."""
    engine = build.beside(file.parent) if file.name == order.model else file
    content, problems = _content(engine), []
    digest = hashlib.sha256(content).hexdigest()
    if engine is file:
        same = build.listed(file.parent)[0].get(file.name) == digest
        return content, [] if same else [f"{file.name} is not the file that the manifest lists"]
    try:
        known = json.loads(build.report_of(engine).read_text(encoding="utf-8"))
        if known["engine"] != digest:
            problems.append(f"{engine} is not the file that build.py wrote")
        if known["model"] != order.sha256:
            problems.append(f"{engine} was built from another network")
    except (OSError, ValueError, KeyError, TypeError) as error:
        problems.append(f"what is known of {engine} cannot be read: {error}")
    return content, problems


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise card.UnfitError([f"{file}: {error.strerror}", AGAIN]) from error
