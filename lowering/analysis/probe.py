"""The values inside a model, for given inputs: ONNX Runtime, with extra outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx_ir as ir

from .. import workers
from ..reference import Arrays, Reference

Batches = Sequence[Mapping[str, np.ndarray]]


class Probe:
    """A model loaded into ONNX Runtime that gives chosen values of its main graph.

    Args:
        model: any stage of the IR; it is not changed.
        names: the values, by name: inputs of the graph or outputs of nodes.

    Raises:
        ModelError: ONNX Runtime does not take the model.
        KeyError: the main graph has no such value.
    """

    def __init__(self, model: ir.Model, names: Sequence[str]) -> None:
        given = {str(value.name) for value in model.graph.inputs}
        self.names = tuple(dict.fromkeys(names))
        self._given = tuple(name for name in self.names if name in given)
        self._computed = tuple(name for name in self.names if name not in given)
        self._reference = (
            Reference(_with_outputs(model, self._computed), optimized=True)
            if self._computed
            else None
        )

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Return the values by name, in the order asked for; inputs are given back uncopied."""
        found = dict(self._reference.run(feeds)) if self._reference is not None else {}
        found.update((name, feeds[name]) for name in self._given)
        return {name: found[name] for name in self.names}

    def stream(self, batches: Batches) -> Iterator[Arrays]:
        """Yield the values for each batch, in order, while those of the next ones are computed.

        Each batch is computed on one thread, so the numbers do not depend on how many processors
        there are; at most two batches more than those in work are held at a time.
        """
        with ThreadPoolExecutor(workers.count()) as threads:
            yield from workers.ahead(threads, self.run, batches)


def _with_outputs(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """Return a copy, which shares the constants, whose outputs are these values alone."""
    model = model.clone()
    values = {str(value.name): value for node in model.graph for value in node.outputs}
    model.graph.outputs[:] = [values[name] for name in names]
    return model
