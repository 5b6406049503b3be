"""How a workload is computed: what the analysis chooses, and what else there is.

The analysis orders tiles by an estimate, and knows of no order among blocks but that the caches
hold them. What it does not know is measured: see `targets.tvm.tuner`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from .arithmetic import FLOATS, Arithmetic
from .core import Core
from .tile import (
    MOST_VECTORS,
    Blocks,
    Tile,
    blocks_of,
    depthwise_tile,
    divisors,
    fits,
    height_of,
    lanes_of,
    tiles_of,
    unit_of,
)
from .workload import Choice, Workload

#: How many vectors of channels of a depthwise convolution are computed at once, at most.
_DEPTHWISE_VECTORS: Final = 4


def chosen(work: Workload, core: Core) -> Choice:
    """Return what was measured to be the best for a workload, or what the analysis takes for it."""
    return core.choices.get(work) or analysed(work, core)


def analysed(work: Workload, core: Core) -> Choice:
    """Return what the analysis takes for the best."""
    core = core.of_work(work)
    if work.kind == "depthwise":
        arithmetic = arithmetic_of(work, core)
        found = depthwise_tile(
            work.places, work.outputs, work.taps, work.reach, work.images, core, arithmetic
        )
        return Choice(found.width, found.channels, found.rows)
    return _with_blocks(_tiles(work, core)[0], work, core)


def alternatives(work: Workload, given: Choice, core: Core) -> Iterator[Choice]:
    """Return what fits and differs from a choice in its tile or blocks: by turns, the best first.

    That is another tile; more or fewer rows, or another way to the data; other depths.
    """
    core, known = core.of_work(work), {given}

    def others(source: Iterable[Choice]) -> Iterator[Choice]:
        for choice in source:
            if choice not in known and not misfits(work, choice, core):
                known.add(choice)
                yield choice

    if work.kind == "depthwise":
        sources = [*_depthwise_tiles(work, given, core), _other_rows(work, given)]
    else:
        sources = [_product_tiles(work, given, core), _other_rows(work, given)]
        sources.append(_other_depths(work, given, core))
    for found in itertools.zip_longest(*map(others, sources)):
        yield from (choice for choice in found if choice is not None)


def misfits(work: Workload, choice: Choice, core: Core) -> list[str]:
    """Return why a workload cannot be computed so: every reason, each after what is wrong."""
    core = core.of_work(work)
    arithmetic = arithmetic_of(work, core)
    least, pairs = arithmetic.least_lanes, arithmetic.rows
    found = _depthwise_misfits if work.kind == "depthwise" else _product_misfits
    rules = [
        (
            choice.width >= work.places[-1] + pairs,
            f"width: {choice.width} of {work.places[-1]} places",
        ),
        (choice.channels % least > 0, f"channels: {choice.channels} is no multiple of {least}"),
        *found(work, choice, core),
    ]
    return [problem for broken, problem in rules if broken]


def _depthwise_misfits(work: Workload, choice: Choice, core: Core) -> list[tuple[bool, str]]:
    height, most = _height(work), _DEPTHWISE_VECTORS * core.lanes
    taken = (choice.width + 1) * -(-choice.channels // core.lanes)
    plain = Choice(choice.width, choice.channels, choice.rows)
    return [
        (
            work.outputs % choice.channels > 0 or choice.channels > most,
            f"channels: {choice.channels} does not divide {work.outputs}, or is more than {most}",
        ),
        (taken > core.registers, f"width: it takes {taken} registers of {core.registers}"),
        (choice.rows > height, f"rows: {choice.rows} of {height}"),
        (choice != plain, "height, depth, group, packs: of products alone"),
    ]


def _product_misfits(work: Workload, choice: Choice, core: Core) -> list[tuple[bool, str]]:
    each, height, unit = work.outputs // work.group, _height(work), _unit(work, choice)
    rows, vectors = choice.height * choice.width, -(-choice.channels // core.lanes)
    # Without groups the last tile may be partly outside.
    sizes = (each, _whole(each, core)) if work.group == 1 else (each,)
    words = choice.depth * choice.group
    pairs = arithmetic_of(work, core).rows
    copied = {"never": False, "always": True}.get(work.copies, choice.packs)
    return [
        (
            all(size % choice.channels for size in sizes),
            f"channels: {choice.channels} does not divide {each}",
        ),
        (
            vectors > MOST_VECTORS or not fits(rows, vectors, core, pairs),
            f"height, width, channels: {rows} x {vectors} sums in {core.registers} registers",
        ),
        (
            work.kind == "paired" and (choice.width % 2 > 0 or choice.depth > 1),
            f"width, depth: {choice.width}, {choice.depth} of pairs, whose words are side by side",
        ),
        (height % choice.height > 0, f"height: {choice.height} does not divide {height}"),
        (
            work.inputs % words > 0,
            f"depth, group: {choice.depth} x {choice.group} does not divide {work.inputs}",
        ),
        (choice.rows % unit > 0, f"rows: {choice.rows} is no multiple of the tile's {unit}"),
        (choice.rows >= work.places[0] + unit, f"rows: {choice.rows} of {work.places[0]}"),
        (choice.packs != copied, f"packs: the data is {work.copies} copied"),
    ]


def _height(work: Workload) -> int:
    """Return the places along the axis that tiles have a height along, or blocks of rows."""
    if work.kind == "depthwise":
        return work.places[0] if len(work.places) > 1 else 1
    return height_of(work.places)


def _unit(work: Workload, choice: Choice) -> int:
    """Return what blocks of rows consist of."""
    if work.kind == "depthwise":
        return 1
    return unit_of(choice.height, choice.width, work.places)


def arithmetic_of(work: Workload, core: Core) -> Arithmetic:
    """Return what a core computes a workload with."""
    if work.dtype in FLOATS:
        return FLOATS[work.dtype]
    if work.kind == "depthwise":
        return core.alone
    return core.integers if work.kind == "paired" else core.single


def _whole(channels: int, core: Core) -> int:
    """Return the channels of whole vectors that hold so many."""
    return -(-channels // core.lanes) * core.lanes


def _tiles(work: Workload, core: Core) -> list[Tile]:
    """Return the tiles of a product, the best first."""
    channels, arithmetic = work.outputs // work.group, arithmetic_of(work, core)
    found = tiles_of(work.places, channels, core, arithmetic)
    if work.group > 1 or found[0].channels >= min(channels, core.lanes):
        return found
    # Without a divisor near the width of a vector: the last tile is partly outside.
    return tiles_of(work.places, _whole(channels, core), core, arithmetic)


def _with_blocks(tile: Tile, work: Workload, core: Core) -> Choice:
    """Return a tile of a product with the blocks that the analysis takes for the best."""
    row = math.prod(work.reach) * work.inputs * work.group / work.places[0]
    tiles = -(-work.outputs // work.group // tile.channels)
    blocks = blocks_of(
        tile,
        work.taps,
        work.inputs,
        work.places,
        row,
        tiles,
        work.images,
        core,
        arithmetic_of(work, core),
        copied=work.copies == "always",
    )
    packs = blocks.packs and work.copies != "never"
    return Choice(
        tile.width, tile.channels, blocks.rows, tile.height, blocks.depth, blocks.group, packs
    )


def tile_and_blocks(work: Workload, choice: Choice, core: Core) -> tuple[Tile, Blocks]:
    """Return a choice for a product as its parts."""
    lanes = lanes_of(choice.channels, core.of_work(work))
    return (
        Tile(choice.height, choice.width, choice.channels, lanes),
        Blocks(choice.depth, choice.group, choice.rows, choice.packs),
    )


def _product_tiles(work: Workload, given: Choice, core: Core) -> Iterator[Choice]:
    """Return choices with each tile, the best first.

    Its blocks are those of the analysis where the given ones are, and else these.
    """
    own, _ = tile_and_blocks(work, given, core)
    plain = dataclasses.replace(_with_blocks(own, work, core), packs=given.packs) == given
    seen: Counter[tuple[int, int]] = Counter()
    ranked: list[tuple[int, Tile]] = []
    for tile in _tiles(work, core):
        sums = tile.height * tile.width, tile.lanes
        ranked.append((seen[sums], tile))
        seen[sums] += 1
    # Those of another form with as many sums are hardly another tile.
    for _, tile in sorted(ranked, key=lambda item: item[0]):
        found = _with_blocks(tile, work, core)
        if plain:
            yield dataclasses.replace(found, packs=given.packs)
        else:
            unit = _unit(work, found)
            yield dataclasses.replace(
                given,
                width=tile.width,
                channels=tile.channels,
                height=tile.height,
                rows=-(-min(given.rows, work.places[0]) // unit) * unit,
            )


def _depthwise_tiles(work: Workload, given: Choice, core: Core) -> list[Iterable[Choice]]:
    """Return tiles of other places, the nearest number first; and of more or fewer channels."""
    places = work.places[-1]
    widths = sorted(
        {-(-places // parts) for parts in range(1, places + 1)},
        key=lambda width: abs(math.log(width / given.width)),
    )
    channels = [
        dataclasses.replace(given, channels=item, width=width)
        for item in divisors(work.outputs)
        if item % core.lanes == 0
        for width in (given.width, max(1, given.width * given.channels // item))
    ]
    return [[dataclasses.replace(given, width=width) for width in widths], channels]


def _other_rows(work: Workload, given: Choice) -> Iterator[Choice]:
    """Return choices whose data is copied or is not, and of more or fewer rows."""
    yield dataclasses.replace(given, packs=not given.packs)
    unit = _unit(work, given)
    size = _height(work) if work.kind == "depthwise" else work.places[0]
    units = -(-size // unit)
    parts = -(-units * unit // given.rows)
    for count in (parts * 2, parts // 2, parts + 1, parts - 1, parts * 4, parts // 4, 1):
        if 1 <= count <= units:
            yield dataclasses.replace(given, rows=-(-units // count) * unit)


def _other_depths(work: Workload, given: Choice, core: Core) -> Iterator[Choice]:
    """Return choices with more or fewer weights in the first-level cache, or in other blocks.

    None of them adds up more products at once than the arithmetic has digits for.
    """
    most = arithmetic_of(work, core).most or work.taps * work.inputs
    for found in _depths(work, given):
        if work.taps * found.depth * found.group <= most:
            yield found


def _depths(work: Workload, given: Choice) -> Iterator[Choice]:
    groups = _nearest(work.inputs // given.depth, given.group)
    for group, depth in itertools.zip_longest(groups, _nearest(work.inputs, given.depth)):
        if group is not None:
            yield dataclasses.replace(given, group=group)
        if depth is not None:
            count = max(1, given.depth * given.group // depth)
            fitting = max(item for item in divisors(work.inputs // depth) if item <= count)
            yield dataclasses.replace(given, depth=depth, group=fitting)


def _nearest(number: int, to: int) -> list[int]:
    """Return the divisors of a number, the nearest to one of them first."""
    return sorted(divisors(number), key=lambda item: (abs(math.log2(item / to)), -item))
