"""Profiles of devices as text: the catalogue, and one with the source of every figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from .tables import console, table
from .units import format_bytes, format_seconds

if TYPE_CHECKING:
    from .profiles.schema import Profile, Sourced


def devices(profiles: Sequence[Profile]) -> None:
    """Show the catalogue."""
    rows = table("NAME", "KIND", "DEVICE", "MEMORY", "FP32 PEAK", "RUNTIMES", right=["MEMORY"])
    for item in profiles:
        peak = item.peak("float32")
        rows.add_row(
            item.name,
            item.kind,
            item.title,
            format_bytes(item.main_memory.size.value),
            f"{peak / 1e9:,.1f} Gop/s" if peak else "-",
            ", ".join(runtime.name for runtime in item.runtimes),
        )
    console().print(rows)


def profile(item: Profile) -> None:
    """Show every field of one profile; each figure with its source."""
    rows = table("FIELD", "VALUE", "SOURCE", "NOTE")
    for name, value in _flat("", item):
        rows.add_row(name, *value)
    console().print(rows)


def _flat(path: str, value: Any) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Walk a profile's fields; a figure is one row with its source and note."""
    fields = type(value).model_fields if hasattr(type(value), "model_fields") else None
    if fields is not None and {"value", "source", "note"} <= fields.keys():
        yield path, _sourced(path, value)
    elif fields is not None:
        for name in fields:
            yield from _flat(f"{path}.{name}" if path else name, getattr(value, name))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _flat(f"{path}.{name}", item)
    elif isinstance(value, tuple) and any(hasattr(type(item), "model_fields") for item in value):
        for index, item in enumerate(value):
            yield from _flat(f"{path}[{getattr(item, 'name', index)}]", item)
    elif value is not None and value != ():
        yield path, (_plain(path, value), "", "")


def _hertz(value: float) -> str:
    return f"{value / 1e9:g} GHz" if value >= 1e9 else f"{value / 1e6:g} MHz"


#: How the last part of a field's name says what its number is.
_SHOWN: Final[dict[str, Callable[[float], str]]] = {
    "size": format_bytes,
    "memory": format_bytes,
    "storage": format_bytes,
    "latency": format_seconds,
    "l1": format_bytes,
    "l2": format_bytes,
    "l3": format_bytes,
    "clock": _hertz,
    "frequency": _hertz,
    "bandwidth": lambda value: f"{value / 1e9:g} GB/s",
    "peak": lambda value: f"{value / 1e9:,.1f} Gop/s",
}


def _plain(path: str, value: Any) -> str:
    show = _SHOWN.get(path.rpartition(".")[2])
    if show is not None and isinstance(value, int | float):
        return show(value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else f"{value}"


def _sourced(path: str, figure: Sourced[Any]) -> tuple[str, str, str]:
    return _plain(path, figure.value), figure.source, figure.note
