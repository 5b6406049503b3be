"""One scheme applied to one model: what it changes, and the passes that do, whatever is kept."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import onnx_ir as ir

from ...errors import ModelError, Problem, UsageError
from ..analysis import overflow
from ..analysis.calibrate import Calibration, calibrate
from ..analysis.probe import Batches
from ..canonical import canonical
from ..half_precision import NAMES
from ..matching import halved, is_op, nodes_of
from ..names import joined
from ..passes import halve_weights
from ..passes.convert_precision import ConvertPrecision
from ..passes.equalize_layers import EqualizeLayers
from ..passes.expand_functions import ExpandFunctions
from ..passes.multiply_by_reciprocals import MultiplyByReciprocals
from ..passes.quantize import Quantize
from ..passes.quantize_at_run_time import QuantizeAtRunTime
from ..passes.quantize_weights import QuantizeWeights
from ..passes.sparsify_weights import SparsifyWeights
from ..pipeline import Pipeline
from .averages import in_reach
from .fallbacks import in_float
from .placement import Placement, place
from .pruning import prune
from .ranges import choose
from .recipe import Recipe
from .rounding import round_weights
from .scheme import AnyScheme, FloatScheme, Scheme, SparseScheme, WeightScheme
from .sparsity import objections

#: Node name -> why it stays float.
Kept = Mapping[str, str]


class Conversion(abc.ABC):
    """One scheme, applied to one model.

    Attributes:
        scheme: what the numbers become.
        model: the canonical, channels-first model in float that `passes` start from.
        nodes: the names of the nodes whose numbers change, in graph order.
        fixed: the nodes that the scheme or the data keep in float, with the reason.
        stays: how a node is that is kept.
    """

    scheme: AnyScheme
    model: ir.Model
    nodes: tuple[str, ...]
    fixed: Kept
    stays: ClassVar[str] = "in float"

    @abc.abstractmethod
    def passes(self, kept: Kept) -> Pipeline:
        """Return the passes that convert `model`, all but the nodes to keep."""

    def converted(self, kept: Kept) -> ir.Model:
        """Return the converted model; `model` is left as it is."""
        return self.passes(kept).run(self.model.clone())

    def alone(self, name: str) -> ir.Model:
        """Return the model with one node converted, and all others in float."""
        return self.converted({other: "not under test" for other in self.nodes if other != name})


def conversion(
    imported: ir.Model, scheme: AnyScheme, batches: Batches, method: str = "auto"
) -> Conversion:
    """Prepare to convert an imported float model, which is left as it is.

    Args:
        batches: samples to calibrate with; may be empty where the scheme only shortens numbers.
        method: how ranges are found, as `ranges.choose` knows it.

    Raises:
        UsageError: an integer scheme has no samples; a sample holds NaN or infinities.
        ModelError: the model is quantized already, or ONNX Runtime cannot run it.
    """
    if is_quantized(imported):
        raise ModelError(
            "the model is quantized already",
            [Problem("", "it has QuantizeLinear nodes", "give the float model")],
        )
    model = preparation(scheme).run(imported.clone())
    if isinstance(scheme, Scheme | SparseScheme) and not len(batches):
        raise UsageError(
            f"the scheme {scheme.name!r} needs samples to calibrate with",
            [Problem("--calibration", "is not given", "give FILE.npz[:KEY] with real inputs")],
        )
    if isinstance(scheme, Scheme):
        return Integers(model, scheme, batches, method)
    if isinstance(scheme, SparseScheme):
        return Sparse(model, scheme, batches)
    if isinstance(scheme, WeightScheme):
        return WeightsAlone(model, scheme, batches)
    return ShorterFloats(model, scheme, batches)


def preparation(scheme: AnyScheme) -> Pipeline:
    """Return the passes from an imported model to the one that a scheme converts.

    Integer kernels multiply matrices and numbers, also where the model says it by other operators.
    """
    if not isinstance(scheme, Scheme):
        return canonical("nchw")
    products = Pipeline((ExpandFunctions("Attention"),))
    return products + canonical("nchw") + Pipeline((MultiplyByReciprocals(),))


def is_quantized(model: ir.Model) -> bool:
    """Whether activations of a model are rounded to integers already."""
    return any(is_op(node, "QuantizeLinear") for node in nodes_of(model))


class Integers(Conversion):
    """Static integer quantization: equalize, calibrate, choose ranges, round the weights.

    Attributes:
        wide: the nodes whose numbers the scheme's other format cannot hold, with the reason.
    """

    def __init__(self, model: ir.Model, scheme: Scheme, batches: Batches, method: str) -> None:
        self.scheme: Scheme = scheme
        self.model = model
        self.placement = place(model, scheme)
        self.nodes = self.placement.nodes
        self._equalize, self.calibration = _equalized(model, self.placement, scheme, batches)
        self.equalized = self._equalize.run(model.clone())
        self.wide = _wide(self.equalized, scheme.rest, batches)
        self.fixed = in_float(model, scheme, self.placement, self.wide)
        ranges = choose(self.calibration, self.placement.values, scheme, method)
        ranges = in_reach(self.equalized, ranges, scheme)
        rounded = round_weights(self.equalized, self.nodes, ranges, scheme, batches)
        self._recipe = Recipe(scheme, ranges, rounded)

    def recipe(self, kept: Kept) -> Recipe:
        """Return what is written; ranges and weights are the same whatever is kept."""
        return dataclasses.replace(self._recipe, kept=dict(kept))

    def passes(self, kept: Kept) -> Pipeline:
        passes = self._equalize + Pipeline((Quantize(self.recipe(kept)),))
        return passes + _rest(self.scheme.rest, self.wide)

    def alone(self, name: str) -> ir.Model:
        # Other operators in integers, such as a residual Add, cost accuracy of their own.
        others = (other for other in self.placement.integer if other != name)
        return self.converted(dict.fromkeys(others, "not under test"))


def _equalized(
    model: ir.Model, placement: Placement, scheme: Scheme, batches: Batches
) -> tuple[Pipeline, Calibration]:
    """Return the pass that scales channels, if it changes anything, and what is known after it."""
    if scheme.is_float:  # as fine for small channels as for large ones
        return Pipeline(()), calibrate(model, batches, placement.values)
    before = calibrate(model, batches, placement.values, histograms=False)
    equalize = EqualizeLayers(
        before,
        per_channel=scheme.of("Conv").per_channel,
        per_column=scheme.of("Gemm").per_channel,
    )
    result = equalize(model.clone())
    passes = Pipeline((equalize,) if result.modified else ())
    return passes, calibrate(result.model, batches, placement.values)


def _rest(dtype: ir.DataType, wide: Kept) -> Pipeline:
    """Return the passes that put what is not rounded in a format, but for some nodes."""
    if dtype == ir.DataType.FLOAT:
        return Pipeline(())
    return Pipeline((ConvertPrecision(NAMES[dtype], joined(wide), quantized=True),))


def _wide(model: ir.Model, dtype: ir.DataType, batches: Batches) -> Kept:
    """Return the nodes that must stay float32 in a format, with the reason."""
    if dtype == ir.DataType.FLOAT:
        return {}
    calibration = None
    if len(batches):
        calibration = calibrate(model, batches, overflow.observed(model), histograms=False)
    return overflow.keep_list(model, calibration, dtype)


class ShorterFloats(Conversion):
    """Half precision or bfloat16; without samples only constants say what may overflow."""

    def __init__(self, model: ir.Model, scheme: FloatScheme, batches: Batches) -> None:
        self.scheme: FloatScheme = scheme
        self.model = model
        self.fixed = _wide(model, scheme.dtype, batches)
        self.nodes = tuple(
            str(node.name)
            for node in self.converted({}).graph
            if any(value.dtype == scheme.dtype for value in node.outputs)
            and not is_op(node, "Cast")
        )

    def passes(self, kept: Kept) -> Pipeline:
        keep = joined((*self.fixed, *kept))
        return Pipeline((ConvertPrecision(NAMES[self.scheme.dtype], keep),))


class WeightsAlone(Conversion):
    """Constant weights as integers or in half precision; other numbers stay float32.

    Or are rounded as they come, where the scheme says so: no samples are needed for that.
    """

    def __init__(self, model: ir.Model, scheme: WeightScheme, batches: Batches) -> None:
        self.scheme: WeightScheme = scheme
        self.model = model
        self._wide = _wide(model, scheme.rest, batches)
        self._halves = scheme.weights == ir.DataType.FLOAT16
        self.fixed = halve_weights.unfit(model) if self._halves else self._wide
        self.nodes = tuple(
            str(node.name)
            for node in self.converted({}).graph
            if any(
                halved(value) is not None
                or (value is not None and is_op(value.producer(), "DequantizeLinear"))
                for value in node.inputs[1:3]
            )
        )

    def passes(self, kept: Kept) -> Pipeline:
        if self._halves:
            return Pipeline((halve_weights.HalveWeights(joined((*self.fixed, *kept))),))
        passes = Pipeline((QuantizeWeights(self.scheme.name, joined((*self._wide, *kept))),))
        passes += _rest(self.scheme.rest, self._wide)
        return passes + Pipeline((QuantizeAtRunTime(),)) if self.scheme.data else passes


class Sparse(Conversion):
    """Pruned weights; `fixed` are the nodes that sparse kernels do not take."""

    stays: ClassVar[str] = "dense"

    def __init__(self, model: ir.Model, scheme: SparseScheme, batches: Batches) -> None:
        self.scheme: SparseScheme = scheme
        self.model = model
        found = objections(model)
        self.fixed = {name: reason for name, reason in found.items() if reason is not None}
        self.nodes = tuple(name for name, reason in found.items() if reason is None)
        self._pruning = prune(model, self.nodes, batches, scheme.selection)

    def passes(self, kept: Kept) -> Pipeline:
        return Pipeline((SparsifyWeights(self._pruning, joined(kept)),))
