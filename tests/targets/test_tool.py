"""Running a tool of others: what it printed, how it ended, and that it ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tapeout.errors import TapeoutError
from tapeout.targets.tool import call, must


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_all_that_it_printed_is_returned(tmp_path: Path) -> None:
    text = "import os, sys; print(os.getcwd()); sys.stderr.buffer.write(b'\\xc3\\xa9 \\xff')"
    assert must("it", program(text), tmp_path, 60).split("\n") == [str(tmp_path), "é �"]
    seen = call("it", program("import os; print(os.environ['A'])"), tmp_path, 60, {"A": "b"})
    assert seen.stdout == "b\n"


def test_a_failure_shows_the_last_lines(tmp_path: Path) -> None:
    with pytest.raises(TapeoutError, match="it failed with 3") as raised:
        must("it", program("for i in range(30): print(i)\nraise SystemExit(3)"), tmp_path, 60)
    assert [str(problem) for problem in raised.value.problems] == [str(i) for i in range(10, 30)]


def test_a_tool_that_does_not_finish(tmp_path: Path) -> None:
    with pytest.raises(TapeoutError, match=r"it did not finish in 0\.5 s"):
        must("it", program("import time; time.sleep(60)"), tmp_path, 0.5)
