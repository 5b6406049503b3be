"""The functions that an ONNX file defines, checked and bounded before they are inlined."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator

import onnx
import onnx_ir as ir

from ...errors import Problem
from .limits import MAX_NODES

Key = tuple[str, str, str]


def domain_of(domain: str) -> str:
    """Return the canonical name of a domain: the default one has two."""
    return "" if domain == "ai.onnx" else domain


def opsets_of(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Return version by domain."""
    return {domain_of(entry.domain): entry.version for entry in imports}


class Functions:
    """The functions of a model, by what calls them."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._all: dict[Key, onnx.FunctionProto] = {}
        self._twice: list[Key] = []
        for function in model.functions:
            key = (domain_of(function.domain), function.name, function.overload)
            if key in self._all:
                self._twice.append(key)
            self._all[key] = function

    def called_by(self, node: onnx.NodeProto) -> onnx.FunctionProto | None:
        """Return the function that a node calls; None if its operator is no function."""
        return self._all.get((domain_of(node.domain), node.op_type, node.overload))

    def used(self, graph: onnx.GraphProto) -> Iterator[onnx.FunctionProto]:
        """Yield the functions that a graph needs, each once, in the order of their first call."""
        pending, seen = [graph.node], set()
        while pending:
            for node in _all_nodes(pending.pop()):
                function = self.called_by(node)
                if function is not None and id(function) not in seen:
                    seen.add(id(function))
                    pending.insert(0, function.node)
                    yield function

    def problems(self, graph: onnx.GraphProto) -> Iterator[Problem]:
        """Yield what makes inlining impossible: a name twice, recursion, growth past the limit."""
        for domain, name, _ in self._twice:
            yield Problem(f"function {domain}::{name}", "is defined twice")
        calls: dict[Key, list[Key]] = {}
        own: dict[Key, int] = {}
        for key, function in self._all.items():
            nodes = list(_all_nodes(function.node))
            calls[key] = [called for node in nodes if (called := _key(node)) in self._all]
            own[key] = len(nodes) - len(calls[key])
        try:
            order = list(graphlib.TopologicalSorter(calls).static_order())
        except graphlib.CycleError as error:
            names = " -> ".join(f"{key[0]}::{key[1]}" for key in reversed(error.args[1]))
            yield Problem("functions", f"call each other in a circle: {names}")
            return
        sizes: dict[Key, int] = {}
        for key in order:
            sizes[key] = own[key] + sum(sizes[called] for called in calls[key])
        total = sum(sizes.get(_key(node), 1) for node in _all_nodes(graph.node))
        if total > MAX_NODES:
            yield Problem(
                "model",
                f"has {total} nodes with its functions inlined; at most {MAX_NODES} are possible",
            )


def _key(node: onnx.NodeProto) -> Key:
    return (domain_of(node.domain), node.op_type, node.overload)


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield nodes and those of the graphs in their attributes."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _all_nodes(graph.node)


def settle_imports(model: ir.Model) -> list[Problem]:
    """Let a model import what its functions do; return where the two contradict each other.

    Functions may be written in another opset of the default domain, and of the domains that
    functions of the model make up, whose versions say nothing.
    """
    own = {"", *(domain for domain, _, _ in model.functions)}
    problems = []
    for function in model.functions.values():
        for domain, version in function.opset_imports.items():
            known = model.opset_imports.setdefault(domain, version)
            if version != known and domain not in own:
                problems.append(
                    Problem(
                        f"function {function.domain}::{function.name}",
                        f"imports version {version} of domain {domain!r}, the model {known}",
                    )
                )
    return problems
