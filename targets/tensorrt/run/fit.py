"""Whether an engine is the one of its bundle and fits a machine, asked before it is loaded.

A file that is damaged or for another GPU is not given to the runtime, which deserializes native
code. This file lies in ``run/`` of every bundle: it imports nothing but the standard library.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePath

from . import header


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU of this machine; `capability` is its compute capability: "8.9"."""

    index: int
    name: str
    capability: str

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name}), of compute capability {self.capability}"


@dataclasses.dataclass(frozen=True)
class Record:
    """What a bundle's manifest says of its engine.

    Attributes:
        version: of the TensorRT-RTX that loads it; an engine runs by no other.
        capabilities: compute capabilities of the GPUs that it serves.
        size, sha256: of the file.
        model, device, precision: what it was compiled from, and how.
    """

    version: str
    capabilities: tuple[str, ...]
    size: int
    sha256: str
    model: str
    device: str
    precision: str

    @classmethod
    def read(cls, manifest: Path, engine: str) -> Record:
        """Read a manifest; raises RuntimeError where it is not what tapeout writes."""
        try:
            data = json.loads(manifest.read_text(encoding="utf-8"))
            gpu = data["device"]["profile"]["gpu"]
            artifact = next(item for item in data["artifacts"] if item["path"] == engine)
            return cls(
                str(data["runtime"]["version"]),
                (str(gpu["capability"]), *map(str, gpu["also"])),
                int(artifact["size"]),
                str(artifact["sha256"]),
                str(data["model"]["file"]),
                str(data["device"]["name"]),
                str(data["plan"]["precision"]),
            )
        except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
            told = f"{manifest.name} is not the manifest of an engine for a GPU: {error!r}"
            raise RuntimeError(told) from error

    def damage(self, content: bytes) -> list[str]:
        """Return everything in which a file is not the engine of the bundle."""
        found = []
        digest = hashlib.sha256(content).hexdigest()
        if (len(content), digest) != (self.size, self.sha256):
            found.append(
                f"the file has {len(content)} bytes and sha256 {digest}, "
                f"the manifest says {self.size} and {self.sha256}"
            )
        try:
            read = header.parse(content)
        except header.HeaderError as error:
            return [*found, f"the file {error}"]
        unfit = header.unfit(read, len(content), self.version, self.capabilities)
        return [*found, *(f"the file {what}" for what in unfit)]

    def wrong_version(self, installed: str) -> list[str]:
        """Return why an installed version of TensorRT-RTX cannot load the engine; empty: it can."""
        if installed == self.version:
            return []
        return [
            f"TensorRT-RTX {installed} is installed, the engine is for {self.version}: "
            f"pip install tensorrt-rtx=={self.version}"
        ]

    def serves(self, gpu: Gpu) -> bool:
        """Return whether the engine holds code for a GPU."""
        return gpu.capability in self.capabilities

    def wrong_gpus(self, gpus: Sequence[Gpu]) -> list[str]:
        """Return why none of this machine's GPUs is served; empty: one is."""
        if any(map(self.serves, gpus)):
            return []
        wanted = " or ".join(self.capabilities)
        return [f"{gpu} is not one that the engine is for: {wanted}" for gpu in gpus]

    def rebuild(self, gpus: Sequence[Gpu]) -> str:
        """Return how to get an engine that fits: the command, and for which device."""
        fits = not gpus or any(map(self.serves, gpus))
        device = self.device if fits else "NAME"
        output = f"{PurePath(self.model).stem}-{device}.bundle"
        words = ["tapeout", "compile", self.model, "--device", device]
        command = shlex.join([*words, "--precision", self.precision, "-o", output])
        rebuild = f"rebuild it, with the same data, shapes and budget: {command}"
        if fits:
            return rebuild
        capabilities = " or ".join(dict.fromkeys(gpu.capability for gpu in gpus))
        told = f"NAME is a device of compute capability {capabilities}"
        return f"{rebuild} ({told}: `tapeout devices --kind gpu`)"
