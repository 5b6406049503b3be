"""What the README shows is what its commands print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Each block of the README: commands, and lines of their output.
_BLOCKS = re.findall(r"^```\n(\$ .*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)

#: What takes minutes of place and route, and what files of the user's own stand for.
_ELSEWHERE = ("--device ulx3s-85f", "vww_mobilenet.onnx")

#: How far floats are off from ONNX Runtime's depends on the machine's.
_DIFFERENCE = re.compile(r"\d\.\d+e-\d+")

BLOCKS = [block for block in _BLOCKS if not any(text in block for text in _ELSEWHERE)]


def test_what_is_not_tried() -> None:
    assert len(_BLOCKS) - len(BLOCKS) == len(_ELSEWHERE)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0][-40:])
def test_commands_print_what_the_readme_says(block: str, tmp_path: Path) -> None:
    """In a folder of their own, where the examples are."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "build").mkdir()
    for part in re.split(r"^\$ tapeout ", block, flags=re.M)[1:]:
        command, _, said = part.partition("\n")
        done = subprocess.run(
            [sys.executable, "-m", "tapeout", *command.partition("#")[0].split()],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200"},
            capture_output=True,
            text=True,
        )
        printed = [line.rstrip() for line in (done.stdout + done.stderr).splitlines()]
        assert _DIFFERENCE.sub("", _shortened(printed, said)) == _DIFFERENCE.sub("", said)


def _shortened(printed: list[str], said: str) -> str:
    """Return lines without those that the README leaves out."""
    first, left_out, last = ("\n" + said).partition("\n...\n")
    if left_out:
        count = last.count("\n")
        printed = [*printed[: first.count("\n")], "...", *printed[len(printed) - count :]]
    return "".join(f"{line}\n" for line in printed)
