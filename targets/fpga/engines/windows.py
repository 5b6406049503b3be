"""The front of engines with a window, `rtl/window.v`: its parameters, and when it never waits."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np

from ..hardware.memories import Memory
from ..network.graph import AveragePool, Conv, MaxPool, Network, Tensor, Window

#: Cycles between the first reads of two pixels, at least: what follows from a pixel's place is
#: three registers deep.
_LEAST = 4


@dataclasses.dataclass(frozen=True)
class Front:
    """How the window of one layer moves, and in what order its channels are read.

    A beat holds `lanes` channels, a pixel `groups` x `words` beats. For each pixel out, for each
    group, `repeats` times, the group's `words` beats are read from all positions of the window.
    """

    image: tuple[int, int]
    output: tuple[int, int]
    window: Window
    lanes: int
    groups: int
    repeats: int
    words: int

    @property
    def run(self) -> int:
        """Reads in a row, which give one beat of the result."""
        return self.window.taps * self.words

    @property
    def runs(self) -> int:
        """Runs for one pixel out."""
        return self.groups * self.repeats

    @property
    def beats(self) -> int:
        """Beats in of one frame."""
        return self.image[0] * self.image[1] * self.groups * self.words

    @property
    def period(self) -> int:
        """Cycles from one frame to the next: reading or being given, whatever takes longer.

        `depth` is enough for this.
        """
        return max(self.beats, self._pixels * self._pace)

    @property
    def is_starved(self) -> bool:
        """Whether a frame takes longer to come in than to be read."""
        return self.beats > self._pixels * self._pace

    @property
    def _pixels(self) -> int:
        return self.output[0] * self.output[1]

    @property
    def _pace(self) -> int:
        """Cycles from one pixel to the next."""
        return max(self.runs * self.run, _LEAST)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the beats up to the last and before the first that each pixel's window reaches."""
        pixel = self.groups * self.words
        row = pixel * self.image[1]
        (top, left, _, _), (reach_y, reach_x) = self.window.pads, self.window.reach
        y = np.arange(self.output[0]) * self.window.strides[0] - top
        x = np.arange(self.output[1]) * self.window.strides[1] - left
        bottom = np.minimum(y + reach_y, self.image[0]) - 1
        right = np.minimum(x + reach_x, self.image[1])
        need = bottom[:, None] * row + right[None, :] * pixel
        corner = y[:, None] * row + np.maximum(x, 0)[None, :] * pixel
        free = np.where(y[:, None] < 0, 0, corner)
        return need.ravel(), free.ravel()

    # Both rules below follow from those in the head of rtl/window.v. S(p): when pixel p begins.
    # Beat k comes in no earlier than 1 + S(p - 1) + max(P + 1, 4), for the first p with
    # free(p) > k - depth, where P are the reads for a pixel; p begins no earlier than 2 after its
    # last beat came in.

    def reads_every_cycle(self, need: np.ndarray, free: np.ndarray, depth: int) -> bool:
        """Whether S(p) = S(0) + p x pace, once it runs, with a beat always offered.

        Then the first beat that waits for p to begin, free(p - 1) + depth, comes in at S(p) + 2,
        those after it one a cycle: for every q that needs it, need(q) - 1 is to be in by S(q) - 2.
        """
        frames = depth // self.beats + 3
        waits = self._over(free, 2) + depth
        waits = waits[self._pixels - 1 : -1]  # for the pixels of frame 1
        when = (np.arange(self._pixels) + self._pixels) * self._pace
        needs = self._over(need, frames + 1)
        latest = np.arange(len(needs)) * self._pace - needs - 3
        # Beats wait in order, so a pixel waits for those in front of the last one that it needs.
        worst = np.maximum.accumulate(when - waits)
        count = np.searchsorted(waits, needs, side="left")
        waiting = count > 0
        return bool((latest[waiting] >= worst[count[waiting] - 1]).all())

    def takes_every_cycle(self, need: np.ndarray, free: np.ndarray, depth: int) -> bool:
        """Whether beat k can come in at cycle k.

        Pixels begin as soon as they can: more is not asked of them, since a frame takes longer to
        come in than to be read.
        """
        needs, frees = self._over(need, 3), self._over(free, 3)
        order = np.arange(len(needs)) * self._pace
        begins = np.maximum.accumulate(needs + 1 - order) + order
        freed = begins[:-1] + max(self.runs * self.run + 1, _LEAST)
        return bool((freed + 1 <= frees[:-1] + depth)[frees[1:] > frees[:-1]].all())

    def _over(self, beats: np.ndarray, frames: int) -> np.ndarray:
        """Return numbers of beats for several frames, one after another."""
        counted: np.ndarray = np.arange(frames)[:, None] * self.beats + beats
        return counted.ravel()


@functools.lru_cache(maxsize=4096)
def depth(front: Front) -> int:
    """Return the least power of two of beats in the buffer with which nothing costs time."""
    need, free = front.bounds()
    least = max(2, int((need - free).max()))
    depths = (1 << bits for bits in itertools.count((least - 1).bit_length()))
    is_enough = front.takes_every_cycle if front.is_starved else front.reads_every_cycle
    return next(beats for beats in depths if is_enough(need, free, beats))


def front(
    image: Tensor, output: Tensor, window: Window, lanes: int, groups: int, repeats: int
) -> Front:
    """Return how a window moves over an image, by beats of so many channels.

    Args:
        groups: of channels, read one after another.
        repeats: how often each is read for one pixel.
    """
    return Front(
        (image.height, image.width),
        (output.height, output.width),
        window,
        lanes,
        groups,
        repeats,
        image.channels // (groups * lanes),
    )


def apart(layer: Conv | MaxPool | AveragePool, pe: int, network: Network) -> Front:
    """Return how the window of a layer moves that computes each channel alone, `pe` at a time."""
    image = network.tensor(layer.inputs[0])
    return front(image, layer.output, layer.window, pe, image.channels // pe, 1)


def parameters(front: Front, pad: int, behind: int, memory: Memory) -> dict[str, int]:
    """Return the parameters of `rtl/window.v` but LANES.

    Args:
        pad: what lies outside the image.
        behind: cycles from the last read of a run until its result can be taken.
    """
    beats = depth(front)
    (height, width), window = front.image, front.window
    return {
        "HEIGHT": height,
        "WIDTH": width,
        "GROUPS": front.groups,
        "REPEATS": front.repeats,
        "WORDS": front.words,
        "KERNEL_HEIGHT": window.kernel[0],
        "KERNEL_WIDTH": window.kernel[1],
        "STRIDE_Y": window.strides[0],
        "STRIDE_X": window.strides[1],
        "DILATION_Y": window.dilations[0],
        "DILATION_X": window.dilations[1],
        "PAD_TOP": window.pads[0],
        "PAD_LEFT": window.pads[1],
        "OUT_HEIGHT": front.output[0],
        "OUT_WIDTH": front.output[1],
        "PAD": pad,
        "DEPTH": beats,
        "SLICE_WIDTH": memory.ram(front.lanes * 8, beats).width,
        # A run's slot is free again for the one that begins one cycle after its result was taken.
        "SLOTS": 1 + -(-(behind + 1) // front.run),
    }
