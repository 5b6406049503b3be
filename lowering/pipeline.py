"""Pipelines of passes: their text form, how they are looked up, and how they run.

A pipeline prints as ``fold-batch-norm,to-nhwc,quantize{scheme=int8,per-channel=true}`` and parses
back from it, so that a manifest or a bug report holds it in one line.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import onnx_ir as ir

from ..errors import Problem, TapeoutError, UsageError
from . import passes as _passes

Pass = ir.passes.PassBase
Check = Callable[[ir.Model], list[Problem]]

_ITEM = re.compile(r"\s*([a-z0-9-]+)\s*(?:\{([^{}]*)\})?\s*(?:,|$)")


def pass_name(kind: type[Pass]) -> str:
    """Return the text name of a pass: ``FoldBatchNorm`` is ``fold-batch-norm``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower()


@functools.cache
def registry() -> dict[str, type[Pass]]:
    """Return every pass under `lowering.passes`, by text name (a dataclass that is a pass)."""
    found: dict[str, type[Pass]] = {}
    for module in pkgutil.iter_modules(_passes.__path__):
        loaded = importlib.import_module(f"{_passes.__name__}.{module.name}")
        for value in vars(loaded).values():
            if (
                isinstance(value, type)
                and issubclass(value, Pass)
                and dataclasses.is_dataclass(value)
                and value.__module__ == loaded.__name__
            ):
                found[pass_name(value)] = value
    return dict(sorted(found.items()))


def pass_text(item: Pass) -> str:
    """Return one pass as text; options that have their default value are left out.

    An option that is data (a `Recipe`, say, with a ``digest``) is shown by the digest's beginning;
    no text can give it back.
    """
    shown = []
    for field in dataclasses.fields(item):  # type: ignore[arg-type]  # every pass is a dataclass
        value = getattr(item, field.name)
        if hasattr(value, "digest"):
            shown.append(f"{field.name.replace('_', '-')}={value.digest[:12]}")
        elif value != field.default:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            shown.append(f"{field.name.replace('_', '-')}={text}")
    return pass_name(type(item)) + (f"{{{','.join(shown)}}}" if shown else "")


#: How the text of an option becomes a value of its field's type.
_OPTION_TYPES: Final[dict[str, Callable[[str], Any]]] = {
    "bool": {"true": True, "false": False}.__getitem__,
    "int": int,
    "float": float,
    "str": str,
}


def _option(kind: type[Pass], name: str, text: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    field = fields.get(name.replace("-", "_"))
    if field is None:
        known = ", ".join(key.replace("_", "-") for key in fields) or "none"
        raise UsageError(f"pass {pass_name(kind)!r} has no option {name!r}; its options: {known}")
    parse = _OPTION_TYPES.get(str(field.type))
    if parse is None:
        raise UsageError(f"pass {pass_name(kind)!r}: {name} is data, which no text can give")
    try:
        return parse(text)
    except (KeyError, ValueError):
        raise UsageError(
            f"pass {pass_name(kind)!r}: {name}={text!r} is not of type {field.type}"
        ) from None


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """A sequence of passes; `str()` gives its text form."""

    passes: tuple[Pass, ...]

    def __str__(self) -> str:
        return ",".join(pass_text(item) for item in self.passes)

    def __add__(self, other: Pipeline) -> Pipeline:
        return Pipeline(self.passes + other.passes)

    def __iter__(self) -> Iterator[Pass]:
        return iter(self.passes)

    @classmethod
    def parse(cls, text: str) -> Pipeline:
        """Read a pipeline's text form; raises UsageError that quotes what cannot be read."""
        items, position = [], 0
        while position < len(text):
            match = _ITEM.match(text, position)
            if match is None:
                raise UsageError(f"cannot read the pipeline at {text[position : position + 40]!r}")
            kind = registry().get(match[1])
            if kind is None:
                raise UsageError(f"no pass {match[1]!r}; the passes: {', '.join(registry())}")
            pairs = (pair.partition("=") for pair in (match[2] or "").split(",") if pair.strip())
            items.append(
                kind(
                    **{
                        name.strip().replace("-", "_"): _option(kind, name.strip(), value.strip())
                        for name, _, value in pairs
                    }
                )
            )
            position = match.end()
        return cls(tuple(items))

    def run(self, model: ir.Model, verify: Check | None = None) -> ir.Model:
        """Run the passes in order on `model`, in place where a pass is in place.

        Args:
            model: the model; its value must not be used afterwards.
            verify: asked after every pass; any problem it returns is a defect of that pass.

        Raises:
            TapeoutError: a pass failed or broke a rule; names the pass and those that ran before.
        """
        ran: list[str] = []
        for item in self.passes:
            try:
                model = item(model).model
            except TapeoutError:
                raise
            except Exception as error:
                raise _defect(item, ran, f"{type(error).__name__}: {error}") from error
            ran.append(pass_text(item))
            if verify is not None and (problems := verify(model)):
                raise _defect(item, ran[:-1], "it broke the dialect", problems)
        return model


def _defect(
    item: Pass, ran: list[str], what: str, problems: list[Problem] | None = None
) -> TapeoutError:
    before = ",".join(ran) or "none"
    return TapeoutError(
        f"pass {pass_text(item)} failed: {what}; ran before: {before}", problems or ()
    )
