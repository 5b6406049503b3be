"""What a bundle carries to run its engine on the device: C++ for TFLite Micro, and how to build it.

It is written from the public interface of tensorflow/tflite-micro as of commit 90b983c2b. Of that,
built for a 32-bit processor with an operator ``ethos-u`` that computes nothing, the arena of such
engines took the bytes that Vela planned and 460 to 750 more: of one operator, and of five.
"""

from __future__ import annotations

import shutil
import string
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .micro import resolving

if TYPE_CHECKING:
    from .optimised import Optimised

#: The folder of this package, and the one in a bundle.
RUN: Final = Path(__file__).resolve().parent / "run"

#: Bytes for TFLite Micro's own tables, and for those of each operator on the CPU: plenty.
_TABLES: Final = 4 << 10
_TABLES_EACH: Final = 1 << 10

_MAIN: Final = "main.cc"
_README: Final = "README.md"


def write_glue(directory: Path, engine: str, found: Optimised) -> None:
    """Write ``run/`` into a bundle's directory."""
    target = directory / RUN.name
    target.mkdir()
    shutil.copyfile(RUN / _README, target / _README)
    methods = ["AddEthosU", *sorted({resolving(item.name) for item in found.left})]
    filled = string.Template((RUN / f"{_MAIN}.in").read_text(encoding="utf-8")).substitute(
        engine=engine,
        symbol=engine.replace(".", "_"),
        arena=found.arena,
        tables=_TABLES + _TABLES_EACH * len(found.left),
        fast=found.fast,
        count=len(methods),
        methods=" ||\n      ".join(f"resolver.{name}() != kTfLiteOk" for name in methods),
    )
    (target / _MAIN).write_text(filled, encoding="utf-8")
