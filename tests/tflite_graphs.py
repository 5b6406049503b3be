"""TFLite models for tests, operator by operator, from text.

One operator a line: its name, inputs, results, options::

    CONV_2D@2 int8[1,8,8,3]*0.5+3 int8[4,1,1,3]=1 int32[4]=1 -> int8[1,8,8,4]*0.5
        Conv2DOptions{strideH=1}

``@2`` is the version (1 if not given), ``*0.5,0.25+3`` scales and zero point, ``=1,2`` makes a
constant (one number fills it), ``-`` is an absent input. A tensor may have a name,
``a:float32[1]``, by which later lines read it.
"""

from __future__ import annotations

import re

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tapeout.targets.tflite.flatbuffer import Quantization, Writer
from tapeout.targets.tflite.operators import Graph, graph_of, read

_TENSOR = re.compile(
    r"(?:(?P<name>\w+):)?(?P<dtype>\w+)\[(?P<shape>[\d,]*)\]"
    r"(?:\*(?P<scale>[\d.e,-]+?)(?:\+(?P<zero>\d+))?)?(?:=(?P<value>[\d.,-]+))?$"
)
_LINE = re.compile(
    r"(?P<name>\w+)(?:@(?P<version>\d+))?(?P<inputs>.*?)->(?P<outputs>[^{]*?)"
    r"(?:(?P<options>\w+)\{(?P<fields>[^}]*)\})?\s*$"
)


def graph(*lines: str) -> Graph:
    """Return the graph of a model of these operators; all that nothing makes is its input."""
    return graph_of(_model(*lines))


def file_graph(*lines: str) -> Graph:
    """Return the graph of the same model, written and read again."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(_model(*lines).Pack(builder), file_identifier=b"TFL3")
    return read(bytes(builder.Output()))


def _model(*lines: str) -> schema.ModelT:
    writer, named = Writer(), {}
    used: dict[str, list[int]] = {"inputs": [], "outputs": []}
    versions = []
    for line in lines:
        found = _LINE.match(" ".join(line.split()))
        assert found is not None, line
        both = {
            side: [_tensor(writer, named, item) for item in found[side].split()] for side in used
        }
        for side, items in both.items():
            used[side] += [item for item in items if item >= 0]
        options = None
        if found["options"]:
            fields = dict(item.split("=") for item in found["fields"].split())
            options = (found["options"], {name: _number(text) for name, text in fields.items()})
        writer.operator(found["name"], both["inputs"], both["outputs"], options)
        versions.append(int(found["version"] or 1))
    made = dict.fromkeys(used["outputs"])
    given = [
        item
        for item in dict.fromkeys(used["inputs"])
        if item not in made and not writer.tensors[item].is_constant
    ]
    results = [item for item in made if item not in used["inputs"]]
    model = writer.model(
        {f"in{item}": item for item in given}, {f"out{item}": item for item in results}, "test"
    )
    _set_versions(model, versions)
    return model


def _set_versions(model: schema.ModelT, versions: list[int]) -> None:
    """Give each operator a code of its own, with the version that its line says."""
    codes = []
    for operator, version in zip(model.subgraphs[0].operators, versions, strict=True):
        old, new = model.operatorCodes[operator.opcodeIndex], schema.OperatorCodeT()
        new.builtinCode, new.deprecatedBuiltinCode = old.builtinCode, old.deprecatedBuiltinCode
        new.version, operator.opcodeIndex = version, len(codes)
        codes.append(new)
    model.operatorCodes = codes


def _tensor(writer: Writer, named: dict[str, int], text: str) -> int:
    if text == "-":
        return -1
    if text in named:
        return named[text]
    found = _TENSOR.match(text)
    assert found is not None, text
    shape = tuple(int(size) for size in found["shape"].split(",") if size)
    quantization = None
    if found["scale"]:
        scale = np.array([float(item) for item in found["scale"].split(",")], np.float32)
        quantization = Quantization(scale, np.full(scale.shape, int(found["zero"] or 0)))
    name = found["name"] or f"t{len(writer.tensors)}"
    if found["value"]:
        values = np.array([float(item) for item in found["value"].split(",")]).astype(
            found["dtype"]
        )
        filled = np.resize(values, shape)
        index = writer.constant(name, filled, quantization)
    else:
        index = writer.tensor(name, shape, found["dtype"], quantization)
    if found["name"]:
        named[found["name"]] = index
    return index


def _number(text: str) -> int | float | list[int]:
    if "," in text:
        return [int(item) for item in text.split(",") if item]
    return float(text) if "." in text else int(text)
