"""What the memories of a stage hold, made when asked for: costs are asked for far more often."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ..hardware.design import Rom


class Contents(Mapping[str, Rom]):
    """Memories by the parameter that names them."""

    def __init__(self, makers: Mapping[str, Callable[[], Rom]]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> Rom:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
