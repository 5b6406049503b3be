"""The device at hand, if it is: the bundle's own program builds the engine, and runs it.

That path is written against the public API of TensorRT, and untested until it has run on a machine
that has the library.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np

from ....errors import ModelError, Problem, TapeoutError
from ... import nvidia, process
from ...base import Execution
from .glue import ENGINE, write_engine_code
from .run import build as program

#: Seconds after which a build counts as hung.
TIMEOUT: Final = 4 * 3600.0

_TAIL: Final = 5  # lines of what a crashed build printed that are shown

_PROGRAM: Final = Path(program.__file__).resolve()

_ELSEWHERE: Final = "build it and run it on the device, as run/README.md in the bundle says"


@dataclasses.dataclass(frozen=True)
class Known:
    """What building told: the version of TensorRT, the engine's bytes, and its memory by part."""

    version: str
    size: int
    parts: tuple[tuple[str, int], ...]


def unfit(version: str, capabilities: Sequence[str]) -> Problem | None:
    """Return why an engine cannot be built and run on this machine; None if it can.

    Args:
        version: of TensorRT; an installed one may have further parts.
        capabilities: compute capabilities of the GPUs that it is for.
    """
    if importlib.util.find_spec("tensorrt") is None:
        return Problem("TensorRT", "is not installed on this machine", _ELSEWHERE)
    if found := program.wrong_version(version, metadata.version("tensorrt")):
        return Problem("TensorRT", found[0], _ELSEWHERE)
    try:
        nvidia.fitting(capabilities)
    except nvidia.DriverError as error:
        return Problem("GPU", str(error), _ELSEWHERE)
    return None


def build(bundle: Path) -> Known:
    """Build the engine of a bundle that is being made.

    Raises:
        ModelError: TensorRT does not take the network; every reason is listed.
        TapeoutError: it failed otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="tapeout-trt-") as scratch:
        report = Path(scratch) / "report.json"
        options = ["--output", str(bundle / ENGINE), "--report", str(report)]
        done = _run(["--bundle", str(bundle), *options])
        if done.returncode != 0:
            kind = ModelError if done.returncode == program.REFUSED else TapeoutError
            raise kind("TensorRT does not build the network", _said(done))
        known = json.loads(report.read_bytes())
    found = known["memory"]
    parts = [(name, int(found[name])) for name in ("engine", "activations", "interface")]
    return Known(str(known["tensorrt"]), int(found["engine"]), tuple(parts))


def execute(bundle: Path, feeds: Mapping[str, np.ndarray], repeat: int) -> Execution:
    """Run an engine that was built on this machine; see `Target.execute`."""
    with tempfile.TemporaryDirectory(prefix="tapeout-trt-") as scratch:
        return process.execute(
            bundle,
            write_engine_code(Path(scratch)),
            feeds,
            where="device",
            python=[sys.executable],
            environment=nvidia.environment(),
            repeat=repeat,
        )


def _run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {"LC_ALL": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)}
    try:
        return subprocess.run(
            [sys.executable, "-I", "-B", str(_PROGRAM), *arguments],
            env={**environment, **nvidia.environment()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TapeoutError(f"TensorRT did not finish in {TIMEOUT:g} s") from error


def _said(done: subprocess.CompletedProcess[str]) -> list[Problem]:
    """Return the reasons that the program gave, or what was printed last."""
    lines = done.stderr.strip().splitlines()
    starts = [index for index, line in enumerate(lines) if line.startswith("build.py: ")]
    told = lines[starts[-1] :] if starts else lines[-_TAIL:]
    found = [line.strip().removeprefix("build.py: ") for line in told]
    return [Problem("", line) for line in found or [f"exit code {done.returncode}"]]
