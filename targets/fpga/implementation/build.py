"""Building with tools that are packages of Python: a plan, which is data, and what executes it.

A plan has a digest, and each of its steps a key: whatever went into it, from the first file to the
versions of the tools. What a step wrote is kept under its key, so that it is not done twice.

The tools are compiled to WebAssembly and see one folder, the one where they work.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

from ....errors import MissingToolError, Problem, TapeoutError
from ...base import Progress
from ...process import ending
from .cache import Cache, machine_code

#: Seconds after which a step counts as hung; the largest designs take some ten minutes.
TIMEOUT: Final = 3 * 3600.0

INSTALL: Final = "pip install 'tapeout[fpga]'"

_TAIL: Final = 20  # lines of what a failed step printed that are shown
_PAUSE: Final = 0.2  # seconds between looks at a running step
_RUN: Final = "import sys, {0}; sys.exit({0}.{1}(sys.argv[1:]))"
_FAULT: Final = re.compile(r"^(ERROR|Error|fatal)\b.*|.*\bERROR:.*")


@dataclasses.dataclass(frozen=True)
class Tool:
    """A program in a package.

    Attributes:
        name: for people.
        package: of the index, as pip knows it.
        module, function: what runs it, with a list of arguments.
        milestones: matches the lines of its log that tell how far it is; the first group is shown.
    """

    name: str
    package: str
    module: str
    function: str
    milestones: str = ""


@dataclasses.dataclass(frozen=True)
class Step:
    """One run of a tool.

    Attributes:
        what: it does, for people.
        arguments: its own; paths are relative to the folder where it works.
        log: the file that it writes its messages to, if it does; else what it prints is the log.
        outputs: the files that it must leave behind, the log among them or not.
    """

    what: str
    tool: Tool
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    log: str = ""


@dataclasses.dataclass(frozen=True)
class BuildPlan:
    """What makes the outputs of its steps of files.

    Attributes:
        files: name -> text of what the first step finds.
        versions: package -> version of the tools.
    """

    files: Mapping[str, str]
    steps: tuple[Step, ...]
    versions: Mapping[str, str]

    @functools.cached_property
    def keys(self) -> tuple[str, ...]:
        """The key of each step: SHA-256 (hex) of all that its outputs depend on."""
        found: list[str] = []
        before = _digest({name: _digest(text) for name, text in self.files.items()})
        for step in self.steps:
            version = self.versions[step.tool.package]
            before = _digest([before, version, dataclasses.astuple(step)])
            found.append(before)
        return tuple(found)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all of it: equal digests give equal outputs."""
        return self.keys[-1]


def _digest(data: object) -> str:
    text = data if isinstance(data, str) else json.dumps(data, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def require(tools: Iterable[Tool]) -> dict[str, str]:
    """Return the versions of the packages that tools are in.

    Raises:
        MissingToolError: some are not installed; says how they are.
    """
    known = dict.fromkeys(tools)
    missing = [
        Problem(tool.package, f"is not installed: it brings {tool.name}", INSTALL)
        for tool in known
        if importlib.util.find_spec(tool.module) is None
    ]
    if missing:
        raise MissingToolError("tools for FPGAs are missing", missing)
    return {tool.package: metadata.version(tool.package) for tool in known}


def execute_plan(
    plan: BuildPlan, progress: Progress, cache: Cache
) -> Iterator[tuple[Step, dict[str, bytes]]]:
    """Do the steps of a plan; yield each with what it wrote: file name -> contents.

    Who sees enough stops asking: the other steps are not done.

    Raises:
        TapeoutError: a step failed, or did not finish; shows what it said.
    """
    with tempfile.TemporaryDirectory(prefix="tapeout-fpga-") as scratch:
        folder = Path(scratch)
        for name, text in plan.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        for step, key in zip(plan.steps, plan.keys, strict=True):
            outputs = cache.get(key)
            if outputs is None:
                progress(f"{step.what} with {step.tool.name} (build {key[:12]})")
                package = step.tool.package
                with machine_code(f"{package}-{plan.versions[package]}") as code:
                    outputs = _run(step, folder, code, progress)
                cache.put(key, outputs)
            else:
                progress(f"{step.what}: known (build {key[:12]})")
                for name, content in outputs.items():
                    (folder / name).write_bytes(content)
            yield step, outputs


def _run(step: Step, folder: Path, code: Path, progress: Progress) -> dict[str, bytes]:
    """Run one step in a folder, by a tool with its machine code in another; return the outputs."""
    call = _RUN.format(step.tool.module, step.tool.function)
    printed = folder / f"{step.tool.function}.printed"
    log = folder / step.log if step.log else printed
    with printed.open("wb") as sink:
        running = subprocess.Popen(
            [sys.executable, "-P", "-B", "-c", call, *step.arguments],
            cwd=folder,
            env={**os.environ, "YOWASP_MOUNT": "/=.", "YOWASP_CACHE_DIR": str(code)},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
        try:
            _watch(running, log, step, progress)
        finally:
            if running.poll() is None:  # interrupted, or hung
                running.kill()
                running.wait()
    missing = [name for name in step.outputs if not (folder / name).is_file()]
    if running.returncode != 0 or missing:
        raise _failure(step, running.returncode, missing, _lines(log) or _lines(printed))
    return {name: (folder / name).read_bytes() for name in step.outputs}


def _watch(running: subprocess.Popen[bytes], log: Path, step: Step, progress: Progress) -> None:
    """Wait until a step is done; tell the milestones that its log shows meanwhile.

    Raises:
        TapeoutError: it takes longer than `TIMEOUT`.
    """
    milestones = re.compile(step.tool.milestones or "(?!)")
    deadline, seen = time.monotonic() + TIMEOUT, 0
    while True:
        try:
            running.wait(_PAUSE)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                what = f"{step.what} did not finish in {TIMEOUT:g} s"
                raise TapeoutError(f"{what}: {step.tool.name}") from None
        if log.is_file():
            with log.open("rb") as file:
                file.seek(seen)
                new = file.read()
            whole = new.rfind(b"\n") + 1
            seen += whole
            for line in new[:whole].decode(errors="replace").splitlines():
                if match := milestones.match(line):
                    progress(f"{step.what}: {match[1]}")
        if running.returncode is not None:
            return


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    return path.read_bytes().decode(errors="replace").splitlines()


def _failure(step: Step, code: int, missing: list[str], said: list[str]) -> TapeoutError:
    faults = [line for line in said if _FAULT.match(line)] or said[-_TAIL:]
    how = ending(code) if code else f"wrote no {missing[0]}"
    return TapeoutError(
        f"{step.what}: {step.tool.name} {how}", [Problem("", line) for line in faults[:_TAIL]]
    )
