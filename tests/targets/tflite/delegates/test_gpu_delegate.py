"""What TFLite's GPU delegate takes, and in which pieces.

Every row of the table is tried on both sides, with models of one operator, against the examples of
`gpu_examples`: `test_all_rows_tried` keeps count.
"""

from __future__ import annotations

import functools
import itertools

import pytest
from gpu_examples import OPERATORS, PAIRS
from nnapi_examples import DTYPES
from tflite_graphs import graph

from tapeout.targets.tflite.delegates import gpu_delegate
from tapeout.targets.tflite.delegates.gpu_rules import RULES
from tapeout.targets.tflite.delegates.rules import Refusal
from tapeout.targets.tflite.operators import Graph


def _taken(spec: str, quantized: bool) -> str:
    """Return the dtypes that a text such as "0:fh 1:fhus" says are taken."""
    found = ""
    for item in spec.split():
        since, dtypes = item.split(":")
        if int(since) <= int(quantized):
            found = dtypes
    return found


def _line(name: str, rest: str, dtype: str, version: int = 1) -> str:
    return f"{name}@{version} {rest.replace('{T}', DTYPES[dtype])}"


@functools.cache
def _model(lines: str) -> Graph:
    return graph(*lines.split("; "))


def _refusals(lines: str, quantized: bool = True) -> tuple[Refusal, ...]:
    """Return why the first operator is refused."""
    model = _model(lines)
    return gpu_delegate.refusals(model.operators[0], model, quantized=quantized)


_EACH = [
    (name, rest, spec, most) for names, rest, spec, most in OPERATORS for name in names.split()
]


@pytest.mark.parametrize(("name", "rest", "spec", "most"), _EACH)
def test_dtypes(name: str, rest: str, spec: str, most: int | None) -> None:
    for quantized, code in itertools.product((False, True), DTYPES):
        found = _refusals(_line(name, rest, code), quantized)
        assert (found == ()) is (code in _taken(spec, quantized)), (quantized, code, found)


@pytest.mark.parametrize(
    ("name", "rest", "spec", "most"), [case for case in _EACH if case[3] is not None]
)
def test_versions(name: str, rest: str, spec: str, most: int) -> None:
    code = _taken(spec, True)[0]
    assert _refusals(_line(name, rest, code, most)) == ()
    (found,) = _refusals(_line(name, rest, code, most + 1))
    assert found.reason == f"its version is {most + 1}, taken are up to {most}"


@pytest.mark.parametrize(("taken", "refused"), PAIRS)
def test_pairs(taken: str, refused: str) -> None:
    assert _refusals(taken) == ()
    assert len(_refusals(refused)) == 1


def test_truth_values_only_between_operators() -> None:
    model = graph(
        "EQUAL float32[4] float32[4] -> c:bool[4]",
        "CAST c -> y:float32[4]",
        "RELU y -> float32[4]",
    )
    assert gpu_delegate.placement(model).reasons == {}
    model = graph("CAST bool[4] -> y:float32[4]", "RELU y -> float32[4]")
    assert gpu_delegate.placement(model).reasons == {
        0: "its truth values are not made and read by one operator each"
    }


def test_all_rows_tried() -> None:
    """Every row refuses a model that no other row refuses, and lets one pass."""
    cases = [
        (_line(name, rest, code), quantized)
        for name, rest, _, _ in _EACH
        for quantized, code in itertools.product((False, True), DTYPES)
    ]
    cases += [
        (_line(name, rest, _taken(spec, True)[0], most + 1), True)
        for name, rest, spec, most in _EACH
        if most is not None
    ]
    cases += [(text, True) for pair in PAIRS for text in pair]
    cases += [("CAST bool[4] -> y:float32[4]; RELU y -> float32[4]", True)]
    alone: set[int] = set()
    passed: set[int] = set()
    later: set[int] = set()  # a row that nothing passes is one until a level
    for lines, quantized in cases:
        found = _refusals(lines, quantized)
        rules = [RULES.index(item.rule) for item in found if item.rule is not None]
        if len(rules) == 1:
            alone.add(rules[0])
        if not found:
            name, level = _model(lines).operators[0].name, int(quantized)
            rows = [(index, rule) for index, rule in enumerate(RULES) if name in rule.operators]
            passed |= {index for index, rule in rows if rule.since <= level < rule.until}
            later |= {index for index, rule in rows if level == rule.until}
    every = set(range(len(RULES)))
    assert [RULES[index] for index in sorted(every - alone)] == []
    assert [RULES[index] for index in sorted(every - passed - later)] == []


def test_one_partition_the_largest() -> None:
    model = graph(
        "RELU float32[1,4] -> a:float32[1,4]",
        "CEIL a -> b:float32[1,4]",
        "RELU b -> c:float32[1,4]",
        "GELU c -> d:float32[1,4] GeluOptions{}",
    )
    found = gpu_delegate.placement(model)
    assert [(part.where, len(part.operators)) for part in found.partitions] == [
        ("CPU", 2),
        ("GPU", 2),
    ]
    assert found.reasons == {
        0: "only the largest of 2 partitions is taken; its own has 1 operator",
        1: "CEIL is not on its list",
    }
    assert found.transferred_bytes == 32
    both = gpu_delegate.placement(model, most=2)
    assert [part.where for part in both.partitions] == ["GPU", "CPU", "GPU"]


def test_float16_constants_go_along() -> None:
    """Operators read float16 constants themselves; all of a model is one partition then."""
    halves = (
        "DEQUANTIZE float16[4,1,1,4]=1 -> w:float32[4,1,1,4]",
        "CONV_2D x:float32[1,8,8,4] w float32[4]=0 -> a:float32[1,8,8,4] "
        "Conv2DOptions{strideW=1 strideH=1}",
    )
    found = gpu_delegate.placement(graph(*halves))
    assert [(part.where, len(part.operators)) for part in found.partitions] == [("GPU", 2)]
    assert found.reasons == {}
    assert found.transferred_bytes == 2 * 1024
    found = gpu_delegate.placement(graph(*halves, "CEIL a -> float32[1,8,8,4]"))
    places = [(part.where, [op.name for op in part.operators]) for part in found.partitions]
    assert places == [("CPU", ["DEQUANTIZE"]), ("GPU", ["CONV_2D"]), ("CPU", ["CEIL"])]
    # The constant is part of the GPU's graph: only data is moved.
    assert [item.operand.name for item in found.transfers] == ["x", "a"]


def test_quantized_models() -> None:
    model = graph("RELU int8[4]*1 -> int8[4]*1")
    assert gpu_delegate.placement(model).reasons == {}
    assert any("in float" in note for note in gpu_delegate.placement(model).notes)
    refused = gpu_delegate.placement(model, quantized=False)
    assert refused.reasons == {0: "its input 't0' is int8, taken: float32, float16"}
    assert refused.notes == ()
