"""The structure of an ONNX file, checked as a whole: every finding, each with the node it is at.

onnx.checker stops at its first finding and says little of the place; it runs afterwards, for the
details. Graphs need not be sorted here: only a cycle makes an order impossible.
"""

from __future__ import annotations

import functools
import graphlib
from collections import ChainMap, Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import onnx
from onnx.defs import OpSchema

from ...errors import Problem
from .contributed_operators import is_contributed
from .onnx_functions import Functions, domain_of, opsets_of
from .onnx_tensors import TensorReader

#: Domain -> the oldest and the newest version of it that can be imported.
VERSIONS: Final = {
    domain_of(domain): (7 if domain_of(domain) == "" else 1, newest)
    for domain, newest in sorted(onnx.helper.OP_SET_ID_VERSION_MAP)
}
_OLDEST_IR: Final = 3  # the first that names its opsets
_TYPES: Final = dict(onnx.AttributeProto.AttributeType.items())
_FEW: Final = 20  # names listed of a long cycle

#: What defines each name that a node can use, by name; the innermost graph first.
_Scope = ChainMap[str, str]


class Structure:
    """Checks one model; `problems` has the findings in the order of the file.

    Args:
        model: the parsed file; it is not changed.
        reader: checks the tensors.
    """

    def __init__(self, model: onnx.ModelProto, reader: TensorReader) -> None:
        self._reader = reader
        self._functions = Functions(model)
        self.problems: list[Problem] = []
        self._versions(model)
        self._graph(model.graph, "", ChainMap(), main=True)
        self.problems += self._functions.problems(model.graph)
        for function in self._functions.used(model.graph):
            self._function(function)

    def _report(self, where: str, what: str, fix: str = "") -> None:
        self.problems.append(Problem(where, what, fix))

    def _versions(self, model: onnx.ModelProto) -> None:
        if not _OLDEST_IR <= model.ir_version <= onnx.IR_VERSION:
            self._report(
                "model",
                f"IR version {model.ir_version} is not known",
                f"export it with IR version {_OLDEST_IR} to {onnx.IR_VERSION}",
            )
        counts = Counter(domain_of(entry.domain) for entry in model.opset_import)
        for domain, count in counts.items():
            if count > 1:
                self._report("model", f"imports domain {domain or 'ai.onnx'!r} {count} times")
        self._imports(model.opset_import, "model")

    def _imports(self, imports: Iterable[onnx.OperatorSetIdProto], where: str) -> None:
        """Set the opsets of the nodes that are checked next."""
        self._opsets = opsets_of(imports)
        for domain, version in self._opsets.items():
            oldest, newest = VERSIONS.get(domain, (version, version))
            if not oldest <= version <= newest:
                self._report(
                    where,
                    f"opset {version} of domain {domain or 'ai.onnx'!r} is not known",
                    f"export it with opset {oldest} to {newest}",
                )
                self._opsets[domain] = min(max(oldest, version), newest)

    def _function(self, function: onnx.FunctionProto) -> None:
        name = f"function {function.domain}::{function.name}, "
        self._imports(function.opset_import, f"function {function.domain}::{function.name}")
        scope = dict.fromkeys(function.input, "input")
        attributes = {*function.attribute, *(attr.name for attr in function.attribute_proto)}
        for default in function.attribute_proto:
            self._tensors(default, f"{name}attribute {default.name!r}")
        self._nodes(function.node, name, scope, ChainMap(), attributes)
        for output in function.output:
            if output not in scope:
                self._report(f"{name}output {output!r}", "is not defined")

    def _graph(
        self,
        graph: onnx.GraphProto,
        prefix: str,
        outer: _Scope,
        *,
        main: bool = False,
        attributes: Iterable[str] = (),
    ) -> set[str]:
        """Check a graph; return the names that it takes from outside."""
        scope: dict[str, str] = {}
        for value in graph.input:
            self._define(scope, value.name, prefix, f"input {value.name!r}")
            if main:
                self._input_type(value, f"{prefix}input {value.name!r}")
        self._initializers(graph, prefix, scope)
        captured = self._nodes(graph.node, prefix, scope, outer, attributes)
        for value in graph.output:
            if value.name in scope:
                continue
            fix = "add an Identity" if value.name in outer else ""
            self._report(f"{prefix}output {value.name!r}", "is not defined in its graph", fix)
        for name, count in Counter(value.name for value in graph.output).items():
            if count > 1:
                self._report(f"{prefix}output {name!r}", f"is named {count} times as an output")
        if main and not graph.output:
            self._report("graph", "has no outputs")
        return captured

    def _input_type(self, value: onnx.ValueInfoProto, where: str) -> None:
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            found = str(kind).removesuffix("_type") if kind else "value without a type"
            self._report(where, f"is a {found}; only tensors are possible")
        elif value.type.tensor_type.elem_type not in _data_types():
            self._report(where, f"has the unknown type {value.type.tensor_type.elem_type}")

    def _initializers(self, graph: onnx.GraphProto, prefix: str, scope: dict[str, str]) -> None:
        inputs = set(scope)
        constants: dict[str, str] = {}
        for tensor in graph.initializer:
            where = f"{prefix}initializer {tensor.name!r}"
            self._define(constants, tensor.name, prefix, where.removeprefix(prefix))
            self.problems += self._reader.check(tensor, where)
        for sparse in graph.sparse_initializer:
            where = f"{prefix}sparse initializer {sparse.values.name!r}"
            self._define(constants, sparse.values.name, prefix, where.removeprefix(prefix))
            self.problems += self._reader.check_sparse(sparse, where)
        # An initializer that is also an input is that input's default.
        scope.update((name, kind) for name, kind in constants.items() if name not in inputs)

    def _define(self, scope: dict[str, str], name: str, prefix: str, what: str) -> None:
        if not name:
            self._report(f"{prefix}{what}", "has no name")
        elif name in scope:
            self._report(f"{prefix}{what}", f"defines {name!r} again; {scope[name]} did before")
        else:
            scope[name] = what

    def _nodes(
        self,
        nodes: Iterable[onnx.NodeProto],
        prefix: str,
        scope: dict[str, str],
        outer: _Scope,
        attributes: Iterable[str],
    ) -> set[str]:
        """Check nodes, adding what they define to `scope`; return what they take from outside."""
        listed = [(node, f"node {_name(node, index)}") for index, node in enumerate(nodes)]
        producers: dict[str, int] = {}
        for index, (node, where) in enumerate(listed):
            for output in filter(None, node.output):
                self._define(scope, output, prefix, where)
                producers.setdefault(output, index)
        visible = outer.new_child(scope)
        captured: set[str] = set()
        edges: dict[int, list[int]] = {}
        for index, (node, where) in enumerate(listed):
            used = dict.fromkeys(filter(None, node.input))
            for name in used:
                if name not in visible:
                    self._report(
                        f"{prefix}{where}",
                        f"uses {name!r}, which no input, initializer or node defines",
                    )
            for attribute in node.attribute:
                used |= dict.fromkeys(
                    self._attribute(attribute, f"{prefix}{where}", visible, attributes)
                )
            self._operator(node, f"{prefix}{where}")
            captured.update(name for name in used if name not in scope)
            edges[index] = [producers[name] for name in used if name in producers]
        self._cycle([where for _, where in listed], edges, prefix)
        return captured

    def _cycle(self, places: list[str], edges: Mapping[int, list[int]], prefix: str) -> None:
        try:
            graphlib.TopologicalSorter(edges).prepare()
        except graphlib.CycleError as error:
            members = error.args[1][:-1]
            shown = " -> ".join(places[index] for index in members[:_FEW])
            more = f" -> ... ({len(members)} nodes)" if len(members) > _FEW else ""
            self._report(f"{prefix}{places[members[0]]}", f"is in a cycle: {shown}{more}")

    def _attribute(
        self,
        attribute: onnx.AttributeProto,
        where: str,
        visible: _Scope,
        attributes: Iterable[str],
    ) -> Iterator[str]:
        """Check an attribute; yield the names that graphs in it take from outside."""
        self._tensors(attribute, f"{where}, attribute {attribute.name!r}")
        for text in [attribute.s, *attribute.strings]:
            if not _is_text(text):
                self._report(where, f"attribute {attribute.name!r} is not UTF-8: {text[:40]!r}")
        if attribute.ref_attr_name and attribute.ref_attr_name not in attributes:
            self._report(
                where,
                f"attribute {attribute.name!r} refers to {attribute.ref_attr_name!r}, "
                "which is no attribute of a function around it",
            )
        graphs = [attribute.g] if attribute.HasField("g") else []
        for graph in [*graphs, *attribute.graphs]:
            yield from self._graph(
                graph, f"{where}, {attribute.name}: ", visible, attributes=attributes
            )

    def _tensors(self, attribute: onnx.AttributeProto, where: str) -> None:
        for tensor in [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]:
            self.problems += self._reader.check(tensor, where)
        sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
        for item in [*sparse, *attribute.sparse_tensors]:
            self.problems += self._reader.check_sparse(item, where)

    def _operator(self, node: onnx.NodeProto, where: str) -> None:
        function = self._functions.called_by(node)
        if function is not None:
            self.problems += _against_function(node, function, where)
            return
        domain = domain_of(node.domain)
        title = f"{domain}::{node.op_type}" if domain else node.op_type
        if domain not in self._opsets:
            self._report(
                where,
                f"operator {title!r} is of domain {domain or 'ai.onnx'!r}, which is not imported",
            )
            return
        if is_contributed(domain, node.op_type):
            return  # checked where it is said in ONNX's own operators
        version = self._opsets[domain]
        schema = schema_of(domain, node.op_type, version)
        if schema is None:
            known = f"opset {version}" if domain in VERSIONS else "any opset"
            self._report(
                where,
                f"operator {title!r} is not known in {known}",
                "export with standard ONNX operators, or define it as a function in the model",
            )
        elif schema.deprecated and not is_replaced(domain, node.op_type):
            self._report(
                where, f"operator {title!r} is deprecated since opset {schema.since_version}"
            )
        else:
            self.problems += _against_schema(node, schema, where)


@functools.cache
def schema_of(domain: str, op_type: str, version: int) -> OpSchema | None:
    """Return the definition of an operator at an opset; None if there is none."""
    if domain not in VERSIONS:
        return None
    try:
        return onnx.defs.get_schema(op_type, version, domain)
    except onnx.defs.SchemaError:
        return None


def is_replaced(domain: str, op_type: str) -> bool:
    """Whether an operator is still there in the newest opset, however it was defined before."""
    newest = schema_of(domain, op_type, VERSIONS[domain][1])
    return newest is not None and not newest.deprecated


def _against_function(
    node: onnx.NodeProto, function: onnx.FunctionProto, where: str
) -> Iterator[Problem]:
    title = f"{function.domain}::{function.name}"
    for kind, given, taken in (
        ("inputs", node.input, function.input),
        ("outputs", node.output, function.output),
    ):
        if len(given) > len(taken):
            yield Problem(where, f"has {len(given)} {kind}; function {title} has {len(taken)}")
    known = {*function.attribute, *(attr.name for attr in function.attribute_proto)}
    for attribute in node.attribute:
        if attribute.name not in known:
            yield Problem(where, f"attribute {attribute.name!r} is none of function {title}")
        if attribute.HasField("g") or attribute.graphs:
            yield Problem(where, f"attribute {attribute.name!r} passes a graph to a function")


def _against_schema(node: onnx.NodeProto, schema: OpSchema, where: str) -> Iterator[Problem]:
    """Yield where a node does not have the attributes, inputs and outputs of its operator."""
    title = f"{schema.name} (opset {schema.since_version})"
    for name, count in Counter(attribute.name for attribute in node.attribute).items():
        if count > 1:
            yield Problem(where, f"has attribute {name!r} {count} times")
    for attribute in node.attribute:
        wanted = schema.attributes.get(attribute.name)
        if wanted is None:
            known = ", ".join(sorted(schema.attributes)) or "none"
            yield Problem(where, f"{title} has no attribute {attribute.name!r}; it has: {known}")
        elif _TYPES[str(wanted.type).removeprefix("AttrType.")] != attribute.type:
            found = onnx.AttributeProto.AttributeType.Name(attribute.type)
            takes = str(wanted.type).removeprefix("AttrType.")
            yield Problem(where, f"attribute {attribute.name!r} is {found}; {title} takes {takes}")
    given = {attribute.name for attribute in node.attribute}
    for name, wanted in sorted(schema.attributes.items()):
        if wanted.required and name not in given:
            yield Problem(where, f"has no attribute {name!r}, which {title} needs")
    for kind, names, least, most, formals in (
        ("inputs", node.input, schema.min_input, schema.max_input, schema.inputs),
        ("outputs", node.output, schema.min_output, schema.max_output, schema.outputs),
    ):
        if not least <= len(names) <= most:
            span = f"{least}" if least == most else f"{least} to {most}"
            yield Problem(where, f"has {len(names)} {kind}; {title} takes {span}")
            continue
        for index, (name, formal) in enumerate(zip(names, formals, strict=False)):
            single = formal.option == OpSchema.FormalParameterOption.Single
            if not name and single and kind == "inputs":
                yield Problem(where, f"input {index} ({formal.name}) of {title} is missing")


@functools.cache
def _data_types() -> frozenset[int]:
    values = onnx.TensorProto.DataType.values()
    return frozenset(values) - {onnx.TensorProto.UNDEFINED}


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _name(node: onnx.NodeProto, index: int) -> str:
    return f"{node.name!r} ({node.op_type})" if node.name else f"#{index} ({node.op_type})"
