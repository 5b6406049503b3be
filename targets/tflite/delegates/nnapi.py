"""What Android's NNAPI takes of a TFLite model, through TFLite's delegate, and in which pieces.

What an operator must be like stands in `nnapi_rules`. The delegate's options are the defaults:
three partitions at most, no computing on NNAPI's own CPU code. The delegate asks the phone's
drivers, too, from API 29 on, and they may refuse more; only the phone can tell.
"""

from __future__ import annotations

from typing import Final

from ....errors import Problem, ProfileError
from ..operators import Graph, Operator
from .nnapi_rules import RULES
from .partitions import Delegate, Placement, place
from .rules import NEVER, Refusal
from .rules import refusals as refusals_of

NAME: Final = "NNAPI"

#: Partitions that the delegate takes unless told otherwise: StatefulNnApiDelegate::Options,
#: max_number_delegated_partitions.
MOST_PARTITIONS: Final = 3

#: Android API level -> NNAPI feature level (tflite/nnapi/NeuralNetworksTypes.h). After API 31
#: NNAPI is updated apart from Android: a later level is not known from Android's version.
LEVELS: Final = {27: 1, 28: 2, 29: 3, 30: 4, 31: 5}

#: What a feature level is called at which a rule ends to hold.
_PLATFORMS: Final = {
    2: "API 28", 3: "API 29", 4: "API 30", 6: "NNAPI feature level 6", 7: "NNAPI feature level 7",
}  # fmt: skip

_DEPRECATED: Final = 35


def feature_level(api: int) -> int:
    """Return the NNAPI feature level that an Android API level is sure to have; 0: none."""
    return max((level for since, level in LEVELS.items() if since <= api), default=0)


def refusals(operator: Operator, graph: Graph, level: int) -> tuple[Refusal, ...]:
    """Return why an operator is not taken at an NNAPI feature level; nothing if it is."""
    if level < 1:
        return (Refusal("there is no NNAPI before API 27"),)
    return tuple(
        Refusal(f"{item.reason}{_until(item)}", item.rule)
        for item in refusals_of(RULES, operator, graph, level)
    )


def _until(refusal: Refusal) -> str:
    rule = refusal.rule
    if rule is None or rule.until == NEVER:
        return ""
    return f" (before {_PLATFORMS[rule.until]})"


def placement(
    graph: Graph, api: int, *, feature: int | None = None, most: int = MOST_PARTITIONS
) -> Placement:
    """Return what the delegate makes of a model on a phone.

    Args:
        api: Android API level.
        feature: the NNAPI feature level of the phone's runtime and drivers, if it is known.
        most: partitions that the delegate may take; 0: all.

    Raises:
        ProfileError: there is no such feature level.
    """
    level = feature_level(api) if feature is None else feature
    if not 0 <= level <= 8:
        where = "NNAPI feature level"
        raise ProfileError("no such NNAPI", [Problem(where, f"{level}", "give one of 1 to 8")])

    def refusal(operator: Operator, seen: Graph) -> str | None:
        return "; ".join(item.reason for item in refusals(operator, seen, level)) or None

    found = place(graph, Delegate(NAME, most if most > 0 else len(graph.operators)), refusal)
    return Placement(found.delegate, found.partitions, found.reasons, notes(api, level))


def notes(api: int, level: int) -> tuple[str, ...]:
    """Return what the user should know of NNAPI at an API level."""
    found = []
    if api >= _DEPRECATED:
        found.append(
            f"NNAPI is deprecated from Android 15 (API {_DEPRECATED}) on: "
            "use the GPU delegate or the maker's own"
        )
    if level >= LEVELS[29]:
        found.append("the phone's drivers may refuse operators that the delegate takes")
    if 1 <= level < LEVELS[30]:
        found.append("before API 30 the delegate turns int8 into uint8 on the way to NNAPI")
    return tuple(found)
