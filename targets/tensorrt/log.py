"""What the builder of TensorRT-RTX says while it works: memory figures, layers, findings.

The log is no interface and may change with any version: a figure that cannot be found in it is an
error, never a guess.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Final, Literal

from ...errors import Problem, TapeoutError

Severity = Literal["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"]

#: The most talkative messages that are worth keeping begin so.
WANTED: Final = ("Layers:",)

_WRONG: Final = ("INTERNAL_ERROR", "ERROR")

#: One line for each optimization profile, in their order.
_ACTIVATIONS: Final = re.compile(r"Total Activation Memory: (\d+) bytes")
_PERSISTENT: Final = re.compile(r"Total Device Persistent Memory: (\d+) bytes")

#: One line for the engine.
_WEIGHTS: Final = re.compile(r"Total Weights Memory: (\d+) bytes")


@dataclasses.dataclass(frozen=True)
class Message:
    """One message, whose text may have several lines."""

    severity: Severity
    text: str


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on the card, as the builder planned them.

    Attributes:
        weights: of the whole engine.
        activations: between the layers and inside them, for each optimization profile.
        persistent: what the layers keep from run to run, for each optimization profile.
    """

    weights: int
    activations: tuple[int, ...]
    persistent: tuple[int, ...]

    def needed(self, profile: int) -> int:
        """Return what one execution context in an optimization profile needs, weights included."""
        return self.weights + self.activations[profile] + self.persistent[profile]


@dataclasses.dataclass(frozen=True)
class Log:
    """The messages of one build, in order."""

    messages: tuple[Message, ...]

    @property
    def errors(self) -> tuple[str, ...]:
        """What the builder calls an error."""
        return tuple(item.text for item in self.messages if item.severity in _WRONG)

    @property
    def layers(self) -> tuple[str, ...]:
        """The texts that list an engine's layers: one, for all optimization profiles."""
        return tuple(item.text for item in self.messages if item.text.startswith(WANTED))

    def memory(self, profiles: int) -> Memory:
        """Return what the engine needs on the card.

        Args:
            profiles: how many optimization profiles it was built for; 1 where shapes are static.

        Raises:
            TapeoutError: the log does not have the lines, or not as many as there must be.
        """
        activations = self._figures(_ACTIVATIONS)
        persistent = self._figures(_PERSISTENT)
        weights = self._figures(_WEIGHTS)
        found = {
            "Total Activation Memory": (activations, profiles),
            "Total Device Persistent Memory": (persistent, profiles),
            "Total Weights Memory": (weights, 1),
        }
        wrong = [
            Problem(name, f"stands {len(figures)} times in the builder's log, not {expected}")
            for name, (figures, expected) in found.items()
            if len(figures) != expected
        ]
        if wrong:
            raise TapeoutError("the engine's memory is not known, so no budget can be held", wrong)
        return Memory(weights[0], activations, persistent)

    def _figures(self, line: re.Pattern[str]) -> tuple[int, ...]:
        found = (line.fullmatch(item.text.strip()) for item in self.messages)
        return tuple(int(match[1]) for match in found if match)


def read(entries: Sequence[tuple[Severity, str]]) -> Log:
    """Return the log that the builder's process wrote."""
    return Log(tuple(Message(severity, text) for severity, text in entries))
