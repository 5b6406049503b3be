"""TensorRT for RTX, asked in a process of its own: what it refuses, and the engine it builds.

It compiles ahead of time, without GPU and driver. In a process of its own, because native code can
crash on a strange network, prints to the standard output, and gives the same bytes only to the
first build of a process.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from ...errors import ModelError, Problem, TapeoutError
from ..process import ending
from .log import WANTED, Log, read

#: What builds: a program that imports TensorRT-RTX and nothing of ours.
_PROGRAM: Final = Path(__file__).resolve().with_name("builder_process.py")

#: Seconds after which it counts as hung; ResNet-50 takes less than one.
TIMEOUT: Final = 1800.0

_TAIL: Final = 5  # lines of what a crashed build printed that are shown

#: Least, usual and greatest shape of an input.
Shape = tuple[int, ...]
Range = tuple[Shape, Shape, Shape]

#: One optimization profile: the range of each input, by name.
Ranges = tuple[tuple[str, Range], ...]


@dataclasses.dataclass(frozen=True)
class Request:
    """What to build.

    Attributes:
        onnx: the network, with the precision of each tensor in it.
        capabilities: compute capabilities that the engine must serve, as ``8.9``.
        profiles: optimization profiles; none where all shapes are static.
        tf32: whether products of float32 may be computed with 10 bits of mantissa.
        sparse: whether kernels for 2:4 sparse weights may be taken.
    """

    onnx: bytes
    capabilities: tuple[str, ...]
    profiles: tuple[Ranges, ...] = ()
    tf32: bool = False
    sparse: bool = False


@dataclasses.dataclass(frozen=True)
class Engine:
    """What was built, and what the builder said."""

    content: bytes
    log: Log


def unsupported(onnx: bytes) -> list[Problem]:
    """Return every node that the parser does not take, with its reason; builds nothing."""
    request = {"build": False, "wanted": []}
    with tempfile.TemporaryDirectory(prefix="tapeout-rtx-") as scratch:
        return _problems(_answer(Path(scratch), onnx, request)["findings"])


@functools.lru_cache(maxsize=4)  # a plan is checked, estimated and built: compile it once
def engine(request: Request) -> Engine:
    """Return the engine of a network; equal requests give equal bytes.

    Raises:
        ModelError: the parser or the builder refuses the network; every reason is listed.
        TapeoutError: the builder crashed or did not finish.
    """
    asked = {
        "build": True,
        "wanted": WANTED,
        "flags": {"TF32": request.tf32, "SPARSE_WEIGHTS": request.sparse},
        "capabilities": [enumerator(name) for name in request.capabilities],
        "profiles": request.profiles,
    }
    with tempfile.TemporaryDirectory(prefix="tapeout-rtx-") as scratch:
        answer = _answer(Path(scratch), request.onnx, asked)
        log = read(answer["log"])
        if findings := answer["findings"]:
            raise ModelError("TensorRT-RTX does not take the network", _problems(findings))
        built = Path(scratch) / "engine.trt"
        if not built.is_file():
            raise ModelError("TensorRT-RTX does not build the network", _refusals(log))
        return Engine(built.read_bytes(), log)


def enumerator(capability: str) -> str:
    """Return how the library names a compute capability: ``SM89`` for ``8.9``."""
    return "SM" + capability.replace(".", "")


def _answer(folder: Path, onnx: bytes, request: dict[str, Any]) -> dict[str, Any]:
    """Run the program on a network; return what it answered."""
    (folder / "network.onnx").write_bytes(onnx)
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    run(folder)
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_bytes())
    return answer


def run(folder: Path) -> None:
    """Run the program on what lies in a folder; raises TapeoutError if it does not finish."""
    command = [sys.executable, "-I", "-B", str(_PROGRAM), "."]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TapeoutError(f"TensorRT-RTX did not finish in {TIMEOUT:g} s") from error
    if done.returncode != 0:
        how = ending(done.returncode)
        lines = done.stderr.decode(errors="replace").strip().splitlines()[-_TAIL:]
        raise TapeoutError(f"TensorRT-RTX {how}", [Problem("", line) for line in lines])


def _problems(findings: list[dict[str, str]]) -> list[Problem]:
    """Return what the parser found; of what is not about a node it names none."""
    return [
        Problem(
            f"node {item['node']!r}" if item["node"] else "",
            f"{item['operator']}: {_reason(item)}" if item["operator"] else _reason(item),
        )
        for item in findings
    ]


def _reason(finding: dict[str, str]) -> str:
    """Return the parser's reason; some of its checks give none but the failed condition."""
    kind = finding["code"].lower().replace("_", " ")
    said = _first_line(finding["text"])
    if said in ("", "false"):
        return f"{kind} (the parser of TensorRT-RTX says no more, in {finding['function']})"
    return f"{kind}: {said}"


#: Where in its sources, and in which call, the library found something.
_ORIGIN: Final = re.compile(
    r"^(?:IBuilder::\w+: |\[\S+\] )*(?:Error Code \d+: )?|\s*In \w+ at /\S+:\d+\)?$"
)

#: How the compiler names the node that it cannot compile.
_OPERATION: Final = re.compile(r"operation '(.+?)' for ")


def _refusals(log: Log) -> list[Problem]:
    found = []
    for text in dict.fromkeys(map(_first_line, log.errors)):
        node = _OPERATION.search(text)
        found.append(Problem(f"node {node[1]!r}" if node else "", text))
    return found or [Problem("", "it gives no reason")]


def _first_line(text: str) -> str:
    first = (text.strip().splitlines() or [""])[0]
    return _ORIGIN.sub("", first).strip()
