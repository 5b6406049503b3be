"""Faults of a profile, as pydantic finds them, told with the line, the key and the fix."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, Final, Union

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..errors import Problem
from .schema import FindingsError, Profile, Sourced
from .yaml_lines import Node

Keys = tuple[str | int, ...]

_FIGURE: Final = "write {value: NUMBER UNIT, source: datasheet|measured|assumed, note: TEXT}"
_LONGEST: Final = 60


def problems_of(error: ValidationError, root: Node, whole: bool = True) -> list[Problem]:
    """Return every fault of the profile whose nodes are `root`, in the order of the schema.

    What is missing is left out if the nodes are not the `whole` profile.
    """
    told = [
        details
        for details in error.errors()
        if (whole or details["type"] != "missing") and not _echoes(details)
    ]
    return [problem for details in told for problem in _problems(details, root)]


def _echoes(details: ErrorDetails) -> bool:
    """Whether pydantic calls a list too short only because its wrong items do not count."""
    context = details.get("ctx", {})
    return details["type"] == "too_short" and len(details["input"]) >= context["min_length"]


def _problems(details: ErrorDetails, root: Node) -> list[Problem]:
    keys: Keys = tuple(key for key in details["loc"] if key != "[key]")
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, FindingsError):
        return [_problem(root, (*keys, *below), message) for below, message in cause.found]
    tell = _TELL.get(details["type"], _tell_other)
    what, fix = tell(keys, details)
    return [_problem(root, keys, what, fix)]


def _problem(root: Node, keys: Keys, what: str, fix: str = "") -> Problem:
    named = f"{_dotted(keys)}: {what}" if keys else what
    return Problem(root.nearest(keys).where, named, fix)


def _dotted(keys: Keys) -> str:
    """Return the way to a key as people write it: ``memories[0].size``."""
    parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return "".join(parts).lstrip(".")


def quoted(value: object) -> str:
    """Return a value for a message; of one that is long, the start."""
    if isinstance(value, dict | list | tuple):
        return "a list" if not isinstance(value, dict) else "a mapping"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return ``did you mean ...?`` with the closest of the known words, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=3, cutoff=cutoff)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"


def _schema_at(keys: Keys) -> tuple[Any, str]:
    """Return the type that `keys` lead to in the schema, and its description; None if unknown."""
    at: Any = Profile
    description = ""
    for key in keys:
        at = _bare(at)
        if isinstance(at, type) and issubclass(at, BaseModel):
            field = at.model_fields.get(str(key))
            at, description = (field.annotation, field.description or "") if field else (None, "")
        else:
            arguments = typing.get_args(at)
            at = arguments[1 if typing.get_origin(at) is dict else 0] if arguments else None
    return _bare(at), description


def _bare(at: Any) -> Any:
    """Return X of ``X | None``."""
    if typing.get_origin(at) in (Union, types.UnionType):
        return next(option for option in typing.get_args(at) if option is not type(None))
    return at


def _tell_missing(keys: Keys, _: ErrorDetails) -> tuple[str, str]:
    return "is missing", _schema_at(keys)[1]


def _tell_unknown(keys: Keys, _: ErrorDetails) -> tuple[str, str]:
    at, _description = _schema_at(keys[:-1])
    known = at.model_fields if isinstance(at, type) and issubclass(at, BaseModel) else ()
    return "is not a key here", nearest(str(keys[-1]), known)


def _tell_no_mapping(keys: Keys, details: ErrorDetails) -> tuple[str, str]:
    at, description = _schema_at(keys)
    figure = isinstance(at, type) and issubclass(at, Sourced)
    return f"{quoted(details['input'])} is not a mapping", _FIGURE if figure else description


def _tell_ours(_: Keys, details: ErrorDetails) -> tuple[str, str]:
    what, _separator, fix = str(details["ctx"]["error"]).partition("; ")
    return what, fix


def _tell_choice(_: Keys, details: ErrorDetails) -> tuple[str, str]:
    return f"{quoted(details['input'])} is none of the choices", details["ctx"]["expected"]


def _tell_other(keys: Keys, details: ErrorDetails) -> tuple[str, str]:
    before, should, rule = details["msg"].partition(" should ")
    what = f"should {rule}" if should else before
    return f"{quoted(details['input'])} {what}", _schema_at(keys)[1]


#: pydantic's type of error -> what to say: (what is wrong, the fix).
_TELL: Final[dict[str, Callable[[Keys, ErrorDetails], tuple[str, str]]]] = {
    "missing": _tell_missing,
    "extra_forbidden": _tell_unknown,
    "model_type": _tell_no_mapping,
    "model_attributes_type": _tell_no_mapping,
    "dict_type": _tell_no_mapping,
    "value_error": _tell_ours,
    "literal_error": _tell_choice,
}
