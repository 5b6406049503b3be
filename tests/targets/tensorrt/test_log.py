"""The builder's log: figures are read from it, or it is an error."""

from __future__ import annotations

import pytest

from tapeout.errors import TapeoutError
from tapeout.targets.tensorrt.log import Log, Memory, Message

TWO_PROFILES = (
    ("VERBOSE", "Layers:\nName: one"),
    ("INFO", "Total Device Persistent Memory: 512 bytes"),
    ("INFO", "Total Activation Memory: 8201216 bytes"),
    ("INFO", "Total Device Persistent Memory: 0 bytes"),
    ("INFO", "Total Activation Memory: 8339456 bytes"),
    ("INFO", "Total Weights Memory: 33024 bytes"),
    ("ERROR", "it failed"),
)


def log(*left_out: int) -> Log:
    kept = [item for index, item in enumerate(TWO_PROFILES) if index not in left_out]
    return Log(tuple(Message(severity, text) for severity, text in kept))


def test_memory_of_each_profile() -> None:
    memory = log().memory(2)
    assert memory == Memory(33024, (8201216, 8339456), (512, 0))
    assert [memory.needed(index) for index in (0, 1)] == [8234752, 8372480]
    assert log().errors == ("it failed",)
    assert log().layers == ("Layers:\nName: one",)


def test_missing_lines_are_an_error_that_names_them_all() -> None:
    with pytest.raises(TapeoutError) as caught:
        log(2, 5).memory(2)
    assert [problem.where for problem in caught.value.problems] == [
        "Total Activation Memory",
        "Total Weights Memory",
    ]
    assert "stands 1 times" in str(caught.value)


def test_figures_of_more_profiles_than_asked_are_an_error() -> None:
    with pytest.raises(TapeoutError, match="2 times in the builder's log, not 1"):
        log().memory(1)
