"""What a layer reads, as the model sees it and as the hardware has it."""

from __future__ import annotations

import dataclasses

from .graph import Tensor


class UnsupportedError(Exception):
    """No engine does a node's work.

    Attributes:
        what: why, with the offending value.
        fix: what to do about it.
    """

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.what, self.fix = what, fix


@dataclasses.dataclass(frozen=True)
class Source:
    """What a layer reads: a tensor, and the shape that the model sees in it.

    Attributes:
        shape: without the frames' axis; the same elements.
        last: whether the channels are the last axis that the model sees, as they are in the tensor;
            else they are the first.
    """

    tensor: Tensor
    shape: tuple[int, ...]
    last: bool = True

    @property
    def seen(self) -> tuple[int, ...]:
        """The shape that the model sees, with the channels last."""
        return self.shape if self.last else (*self.shape[1:], *self.shape[:1])

    @property
    def image(self) -> Tensor:
        """The tensor, if it is the image that the model sees, in either layout."""
        if image_of(self.seen) != self.tensor.shape:
            seen, given = list(self.shape), list(self.tensor.shape)
            raise UnsupportedError(
                f"reads {self.tensor.name!r} as {seen}, which comes as {given}",
                "no engine reshapes images; a matrix product may flatten one",
            )
        return self.tensor

    @property
    def channels_last(self) -> Tensor:
        """The tensor, if the model sees that image with the channels last."""
        if not self.last:
            raise UnsupportedError(
                f"reads {self.tensor.name!r} with the channels first", "engines have them last"
            )
        return self.image


def image_of(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return height, width and channels of one frame's shape, channels last.

    Raises:
        UnsupportedError: there are more dimensions.
    """
    if not 1 <= len(shape) <= 3:
        raise UnsupportedError(
            f"a frame of shape {list(shape)}", "engines compute with one to three dimensions"
        )
    height, width, channels = (1,) * (3 - len(shape)) + shape
    return height, width, channels
