"""A model for a range of shapes, held to the model at single shapes, and told in the manifest."""

from __future__ import annotations

import onnx_ir as ir

from . import numerics
from .bundle import RangeRecord, ShapesRecord
from .errors import Problem, VerificationError
from .job import described
from .lowering.dynamic.generalize import Dynamic, dynamic_of
from .lowering.dynamic.ranges import Shapes, as_arguments
from .lowering.reference import Reference
from .targets.base import Progress


def require_every_shape(model: ir.Model, tolerance: float, progress: Progress) -> None:
    """Hold what stands for a lowered model at all shapes to the model imported at single ones.

    That is at the least, the usual and the largest shapes of every profile, in ONNX Runtime on
    drawn inputs. A model of static shapes has nothing to hold.

    Args:
        tolerance: of `numerics.compare`.

    Raises:
        VerificationError: names every shape at which an output differs.
    """
    found = dynamic_of(model)
    if found is None:
        return
    reference, problems = Reference(found.model), list[Problem]()
    for shapes in found.ranges.corners:
        where = as_arguments(shapes)
        progress(f"comparing with the model at {where}")
        try:
            _require_same(found, reference, shapes, tolerance)
        except VerificationError as error:
            problems += [Problem(f"{where}: {item.where}", item.what) for item in error.problems]
    if problems:
        raise VerificationError(
            "the model for all shapes is not the model at single ones", problems
        )


def _require_same(found: Dynamic, reference: Reference, shapes: Shapes, tolerance: float) -> None:
    source = found.source(shapes)
    inputs = tuple(map(described, source.graph.inputs))
    vectors = numerics.make_vectors(Reference(source), inputs, samples=1)
    outputs = tuple(map(described, source.graph.outputs))
    numerics.require_equal(reference.run(vectors.inputs), vectors.expected, tolerance, outputs)


def shapes_record(model: ir.Model) -> ShapesRecord | None:
    """Describe what varies in the shapes of a lowered model; None if they are static."""
    found = dynamic_of(model)
    if found is None:
        return None
    return ShapesRecord(
        inputs={str(value.name): _dims(value) for value in found.model.graph.inputs},
        outputs={str(value.name): _dims(value) for value in found.model.graph.outputs},
        profiles=tuple(
            {
                name: RangeRecord(min=item.min, opt=item.opt, max=item.max)
                for name, item in profile.items()
            }
            for profile in found.ranges.profiles
        ),
        multiples=found.steps,
    )


def _dims(value: ir.Value) -> tuple[int | str | None, ...]:
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape or ())
