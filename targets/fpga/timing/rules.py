"""When beats move through each module of `rtl/`: what the head of its file says, as processes.

Each rule is given the stage, the wires that it reads and those that it writes, and the number of
frames; it posts offers and readiness in the order of beats and waits for moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..engines.chain import gap, plan_of
from ..hardware.design import Stage
from .events import Events, Process, Wire
from .window_rules import average, conv, depthwise, maxpool

#: stage, inputs, outputs -> the parts of the module that run side by side.
Rule = Callable[[Stage, Sequence[Wire], Sequence[Wire]], tuple[Process, ...]]


def adapt(stage: Stage, inputs: Sequence[Wire], outputs: Sequence[Wire]) -> tuple[Process, ...]:
    """`rtl/adapt.v`."""
    (source,), (sink,) = inputs, outputs
    lanes_in, lanes_out = _integers(stage, "IN", "OUT")
    if lanes_out > lanes_in:
        return (_gather(source, sink, lanes_out // lanes_in),)
    return (_scatter(source, sink, lanes_in // lanes_out),)


def _gather(source: Wire, sink: Wire, pieces: int) -> Process:
    arrived, taken, ready = source.moves, sink.moves, source.ready
    edge = beat = whole = 0
    while True:
        for _ in range(pieces):
            ready(edge)
            while len(arrived) <= beat:
                yield arrived, beat
            edge = arrived[beat] + 1
            beat += 1
        sink.offer(edge)
        while len(taken) <= whole:
            yield taken, whole
        edge = taken[whole]
        whole += 1


def _scatter(source: Wire, sink: Wire, pieces: int) -> Process:
    arrived, taken, offer = source.moves, sink.moves, sink.offer
    edge = beat = piece = 0
    while True:
        source.ready(edge)
        while len(arrived) <= beat:
            yield arrived, beat
        edge = arrived[beat]
        for number in range(1, pieces + 1):
            offer(edge + number)
        piece += pieces
        beat += 1
        while len(taken) < piece:
            yield taken, piece - 1
        edge = taken[piece - 1]


def fifo(stage: Stage, inputs: Sequence[Wire], outputs: Sequence[Wire]) -> tuple[Process, ...]:
    """`rtl/fifo.v`."""
    (source,), (sink,) = inputs, outputs
    (depth,) = _integers(stage, "DEPTH")
    latency = 5 if stage.parameters["STYLE"] == "block" else 2
    return _enter(source, sink, depth), _leave(source, sink, latency)


def _enter(source: Wire, sink: Wire, depth: int) -> Process:
    """Take a beat while fewer than `depth` were taken and not given."""
    taken, ready = sink.moves, source.ready
    for _ in range(depth):
        ready(1)  # the first edge after the reset finds it shut
    beat = 0
    while True:
        while len(taken) <= beat:
            yield taken, beat
        ready(taken[beat] + 1)
        beat += 1


def _leave(source: Wire, sink: Wire, latency: int) -> Process:
    """Offer every beat so many edges after it came."""
    arrived, offer = source.moves, sink.offer
    beat = 0
    while True:
        while len(arrived) <= beat:
            yield arrived, beat
        offer(arrived[beat] + latency)
        beat += 1


def tee(stage: Stage, inputs: Sequence[Wire], outputs: Sequence[Wire]) -> tuple[Process, ...]:
    """`rtl/tee.v`."""
    (source,) = inputs
    return (_copy(source, outputs),)


def lookup(stage: Stage, inputs: Sequence[Wire], outputs: Sequence[Wire]) -> tuple[Process, ...]:
    """`rtl/lookup.v`."""
    (source,) = inputs
    return (_copy(source, outputs),)


def _copy(source: Wire, sinks: Sequence[Wire]) -> Process:
    """Hold a beat until each sink has taken it."""
    arrived, offers = source.moves, [sink.offer for sink in sinks]
    all_taken = [sink.moves for sink in sinks]
    edge = beat = 0
    while True:
        source.ready(edge)
        while len(arrived) <= beat:
            yield arrived, beat
        edge = arrived[beat] + 1
        for offer in offers:
            offer(edge)
        for taken in all_taken:
            while len(taken) <= beat:
                yield taken, beat
            if taken[beat] > edge:
                edge = taken[beat]
        beat += 1


def concat(stage: Stage, inputs: Sequence[Wire], outputs: Sequence[Wire]) -> tuple[Process, ...]:
    """`rtl/concat.v`."""
    (sink,) = outputs
    (beats,) = _integers(stage, "BEATS")
    counts = [beats >> (16 * index) & 0xFFFF for index in range(len(inputs))]
    return (_alternate(tuple(zip(inputs, counts, strict=True)), sink),)


def _alternate(sources: Sequence[tuple[Wire, int]], sink: Wire) -> Process:
    """Copy so many beats of each source in turn."""
    edge = beat = pixel = 0
    while True:
        for source, beats in sources:
            for index in range(pixel * beats, (pixel + 1) * beats):
                source.ready(edge)
                while len(source.moves) <= index:
                    yield source.moves, index
                sink.offer(source.moves[index] + 1)
                while len(sink.moves) <= beat:
                    yield sink.moves, beat
                edge = sink.moves[beat]
                beat += 1
        pixel += 1


def add(stage: Stage, inputs: Sequence[Wire], outputs: Sequence[Wire]) -> tuple[Process, ...]:
    """`rtl/add.v`."""
    first, second = inputs
    (sink,) = outputs
    return (_pairs(first, second, sink, places=16, latency=8),)


def _pairs(first: Wire, second: Wire, sink: Wire, places: int, latency: int) -> Process:
    """Use two beats as soon as both are there and one of so many places is free."""
    one, other, taken = first.moves, second.moves, sink.moves
    edge = beat = 0
    while True:
        first.ready(edge)
        second.ready(edge)
        while len(one) <= beat:
            yield one, beat
        while len(other) <= beat:
            yield other, beat
        edge = max(edge, one[beat], other[beat]) + 1
        if beat >= places:
            while len(taken) <= beat - places:
                yield taken, beat - places
            edge = max(edge, taken[beat - places] + 1)
        sink.offer(edge + latency)
        beat += 1


def argmax(stage: Stage, inputs: Sequence[Wire], outputs: Sequence[Wire]) -> tuple[Process, ...]:
    """`rtl/argmax.v`."""
    (source,), (sink,) = inputs, outputs
    (channels,) = _integers(stage, "CHANNELS")
    return (_last(source, sink, channels),)


def _last(source: Wire, sink: Wire, beats: int) -> Process:
    """Give one beat for so many, whose last waits until the one before is taken."""
    edge = beat = group = 0
    while True:
        for number in range(beats):
            last = number == beats - 1
            if last and group:
                while len(sink.moves) < group:
                    yield sink.moves, group - 1
                edge = max(edge, sink.moves[group - 1])
            source.ready(edge)
            while len(source.moves) <= beat:
                yield source.moves, beat
            edge = source.moves[beat] + 1
            beat += 1
        sink.offer(edge)
        group += 1


def global_average(
    stage: Stage, inputs: Sequence[Wire], outputs: Sequence[Wire]
) -> tuple[Process, ...]:
    """`rtl/global_average.v`."""
    (source,), (sink,) = inputs, outputs
    beats, pixels = _integers(stage, "BEATS", "PIXELS")
    return (_ends(source, sink, beats, beats * pixels, places=16, latency=15),)


def _ends(source: Wire, sink: Wire, beats: int, frame: int, places: int, latency: int) -> Process:
    """Give a beat for each of the last of a frame, if one of so many places is free."""
    start = given = 0
    while True:
        for _ in range(frame - beats):
            source.ready(0)
        for beat in range(start + frame - beats, start + frame):
            if given >= places:
                while len(sink.moves) <= given - places:
                    yield sink.moves, given - places
                source.ready(sink.moves[given - places] + 1)
            else:
                source.ready(0)
            while len(source.moves) <= beat:
                yield source.moves, beat
            sink.offer(source.moves[beat] + latency)
            given += 1
        start += frame


def resize(stage: Stage, inputs: Sequence[Wire], outputs: Sequence[Wire]) -> tuple[Process, ...]:
    """`rtl/resize.v`."""
    (source,), (sink,) = inputs, outputs
    width, beats, down, across = _integers(stage, "WIDTH", "BEATS", "DOWN", "ACROSS")
    gone = Events(source.queue)
    order = tuple(
        (pixel * beats + beat, row == down - 1 and column == across - 1)
        for row in range(down)
        for pixel in range(width)
        for column in range(across)
        for beat in range(beats)
    )
    size = width * beats
    return _fill(source, gone, size), _repeat(source, sink, gone, size, order, 16, 4)


def _fill(source: Wire, gone: Events, size: int) -> Process:
    """Take beats into a memory of this size; `gone` are the last reads of each."""
    for _ in range(size):
        source.ready(0)
    beat = 0
    while True:
        while len(gone) <= beat:
            yield gone, beat
        source.ready(gone[beat] + 1)
        beat += 1


def _repeat(
    source: Wire,
    sink: Wire,
    gone: Events,
    size: int,
    order: Sequence[tuple[int, bool]],
    places: int,
    latency: int,
) -> Process:
    """Give the beats of each row in this order, the last time where it says so."""
    first = edge = count = 0
    while True:
        for place, last in order:
            beat = first + place
            while len(source.moves) <= beat:
                yield source.moves, beat
            edge = max(edge, source.moves[beat] + 1)
            if count >= places:
                while len(sink.moves) <= count - places:
                    yield sink.moves, count - places
                edge = max(edge, sink.moves[count - places] + 1)
            if last:
                gone.add(edge)
            sink.offer(edge + latency)
            edge += 1
            count += 1
        first += size


def chain(stage: Stage, inputs: Sequence[Wire], outputs: Sequence[Wire]) -> tuple[Process, ...]:
    """`rtl/chain.v`."""
    (source,), (sink,) = inputs, outputs
    pe, simd, lanes, slots = _integers(stage, "PE", "SIMD", "RQ", "SLOTS")
    turns, pause = pe // lanes, gap(pe, simd, lanes)
    products = tuple(plan_of(stage))
    read = Events(source.queue)  # the last read of the first product of each frame
    return (
        _frames(source, read, products[0][0]),
        _multiply(source, sink, read, products, turns, pause, slots),
    )


def _frames(source: Wire, read: Events, beats: int) -> Process:
    """Take a frame's beats once the one before it is read."""
    edge = frame = 0
    while True:
        for _ in range(beats):
            source.ready(edge)
        while len(read) <= frame:
            yield read, frame
        edge = read[frame] + 1
        frame += 1


def _multiply(
    source: Wire,
    sink: Wire,
    read: Events,
    products: Sequence[tuple[int, int]],
    turns: int,
    gap: int,
    slots: int,
) -> Process:
    """Give a beat for each group of the last product; each begins `gap` after the last read."""
    edge, frames, beat = 4, 0, 0  # when the plan's first word is there
    while True:
        frames += products[0][0]
        while len(source.moves) < frames:
            yield source.moves, frames - 1
        edge = max(edge, source.moves[frames - 1] + 2)
        for number, (steps, groups) in enumerate(products):
            pace = max(steps, turns)
            if number < len(products) - 1:
                edge += (groups - 1) * pace + steps - 1
                if not number:
                    read.add(edge)
            else:
                for group in range(groups):
                    if beat >= slots:
                        while len(sink.moves) <= beat - slots:
                            yield sink.moves, beat - slots
                        edge = max(edge, sink.moves[beat - slots] + 1)
                    sink.offer(edge + steps - 1 + gap)
                    beat += 1
                    edge += pace if group < groups - 1 else steps - 1
            edge += gap


def _integers(stage: Stage, *names: str) -> Iterator[int]:
    """Return parameters of a stage that are numbers."""
    return (int(stage.parameters[name]) for name in names)


#: module -> its rule.
RULES: Mapping[str, Rule] = {
    "adapt": adapt,
    "add": add,
    "argmax": argmax,
    "average": average,
    "chain": chain,
    "concat": concat,
    "conv": conv,
    "depthwise": depthwise,
    "fifo": fifo,
    "global_average": global_average,
    "lookup": lookup,
    "maxpool": maxpool,
    "resize": resize,
    "tee": tee,
}
