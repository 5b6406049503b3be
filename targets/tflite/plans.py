"""Which plans a device offers: its precisions, each with threads and delegates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ...profiles.schema import Delegate, Profile
from ..base import Plan

#: Delegates besides XNNPACK, the preferred first, with the names that their reports have.
DELEGATES: Final[dict[Delegate, str]] = {"gpu": "GPU", "nnapi": "NNAPI"}

#: The last release of LiteRT for Android whose interpreter takes delegates: that of LiteRT 2 takes
#: none.
DELEGATES_IN: Final = "1.4.2"

#: What a plan has computed in float16 where the delegate can: not what promises float32.
EXACT: Final = ("fp32",)

_Options = tuple[tuple[str, int | str], ...]


def plans_of(profile: Profile, precisions: Sequence[str]) -> tuple[Plan, ...]:
    """Return the plans for a device with cores, the preferred first.

    On the cores one thread is tried, and all of the big ones. A delegate is tried where the profile
    names something that it reaches; what it leaves to the cores runs on one thread.
    """
    return tuple(
        Plan("tflite", precision, options)
        for precision in precisions
        for options in _options(profile)
    )


def delegate_of(plan: Plan) -> Delegate | None:
    """Return the delegate of a plan; None if it runs on the cores."""
    chosen = dict(plan.options).get("delegate")
    return next((name for name in DELEGATES if name == chosen), None)


def _options(profile: Profile) -> Iterator[_Options]:
    delegates = [name for name in DELEGATES if profile.reached_by(name)]
    for threads in dict.fromkeys((1, profile.threads)):
        yield (("threads", threads), ("delegate", "cpu")) if delegates else (("threads", threads),)
    yield from ((("threads", 1), ("delegate", name)) for name in delegates)
