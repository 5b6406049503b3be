"""What is computed, as the analysis of tiles and blocks sees it, and how: both as data."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import Field, PositiveInt

#: How pydantic reads these from a file.
STRICT: Final[dict[str, Any]] = {"extra": "forbid", "strict": True}

#: One number for each axis of the space.
Axes: TypeAlias = Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=3)]


@dataclasses.dataclass(frozen=True)
class Workload:
    """A convolution or a product, apart from its numbers and from what follows it.

    Attributes:
        kind: of a constant weight, the same by pairs of rows, of two computed operands, or of each
            channel by itself.
        dtype: of the data that it reads.
        images: that are computed like this, one after the other.
        places: of the output, along each axis of the space.
        reach: places of the data that the windows meet, and need.
        strides: of the windows.
        taps: places of a window or, of each channel by itself, words.
        inputs: words of channels that each output is over.
        outputs: channels.
        group: into so many groups these fall.
        copies: whether the data is copied first: never, where it pays, or always.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: Literal["product", "paired", "dynamic", "depthwise"]
    dtype: str
    images: PositiveInt
    places: Axes
    reach: Axes
    strides: Axes
    taps: PositiveInt
    inputs: PositiveInt
    outputs: PositiveInt
    group: PositiveInt
    copies: Literal["never", "maybe", "always"]

    @property
    def key(self) -> str:
        """One line of JSON that no other workload has."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))


@dataclasses.dataclass(frozen=True)
class Choice:
    """How a workload is computed: what the attributes of these names of `Tile` and `Blocks` say.

    Of each channel by itself `height`, `depth` and `group` are 1, and `packs` is false.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    width: PositiveInt
    channels: PositiveInt
    rows: PositiveInt
    height: PositiveInt = 1
    depth: PositiveInt = 1
    group: PositiveInt = 1
    packs: bool = False
