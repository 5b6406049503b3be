"""What a bundle carries to build its engine on the device, and to run it: the files of ``run/``."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Final

from ...process import RUN as PROGRAM
from .. import glue as card
from .run import build
from .run.build import Order, trtexec

#: The network that the engine is built from, and the engine where it was built at once.
MODEL: Final = "model.onnx"
ENGINE: Final = "engine.trt"

#: The folder of this package, and the one in a bundle.
RUN: Final = Path(__file__).resolve().parent / "run"

_BLANK: Final = re.compile(r"@([A-Z]+)@")
_README: Final = "README.md"


def write_order(directory: Path, order: Order) -> None:
    """Write ``run/build.json`` into a bundle's directory: what to build."""
    target = directory / RUN.name
    target.mkdir()
    content = json.dumps(order.to_json(), indent=1, sort_keys=True)
    (target / "build.json").write_text(content + "\n", encoding="utf-8")


def write_glue(directory: Path, order: Order) -> tuple[str, ...]:
    """Write ``run/`` into a bundle's directory.

    Returns: the command lines that build the engine on the device, in the bundle's folder; each of
    them does.
    """
    write_order(directory, order)
    target = directory / RUN.name
    line = trtexec(order, "../model.engine")
    values = {"VERSION": order.version, "TRTEXEC": line, "SERVED": ", ".join(order.capabilities)}
    text = (RUN / _README).read_text(encoding="utf-8")
    (target / _README).write_text(
        _BLANK.sub(lambda blank: values[blank[1]], text), encoding="utf-8"
    )
    write_engine_code(target)
    for file in (PROGRAM, RUN / "compare.py"):
        shutil.copyfile(file, target / file.name)
    return ("python3 run/build.py", line)


def write_engine_code(target: Path) -> Path:
    """Write what loads an engine into a folder; return the file with the class ``Engine``."""
    for file in (Path(build.__file__), RUN / "engine.py", card.RUN / "fit.py"):
        shutil.copyfile(file, target / file.name)
    shutil.copyfile(card.RUN / "header.py", target / "header.py")
    shutil.copyfile(card.RUN / "engine.py", target / "card.py")
    return target / "engine.py"
