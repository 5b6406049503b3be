"""What NNAPI's delegate takes, and in which pieces.

Every row of the table is tried on both sides, with models of one operator, against the examples of
`nnapi_examples`: `test_all_rows_tried` keeps count.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from nnapi_examples import DTYPES, LEVELS, OPERATORS, PAIRS
from tflite_graphs import graph

from tapeout.errors import ProfileError
from tapeout.lowering.canonical import canonical
from tapeout.lowering.passes.expand_functions import ExpandFunctions
from tapeout.lowering.pipeline import Pipeline
from tapeout.targets.tflite.delegates import nnapi
from tapeout.targets.tflite.delegates.nnapi_rules import RULES
from tapeout.targets.tflite.lower import to_tflite
from tapeout.targets.tflite.operators import Graph, read

import support


def _taken(spec: str, level: int) -> str:
    """Return the dtypes that a text such as "27:fus 30:fusn" says are taken at a feature level."""
    found = ""
    for item in spec.split():
        since, dtypes = item.split(":")
        if LEVELS[int(since)] <= level:
            found = dtypes
    return found


def _line(name: str, rest: str, dtype: str, version: int = 1) -> str:
    return f"{name}@{version} {rest.replace('{T}', DTYPES[dtype])}"


@functools.cache
def _one(line: str) -> Graph:
    """Return a model of one operator."""
    return graph(line)


def _each_dtype() -> list[tuple[str, str, str]]:
    return [(name, rest, spec) for names, rest, spec, _ in OPERATORS for name in names.split()]


def _refused(model: Graph, level: int) -> list[int]:
    """Return the rows that refuse the one operator."""
    found = nnapi.refusals(model.operators[0], model, level)
    return [RULES.index(item.rule) for item in found if item.rule is not None]


@pytest.mark.parametrize(("name", "rest", "spec"), _each_dtype())
def test_dtypes(name: str, rest: str, spec: str) -> None:
    for level, code in itertools.product(LEVELS.values(), DTYPES):
        model = _one(_line(name, rest, code))
        expected = code in _taken(spec, level)
        found = nnapi.refusals(model.operators[0], model, level)
        assert (found == ()) is expected, (level, code, found)


def _versions() -> list[tuple[str, str, str, int]]:
    return [
        (name, rest, spec, most)
        for names, rest, spec, most in OPERATORS
        for name in names.split()
        if most is not None
    ]


@pytest.mark.parametrize(("name", "rest", "spec", "most"), _versions())
def test_versions(name: str, rest: str, spec: str, most: int) -> None:
    for level in LEVELS.values():
        for code in _taken(spec, level)[:1]:
            model = _one(_line(name, rest, code, most))
            assert nnapi.refusals(model.operators[0], model, level) == ()
            model = _one(_line(name, rest, code, most + 1))
            (found,) = nnapi.refusals(model.operators[0], model, level)
            assert f"its version is {most + 1}" in found.reason


@pytest.mark.parametrize(("levels", "taken", "refused"), PAIRS)
def test_pairs(levels: tuple[int, ...], taken: str, refused: str) -> None:
    for level in levels:
        good, bad = _one(taken), _one(refused)
        assert nnapi.refusals(good.operators[0], good, LEVELS[level]) == ()
        assert len(nnapi.refusals(bad.operators[0], bad, LEVELS[level])) == 1


def test_all_rows_tried() -> None:
    """Every row refuses a model that no other row refuses, and lets one pass."""
    models = [
        (level, _one(_line(name, rest, code)))
        for name, rest, spec in _each_dtype()
        for level, code in itertools.product(LEVELS.values(), DTYPES)
    ]
    models += [
        (level, _one(_line(name, rest, (_taken(spec, level) or "f")[0], most + 1)))
        for name, rest, spec, most in _versions()
        for level in LEVELS.values()
    ]
    models += [
        (LEVELS[level], _one(text))
        for levels, *texts in PAIRS
        for level in levels
        for text in texts
    ]
    alone: set[int] = set()
    passed: set[int] = set()
    later: set[int] = set()  # a row that nothing passes is one until a level
    for level, model in models:
        found = _refused(model, level)
        if len(found) == 1:
            alone.add(found[0])
        if not found:
            name = model.operators[0].name
            rows_of = [(index, rule) for index, rule in enumerate(RULES) if name in rule.operators]
            passed |= {index for index, rule in rows_of if rule.since <= level < rule.until}
            later |= {index for index, rule in rows_of if level == rule.until}
    rows = set(range(len(RULES)))
    assert [RULES[index] for index in sorted(rows - alone)] == []
    assert [RULES[index] for index in sorted(rows - passed - later)] == []


_CONV = "{} float32[4,1,1,4]=1 float32[4]=0 -> {}:float32[1,8,8,4] Conv2DOptions{{}}"


def _gelu_net() -> Graph:
    return graph(
        "CONV_2D " + _CONV.format("in:float32[1,8,8,4]", "a"),
        "GELU a -> b:float32[1,8,8,4] GeluOptions{}",
        "CONV_2D " + _CONV.format("b", "c"),
        "RELU c -> d:float32[1,8,8,4]",
    )


def test_gelu_makes_three_partitions() -> None:
    """NNAPI has no GELU: what is before it and what is behind it are pieces of their own."""
    found = nnapi.placement(_gelu_net(), 30)
    assert [(part.where, [op.name for op in part.operators]) for part in found.partitions] == [
        ("NNAPI", ["CONV_2D"]),
        ("CPU", ["GELU"]),
        ("NNAPI", ["CONV_2D", "RELU"]),
    ]
    assert found.reasons == {1: "GELU is not on its list"}
    moved = [(item.operand.name, item.source, item.target, item.bytes) for item in found.transfers]
    assert moved == [
        ("in", "CPU", "NNAPI", 1024),
        ("a", "NNAPI", "CPU", 1024),
        ("b", "CPU", "NNAPI", 1024),
        ("d", "NNAPI", "CPU", 1024),
    ]
    assert found.transferred_bytes == 4096


def test_gelu_of_an_onnx_model() -> None:
    window = "group=1, kernel_shape=[1,1], strides=[1,1], dilations=[1,1], pads=[0,0,0,0]"
    model = support.from_text(
        f"m (float[1,4,8,8] x, float[4,4,1,1] w) => (float[1,4,8,8] y) {{"
        f"a = Conv<{window}>(x, w) b = Gelu(a) y = Conv<{window}>(b, w) }}",
        w=np.ones((4, 4, 1, 1), np.float32),
    )
    lowered = (Pipeline((ExpandFunctions(),)) + canonical("nhwc")).run(model)
    found = nnapi.placement(read(to_tflite(lowered)), 30)
    assert [part.where for part in found.partitions] == ["NNAPI", "CPU", "NNAPI"]
    assert list(found.reasons.values()) == ["GELU is not on its list"]


def test_three_largest_partitions() -> None:
    lines, before = [], "float32[1,4]"
    for index, count in enumerate((2, 1, 3, 2)):
        for step in range(count):
            lines.append(f"RELU {before} -> r{index}_{step}:float32[1,4]")
            before = f"r{index}_{step}"
        lines.append(f"GELU {before} -> g{index}:float32[1,4] GeluOptions{{}}")
        before = f"g{index}"
    found = nnapi.placement(graph(*lines), 30)
    assert [len(part.operators) for part in found.delegated] == [2, 3, 2]
    assert [part.where for part in found.partitions] == ["NNAPI", "CPU"] * 3
    assert [len(part.operators) for part in found.partitions if part.where == "CPU"] == [3, 1, 1]
    assert found.reasons[3] == (
        "only the 3 largest of 4 partitions are taken; its own has 1 operator"
    )
    assert len(nnapi.placement(graph(*lines), 30, most=0).delegated) == 4


def test_levels() -> None:
    assert [nnapi.feature_level(api) for api in (26, 27, 28, 29, 30, 31, 32, 35)] == [
        0, 1, 2, 3, 4, 5, 5, 5,
    ]  # fmt: skip
    model = graph("BATCH_MATMUL float32[2,3] float32[3,4] -> float32[2,4]")
    assert nnapi.placement(model, 33).reasons == {
        0: "there is no BATCH_MATMUL (before NNAPI feature level 6)"
    }
    assert nnapi.placement(model, 33, feature=6).reasons == {}
    assert nnapi.placement(graph("RELU float32[1] -> float32[1]"), 26).reasons == {
        0: "there is no NNAPI before API 27"
    }
    with pytest.raises(ProfileError, match="give one of 1 to 8"):
        nnapi.placement(model, 33, feature=31)


def test_notes() -> None:
    model = graph("RELU float32[1] -> float32[1]")
    assert any("deprecated from Android 15" in note for note in nnapi.placement(model, 35).notes)
    assert not any("deprecated" in note for note in nnapi.placement(model, 34).notes)
    assert any("int8 into uint8" in note for note in nnapi.placement(model, 29).notes)
    assert not any("int8 into uint8" in note for note in nnapi.placement(model, 30).notes)


def test_reasons_say_until_when() -> None:
    model = graph("TANH int8[4] -> int8[4]")
    (found,) = nnapi.refusals(model.operators[0], model, 1)
    assert found.reason == "input 0 is int8, taken: float32 (before API 29)"
    assert found.rule is not None
    assert found.rule.source == "Validate, kTfLiteBuiltinTanh"
