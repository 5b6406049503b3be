"""Building an engine: first a plan, which is data, then its execution in processes of their own.

TVM and LLVM are native code that a strange model can bring down; in a process of its own that is an
error message. The plan names every file and command, so that the same plan gives the same engine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import onnx_ir as ir
import pydantic

from ...budget import Figure
from ...errors import ModelError, Problem, TapeoutError
from ...profiles.schema import Cpu, Profile, Toolchain
from ..base import Progress
from .host import processor_features
from .link import link_command
from .schedules.core import Core
from .schedules.workload import Choice, Workload

ENGINE: Final = "engine.so"

#: What lies beside an engine for a CPU, for the system to map: its constants.
BLOCK: Final = "engine.weights"

#: The functions of an engine that make one call of a kernel each: this and its number, from 0.
CALL: Final = "call"

#: What the compiler's process reads and writes, in the folder where it runs.
MODEL: Final = "model.onnx"
WEIGHTS: Final = "model.weights"
REQUEST: Final = "request.json"
KERNELS: Final = "kernels.o"
MEMORY: Final = "memory.json"
WORKLOADS: Final = "workloads.json"
REFUSAL: Final = "refusal.json"

_WORKLOADS: Final = pydantic.TypeAdapter(tuple[Workload | None, ...])

_TAIL: Final = 20  # lines of what a failed command printed that are shown


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How engines of one kind are made.

    Attributes:
        compiler: the module that is the compiler's process.
        objects: what it writes for the linker.
        files: the engine, and what the compiler writes to lie beside it.
        host: the machine that the engine is linked for, where the device is none that runs
            programs; None: the device.
    """

    compiler: str
    objects: tuple[str, ...]
    files: tuple[str, ...] = (ENGINE,)
    host: Toolchain | None = None


class Request(pydantic.BaseModel):
    """What an engine is for.

    Attributes:
        cpu: the cores that its kernels are scheduled for; None: they are for another processor.
        threads: so many of these cores share each kernel.
        choices: how workloads are computed that are not left to the analysis.
        steps: whether each call of a kernel is a function of its own, too, so as to be timed.
        direct: whether convolutions are computed with all multiplications.
    """

    toolchain: Toolchain
    cpu: Cpu | None
    threads: int = 1
    choices: tuple[tuple[Workload, Choice], ...] = ()
    steps: bool = False
    direct: bool = False

    @classmethod
    def of(cls, profile: Profile, threads: int = 1, *, direct: bool = False) -> Request:
        """Return what a profile says."""
        return cls(toolchain=profile.toolchain, cpu=profile.cpu, threads=threads, direct=direct)

    @property
    def core(self) -> Core:
        """What kernels for its cores are made for; raises as `processor_features` does."""
        if self.cpu is None:
            raise ValueError("an engine for a CPU needs to know its cores")
        core = Core.of(self.cpu, processor_features(self.toolchain), self.threads)
        return dataclasses.replace(core, choices=dict(self.choices), direct=self.direct)


#: Engines for a CPU.
CPU: Final = Recipe("tapeout.targets.tvm.compiler_process", (KERNELS,), (ENGINE, BLOCK))


@dataclasses.dataclass(frozen=True)
class BuildPlan:
    """What builds an engine.

    Attributes:
        files: name -> SHA-256 of what the commands find in their folder.
        commands: in order; ``python`` is the interpreter that runs tapeout, paths are relative.
        versions: name -> version of the tools.
    """

    files: Mapping[str, str]
    commands: tuple[tuple[str, ...], ...]
    versions: Mapping[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of all of it: equal digests give equal engines."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes by what they hold.

    Attributes:
        weights: the constants.
        workspace: intermediate values; on a GPU the previous result, too, which the virtual machine
            keeps until it has the next.
        scratch: what the kernels themselves need.
        inputs, outputs: the tensors that the caller gives and gets.
    """

    weights: int
    workspace: int
    scratch: int
    inputs: int
    outputs: int

    @property
    def parts(self) -> tuple[tuple[str, Figure], ...]:
        """Return the terms of a usage's memory, by name."""
        return (
            ("weights", Figure(self.weights, "B", "exact")),
            ("workspace", Figure(self.workspace, "B", "exact", "between the kernels")),
            ("scratch", Figure(self.scratch, "B", "exact", "inside the kernels")),
            ("inputs and outputs", Figure(self.inputs + self.outputs, "B", "exact")),
        )


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What is known of an engine that was built.

    Attributes:
        memory: what it allocates.
        workloads: of each call of a kernel, in the order in which they run; None: it cannot be
            tuned. Empty for a GPU.
    """

    memory: Memory
    workloads: tuple[Workload | None, ...]

    @property
    def tunable(self) -> tuple[Workload, ...]:
        """Return its workloads, each once, in the order in which they are computed first."""
        return tuple(dict.fromkeys(work for work in self.workloads if work is not None))


def write_inputs(model: ir.Model, request: Request, folder: Path) -> None:
    """Write what the compiler reads: the model, its weights beside it, and what it is for."""
    ir.save(model, folder / MODEL, external_data=WEIGHTS)
    (folder / REQUEST).write_text(request.model_dump_json(), encoding="utf-8")


def make_engine(
    model: ir.Model,
    request: Request,
    versions: Mapping[str, str],
    directory: Path,
    progress: Progress,
    recipe: Recipe = CPU,
) -> Outcome:
    """Build the files of an engine in a directory. Raises as `execute_plan` does."""
    with tempfile.TemporaryDirectory(prefix="tapeout-build-") as scratch:
        folder = Path(scratch)
        write_inputs(model, request, folder)
        execute_plan(build_plan(request.toolchain, versions, folder, recipe), folder, progress)
        for name in recipe.files:
            shutil.copyfile(folder / name, directory / name)
        return Outcome(memory_in(folder), workloads_in(folder))


def build_plan(
    toolchain: Toolchain, versions: Mapping[str, str], folder: Path, recipe: Recipe = CPU
) -> BuildPlan:
    """Return the plan for the inputs that lie in a folder; runs nothing."""
    names = [name for name in (MODEL, WEIGHTS, REQUEST) if (folder / name).exists()]
    compiler = ("python", "-P", "-m", recipe.compiler)
    linker = link_command(recipe.host or toolchain, ENGINE, recipe.objects)
    return BuildPlan(
        files={name: _sha256(folder / name) for name in names},
        commands=(compiler, linker),
        versions=dict(versions),
    )


def execute_plan(plan: BuildPlan, folder: Path, progress: Progress) -> None:
    """Run the commands of a plan in the folder of its inputs; the engine lies there afterwards.

    Raises:
        ModelError: TVM does not take the model; names the node.
        TapeoutError: a command failed or crashed; shows it, and what it printed.
    """
    for command, what in zip(plan.commands, ("compiling", "linking"), strict=True):
        progress(f"{what} (build {plan.digest[:12]})")
        done = subprocess.run(
            [sys.executable, *command[1:]],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if (folder / REFUSAL).exists():
            refusal = json.loads((folder / REFUSAL).read_text(encoding="utf-8"))
            problems = [Problem(**problem) for problem in refusal["problems"]]
            raise ModelError(refusal["summary"], problems)
        if done.returncode != 0:
            raise _failure(what, command, plan, done)


def memory_in(folder: Path) -> Memory:
    """Return what the engine that was built in the folder allocates at run time."""
    return Memory(**json.loads((folder / MEMORY).read_text(encoding="utf-8")))


def workloads_in(folder: Path) -> tuple[Workload | None, ...]:
    """Return what `Outcome` says of the workloads of the engine that was built in the folder."""
    file = folder / WORKLOADS
    return _WORKLOADS.validate_json(file.read_bytes()) if file.exists() else ()


def environment(folder: Path) -> dict[str, str]:
    """Return the environment: this process's modules, and a cache that zig can write."""
    found = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    found["ZIG_LOCAL_CACHE_DIR"] = str(folder)
    # Where zig keeps the C libraries it has made: zig locks it against parallel runs.
    found.setdefault("ZIG_GLOBAL_CACHE_DIR", str(cache_folder("zig")))
    return found


def cache_folder(name: str) -> Path:
    """Return a folder of this user's that outlasts a build."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    cache = base / "tapeout" / name
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            return cache
    except OSError:  # a home that is not there, or read-only
        cache = Path(tempfile.gettempdir()) / f"tapeout-{name}-{os.getuid()}"
        cache.mkdir(parents=True, exist_ok=True)
        return cache


def _failure(
    what: str, command: tuple[str, ...], plan: BuildPlan, done: subprocess.CompletedProcess[Any]
) -> TapeoutError:
    if done.returncode < 0:
        how = f"crashed ({signal.Signals(-done.returncode).name})"
    else:
        how = f"failed with exit code {done.returncode}"
    said = done.stdout.decode(errors="replace").strip().splitlines()[-_TAIL:]
    return TapeoutError(
        f"{what} {how} in build {plan.digest[:12]}: {' '.join(command)}",
        [Problem("", line) for line in said],
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
