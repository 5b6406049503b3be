"""What a bundle carries to run its engine on the device: the files of ``run/``.

On a phone an app runs the engine, on Linux a program. The sources are templates; what is filled in
comes from the plan: which delegate, how many threads, whether precision may be lost. Names, shapes
and dtypes of tensors, which the model's author chose, are in none of them: the programs read them
out of the engine.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from ...profiles.schema import Profile
from ..base import Plan
from ..process import HEADER
from ..process import RUN as PROGRAM
from .plans import DELEGATES, DELEGATES_IN, EXACT

#: The folder of this package, and the one in a bundle.
RUN: Final = Path(__file__).resolve().parent / "run"

#: The templates of each.
_APP: Final = ("README.md", "Engine.kt", "Engine.java", "android.sh")
_PHONE: Final = ("main.cc", *(f"android/{name}" for name in _APP))
_LINUX: Final = ("main.cc", "README.md")

#: A line that opens or closes a part that is for some delegates only: "//[nnapi gpu", "//]".
_MARK: Final = re.compile(r"\s*(?://|#|<!--)(?:\[(?P<wanted>[a-z ]+)|\])(?:-->)?\n")

_BLANK: Final = re.compile(r"@([A-Z]+)@")


def write_glue(directory: Path, profile: Profile, plan: Plan, oldest: str) -> None:
    """Write ``run/`` into a bundle's directory; the same bytes for the same arguments.

    Args:
        oldest: the oldest version of TensorFlow Lite that runs the engine.
    """
    target = directory / RUN.name
    target.mkdir()
    phone = profile.android is not None
    for template in (RUN / name for name in (_PHONE if phone else _LINUX)):
        text = filled(template.read_text(encoding="utf-8"), plan, oldest)
        (target / template.name).write_text(text, encoding="utf-8")
    for file in (HEADER,) if phone else (HEADER, PROGRAM, RUN / "engine.py"):
        shutil.copyfile(file, target / file.name)


def filled(template: str, plan: Plan, oldest: str) -> str:
    """Return a template as a plan wants it.

    Parts for other delegates are left out. Filled in are ``@THREADS@``, ``@RUNTIME@`` (the oldest
    one), ``@DELEGATES@`` (the release that takes some) and ``@LOSS@``: ``true`` or ``false``,
    whether a delegate may compute in float16.

    Raises:
        ValueError: the template is broken, or knows nothing of the plan's delegate.
    """
    delegate = dict(plan.options).get("delegate", "cpu")
    if delegate not in ("cpu", *DELEGATES):
        raise ValueError(f"no such delegate: {delegate!r}")
    values = {
        "THREADS": str(plan.threads),
        "RUNTIME": oldest,
        "DELEGATES": DELEGATES_IN,
        "LOSS": "false" if plan.precision in EXACT else "true",
    }
    lines, wanted = [], None
    for line in template.splitlines(keepends=True):
        mark = _MARK.fullmatch(line)
        if mark is None:
            if wanted is None or delegate in wanted:
                lines.append(line)
        elif (mark["wanted"] is None) == (wanted is None):
            raise ValueError(f"a part within a part, or one that ends before it starts: {line!r}")
        else:
            wanted = mark["wanted"].split() if mark["wanted"] is not None else None
    if wanted is not None:
        raise ValueError(f"the part for {wanted} does not end")
    return _BLANK.sub(lambda blank: values[blank[1]], "".join(lines))
