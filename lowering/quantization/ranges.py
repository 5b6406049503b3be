"""From what values were seen to be, to the scales and zero points that lose least."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import onnx_ir as ir

from ...errors import Problem, UsageError
from ..analysis.calibrate import Calibration, Statistics
from ..analysis.histogram import Histogram
from .parameters import Parameters, of_range
from .placement import Quantized
from .scheme import Scheme, limits

Range = tuple[float, float]

#: How much further the ends of a range go than calibration found best, over the root of the number
#: of samples: others than these go further, many numbers of one sample together, which costs more
#: than a coarser scale. Measured at the output of three real networks, on samples that were not
#: calibrated with: 0.5 to 2 dB better with 30 to 65 samples (9 to 6 %); 0.5 to 1 are alike.
_MARGIN: Final = 0.5

#: With fewer samples the range is widened as with so many, by a quarter.
_FEW: Final = 4

#: The share of all numbers that `percentile` keeps inside the range.
PERCENTILE: Final = 0.9999

#: `entropy` works on so many bins of magnitudes, and tries every so many of them as the threshold.
_ENTROPY_BINS: Final = 2048
_ENTROPY_STRIDE: Final = 32

#: How many numbers an empty bin counts as, where it takes in what was clipped: as in MXNet and in
#: ONNX Runtime. Were there none, no threshold in the gaps of a long tail could be taken.
_SMOOTHING: Final = 1e-4

#: `mse` tries these shares of an end of the range, and then ever finer ones around the best.
_COARSE: Final = tuple(2 ** (-step / 2) for step in range(21))
_FINE: Final = (0.2, 0.06, 0.02)
_PARTS: Final = 6


def choose(
    calibration: Calibration,
    values: Mapping[str, Quantized],
    scheme: Scheme,
    method: str = "auto",
) -> dict[str, Parameters]:
    """Return the parameters of every value.

    Values that share parameters, as `Quantized.like` says, get those of their joint numbers.
    Where the scheme fixes parameters, the numbers do not matter.

    Args:
        calibration: has the statistics of every value, unless its parameters are fixed.
        values: those that are quantized, as `Placement.values`.
        scheme: what the parameters may be.
        method: one of METHODS, or ``auto``. That takes for each tensor, of the results of all
            methods, the one with the least expected squared error of the tensor itself, as
            `expected_error` knows it. `mse` looks for the least of just that, so another method
            is taken only where that search ends beside the best. Then the range is widened for
            samples that calibration has not seen, by 1 / (2 √samples) and a quarter at most, but
            not beyond the bounds of an activation; where scales are powers of two, it is not. A
            graph input whose samples all lie on a grid (an image, as `Statistics.step` tells)
            gets the grid's step as its scale if the scheme's integers reach as far, and so loses
            nothing. Floating-point numbers are as fine relative to a number whatever the range:
            theirs is always that of all numbers seen, and widened.

    Raises:
        UsageError: there is no such method.
    """
    if method != "auto" and method not in METHODS:
        raise UsageError(
            f"there is no calibration method {method!r}",
            [Problem("", f"the methods are: auto, {', '.join(METHODS)}")],
        )
    roots = {name: _root(name, values) for name in values}
    found: dict[str, Parameters] = {}
    for root in dict.fromkeys(roots.values()):
        fixed = values[root].fixed
        if fixed is not None:
            found[root] = _fixed(*fixed, scheme)
            continue
        members = [calibration.values[name] for name in values if roots[name] == root]
        joint = _joined(members)
        step = calibration.values[root].step
        grid = None
        if method == "auto" and step is not None and not scheme.is_float:
            grid = on_grid(step, joint.minimum, joint.maximum, scheme)
        found[root] = grid or of_histogram(joint, scheme, method)
        if method == "auto" and grid is None and not scheme.power_of_two:
            share = 1 + _MARGIN / math.sqrt(max(calibration.samples, _FEW))
            found[root] = _widened(found[root], joint, share, values[root].bounds, scheme)
    return {name: found[root] for name, root in roots.items()}


def of_histogram(histogram: Histogram, scheme: Scheme, method: str) -> Parameters:
    """Return the parameters that a method (of METHODS, or ``auto``) finds for one tensor."""
    if not histogram.count:
        return of_range(0.0, 0.0, scheme)
    if method != "auto" or scheme.is_float:
        find = minmax if scheme.is_float else METHODS[method]
        return of_range(*find(histogram, scheme), scheme)
    error = _Error(histogram)
    found = [of_range(*find(histogram, scheme), scheme) for find in METHODS.values()]
    return min(found, key=error.of)


def _widened(
    found: Parameters, histogram: Histogram, share: float, bounds: Range, scheme: Scheme
) -> Parameters:
    """Return parameters whose range ends further from zero by a share, within bounds."""
    if not histogram.count or histogram.minimum == histogram.maximum == 0:
        return found
    least, greatest = limits(found.dtype)
    scale, zero = float(found.scale), int(found.zero_point)
    low = -scale * (greatest - zero if scheme.symmetric else zero - least)
    high = scale * (greatest - zero)
    # Where no number was on one side, none will be.
    low = max(low * share, bounds[0]) if histogram.minimum < 0 else 0.0
    high = min(high * share, bounds[1]) if histogram.maximum > 0 else 0.0
    return of_range(low, high, scheme)


def on_grid(step: float, low: float, high: float, scheme: Scheme) -> Parameters | None:
    """Return parameters that hold every multiple of a step in a range exactly.

    None if the scheme has too few integers, or asks for another scale. Of the zero points that
    would do, the one is taken that also holds what such data can be beyond the range seen: all
    integers for positive numbers, or for negative ones, else as many for both.
    """
    scale = np.float32(step)
    if scheme.power_of_two and math.frexp(float(scale))[0] != 0.5:
        return None
    least, greatest = limits(scheme.activations)
    middle = (least + greatest + 1) // 2
    below, above = round(min(low, 0.0) / step), round(max(high, 0.0) / step)
    zeros = [middle]
    if not (scheme.symmetric or scheme.power_of_two):
        zeros = [least] if below == 0 else [greatest] if above == 0 else [middle, least - below]
    for zero in zeros:
        if least - zero <= below and above <= greatest - zero and least <= zero <= greatest:
            return _fixed(float(scale), zero, scheme)
    return None


def expected_error(histogram: Histogram, parameters: Parameters) -> float:
    """Return the mean squared error of rounding the numbers of a histogram.

    The numbers of a bin are taken as spread evenly over it. Then the error is an integral, which
    is solved exactly: of rounding within the range, of clipping beyond it.

    Args:
        histogram: not empty.
        parameters: of one scale.
    """
    return _Error(histogram).of(parameters)


class _Error:
    """The expected error of one histogram, prepared to be asked for many parameters.

    With u = x / scale and n(u) the nearest integer that the range holds, the squared error
    (u - n)^2 has the antiderivative n / 12 + (u - n)^3 / 3, continuous at all u (at the steps of n
    it is (n + n') / 24 from both sides; beyond the range n stays). It is evaluated at the edges.
    """

    def __init__(self, histogram: Histogram) -> None:
        occupied = np.flatnonzero(histogram.counts)
        starts = (occupied + histogram.first) * histogram.width
        # An edge between two occupied bins is evaluated once; a lone bin has two of its own.
        self._edges, places = np.unique(
            np.concatenate([starts, starts + histogram.width]), return_inverse=True
        )
        density = histogram.counts[occupied] / (histogram.width * histogram.count)
        self._weights = np.bincount(places, np.concatenate([-density, density]))

    def of(self, parameters: Parameters) -> float:
        scale, zero = float(parameters.scale), int(parameters.zero_point)
        low, high = limits(parameters.dtype, narrow=parameters.narrow)
        places = self._edges / scale
        nearest = np.rint(places)
        np.clip(nearest, low - zero, high - zero, out=nearest)
        rest = places - nearest
        return float(self._weights @ (nearest / 12 + rest * rest * rest / 3)) * scale**3


def minmax(histogram: Histogram, scheme: Scheme) -> Range:
    """Return the range of all numbers, so that none is clipped."""
    return histogram.minimum, histogram.maximum


def percentile(histogram: Histogram, scheme: Scheme) -> Range:
    """Return the range that holds 99.99 % of the numbers.

    Half of the others lie on each side; for symmetric schemes the share is that of the magnitudes.
    Numbers within a bin are taken as spread evenly. Source: Wu et al., "Integer Quantization for
    Deep Learning Inference: Principles and Empirical Evaluation", 2020, section 3.1.
    """
    if scheme.symmetric or scheme.power_of_two:
        magnitudes = _folded(histogram)
        top = _quantile(magnitudes, 0, histogram.width, PERCENTILE)
        return max(histogram.minimum, -top), min(histogram.maximum, top)
    tail = (1 - PERCENTILE) / 2
    ends = [
        _quantile(histogram.counts, histogram.first, histogram.width, share)
        for share in (tail, 1 - tail)
    ]
    return max(histogram.minimum, ends[0]), min(histogram.maximum, ends[1])


def _quantile(counts: np.ndarray, first: int, width: float, share: float) -> float:
    """Return the number below which a share of all lies."""
    reached = np.cumsum(counts)
    target = share * int(reached[-1])
    bin_ = int(np.searchsorted(reached, target))
    into = 1 - (int(reached[bin_]) - target) / int(counts[bin_])
    return float((first + bin_ + into) * width)


def entropy(histogram: Histogram, scheme: Scheme) -> Range:
    """Return the range whose clipped numbers differ least in distribution from their rounding.

    Of 2048 bins of magnitudes every 32nd end is tried as the threshold. What lies beyond it counts
    as its last bin (P); the bins below are summed in as many groups as there are integers and
    spread evenly over the group's occupied bins (Q); the threshold of the least Kullback-Leibler
    divergence of P from Q is taken. Where numbers of only one sign meet zero points, there are
    twice as many groups. Source: Migacz, "8-bit Inference with TensorRT", GTC 2017. As in NVIDIA's
    pytorch-quantization the bin at zero counts as its neighbour: zeros, of which an activation has
    many, are exact whatever the range.
    """
    least, greatest = limits(scheme.activations)
    groups = (greatest - least + 1) // 2
    one_sided = histogram.minimum >= 0 or histogram.maximum <= 0
    if one_sided and not (scheme.symmetric or scheme.power_of_two):
        groups *= 2
    magnitudes, width = _folded(histogram), histogram.width
    while magnitudes.size > _ENTROPY_BINS:
        magnitudes = np.add.reduceat(magnitudes, np.arange(0, magnitudes.size, 2))
        width *= 2
    if magnitudes.size <= groups:
        return histogram.minimum, histogram.maximum
    magnitudes[0] = magnitudes[1]
    ends = [*range(groups, magnitudes.size, _ENTROPY_STRIDE), magnitudes.size]
    top = min(ends, key=lambda end: _divergence(magnitudes, end, groups)) * width
    return max(histogram.minimum, -top), min(histogram.maximum, top)


def _divergence(magnitudes: np.ndarray, end: int, groups: int) -> float:
    """Return the Kullback-Leibler divergence of the clipped numbers from their rounding.

    Infinite where every number is clipped.
    """
    if not magnitudes[:end].any():
        return math.inf
    clipped = magnitudes[:end].astype(np.float64)
    clipped[-1] += magnitudes[end:].sum()
    group = np.arange(end) * groups // end
    occupied = clipped > 0
    inside = np.bincount(group, magnitudes[:end])
    shares = inside / np.maximum(np.bincount(group, occupied), 1)
    rounded = np.maximum(shares[group][occupied], _SMOOTHING)
    clipped = clipped[occupied]
    ratio = np.log(clipped / clipped.sum()) - np.log(rounded / rounded.sum())
    return float(clipped @ ratio / clipped.sum())


def mse(histogram: Histogram, scheme: Scheme) -> Range:
    """Return the range whose expected squared error is the least that a search finds.

    First both ends shrink together, then each by itself, in ever finer steps, from the range that
    was best. The error is ragged in the ends, so the least of all is not certain; it is never more
    than without clipping. Source: Nagel et al., "A White Paper on Neural Network Quantization",
    2021, section 3.1, where the ends are searched on a grid.
    """
    error = _Error(histogram)

    def loss(ends: Range) -> float:
        return error.of(of_range(*ends, scheme))

    low, high = min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    if scheme.symmetric or scheme.power_of_two:
        high = max(-low, high)
        low = -high

    def least(ends: Iterable[Range]) -> Range:
        """Return the best; ends further out than the numbers are drawn in."""
        inside = [(_within(left, low), _within(right, high)) for left, right in ends]
        return min(dict.fromkeys(inside), key=loss)

    best = least((low * share, high * share) for share in _COARSE)
    both = low < 0 < high and not (scheme.symmetric or scheme.power_of_two)
    for shares in _shares(coarse=both):
        if both:
            best = least((best[0], best[1] * share) for share in shares)
            best = least((best[0] * share, best[1]) for share in shares)
        else:
            best = least((best[0] * share, best[1] * share) for share in shares)
    return best


def _shares(*, coarse: bool) -> Iterator[tuple[float, ...]]:
    """Yield what the ends of the range are multiplied by, round by round; 1 is among each."""
    if coarse:
        both_ways = (*_COARSE, *(1 / share for share in _COARSE[1:]))
        yield from (both_ways, both_ways)
    for reach in _FINE:
        steps = [reach * part / _PARTS for part in range(1, _PARTS + 1)]
        yield (1.0, *(1 - step for step in steps), *(1 + step for step in steps))


def _within(end: float, furthest: float) -> float:
    return max(end, furthest) if furthest < 0 else min(end, furthest)


#: The methods that find a tensor's range, by name.
METHODS: Final[Mapping[str, Callable[[Histogram, Scheme], Range]]] = MappingProxyType(
    {"minmax": minmax, "percentile": percentile, "entropy": entropy, "mse": mse}
)


def _folded(histogram: Histogram) -> np.ndarray:
    """Return the counts of magnitudes, int64: bin i holds those of bins i and -1 - i."""
    places = np.arange(histogram.first, histogram.first + histogram.counts.size)
    folded = np.bincount(np.where(places < 0, -1 - places, places), histogram.counts)
    return np.rint(folded).astype(np.int64)


def _joined(members: list[Statistics]) -> Histogram:
    if len(members) == 1:
        return members[0].histogram
    joint = Histogram()
    for item in members:
        joint.merge(item.histogram)
    return joint


def _root(name: str, values: Mapping[str, Quantized]) -> str:
    """Return the value at the end of the chain of `like`.

    Raises:
        ValueError: the chain leads to a value that is not quantized, or in a circle.
    """
    seen = [name]
    while (like := values[seen[-1]].like) is not None:
        if like in seen or like not in values:
            raise ValueError(f"the parameters of {name!r} lead to {like!r} by {seen}")
        seen.append(like)
    return seen[-1]


def _fixed(scale: float, zero: int, scheme: Scheme) -> Parameters:
    dtype: ir.DataType = scheme.activations
    return Parameters(np.array(scale, np.float32), np.array(zero, dtype.numpy()), dtype)
