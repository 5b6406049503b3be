"""How threads share work, and when it is too little for that.

TVM's runtime gives each thread one run of neighbours, ``ceil(parts / threads)`` of them or fewer:
parts do not wait for whoever is free, so that their number has to suit the threads.
"""

from __future__ import annotations

from typing import Final

from .core import Core

#: Shares that are as even as this are as good as they need to be.
EVEN: Final = 0.9

#: Cycles that sharing a loop costs, and more of them for each thread: together 0.8 us for two that
#: are awake, measured on a Zen 4.
_START: Final = 2_000
_EACH: Final = 500

#: What is gained has to be so many times the cost: others may keep a core busy.
_MARGIN: Final = 1.1

#: Cycles until a byte is here that another core has in its cache, measured on two of the same: half
#: of 80 KB cost 4 us.
_MOVE: Final = 0.4

#: The share of its peak that a core reaches in sums of products, about.
REACHED: Final = 0.8

#: What a last block costs all that is not whole: TVM then keeps the input of all blocks, each in a
#: place of its own, in the place of the input of one.
_REMAINDER: Final = 1.25


def sharing_cost(threads: int) -> int:
    """Return the cycles that sharing a loop costs."""
    return _START + _EACH * threads if threads > 1 else 0


def least_gain(threads: int) -> float:
    """Return the cycles that sharing a loop must save to be done."""
    return _MARGIN * sharing_cost(threads)


def is_worth_sharing(cycles: float, parts: int, threads: int, moved: float = 0) -> bool:
    """Whether threads do these parts, that take one so long, in clearly less time.

    Args:
        moved: bytes that one thread has just written, and the others read.
    """
    speedup = evenness(parts, threads) * threads
    return cycles * (1 - 1 / speedup) - moved * _MOVE > least_gain(threads)


def sharers(multiplies: int, handled: int, core: Core) -> int:
    """Return how many threads may share so many multiply-adds: all, or one.

    Args:
        handled: bytes of what is read and written. If other kernels share it, it is best shared.
    """
    cycles, threads = multiplies / (REACHED * core.lanes * core.units), core.threads
    kept = (1 - 1 / threads) * handled
    return threads if is_worth_sharing(cycles, threads, threads, -kept) else 1


def evenness(parts: int, threads: int) -> float:
    """Return the work of all parts as a fraction of what the threads could do until the last ends.

    1 where all threads get the same; 1 / threads where there is one part.
    """
    return parts / (-(-parts // threads) * threads)


def shared_blocks(units: int, least: int, images: int, threads: int) -> int:
    """Return into how many blocks an axis is cut so that threads share them: as few as will do.

    Args:
        units: what the axis consists of; they are not cut.
        least: so many blocks there have to be.
        images: that are each cut this way.
    """

    if threads == 1:
        return least

    def cost(blocks: int) -> float:
        """Return the units of the thread that gets most, with a fine for a remainder."""
        each = -(-units // blocks)
        longest = -(-images * -(-units // each) // threads) * each
        return longest * (_REMAINDER if units % each else 1)

    most = min(units, 2 * max(least, threads))
    return min(range(least, most + 1), key=cost)
