"""The rows that `check` and `explain` show, and what is read of a file for them."""

from __future__ import annotations

from tflite_graphs import file_graph, graph

from tapeout.profiles import catalog
from tapeout.profiles.schema import Delegate
from tapeout.targets.placement import Row
from tapeout.targets.tflite.delegates import nnapi
from tapeout.targets.tflite.delegates.partitions import Placement
from tapeout.targets.tflite.delegates.placement import placed, rows, untaken
from tapeout.targets.tflite.operators import Graph
from tapeout.targets.tflite.plans import DELEGATES

_NET = (
    "CONV_2D@1 x:float32[1,8,8,4] float32[4,1,1,4]=1 float32[4]=0 -> a:float32[1,8,8,4] "
    "Conv2DOptions{strideW=1 strideH=1}",
    "GELU a -> b:float32[1,8,8,4] GeluOptions{}",
    "CEIL b -> c:float32[1,8,8,4]",
)


def _found(model: Graph, phone: str = "fairphone-4") -> dict[Delegate, Placement]:
    profile = catalog.load(phone)
    return {name: placed(model, profile, name) for name in DELEGATES}


def test_rows_of_both() -> None:
    """Each delegate is asked by itself: a model is given to one of them."""
    model = graph(*_NET)
    refused = "is not on its list"
    assert rows(model, _found(model)) == (
        Row("a", "CONV_2D", ("GPU", "NNAPI"), {}),
        Row("b", "GELU", ("GPU", "CPU"), {"NNAPI": f"GELU {refused}"}),
        Row(
            "c",
            "CEIL",
            ("CPU", "CPU"),
            {"GPU": f"CEIL {refused}", "NNAPI": f"CEIL {refused}"},
        ),
    )


def test_the_level_is_the_profiles() -> None:
    """RSQRT is there from API 29 on; a phone may have a later feature level than its API."""
    model = graph("RSQRT float32[1,4] -> float32[1,4]")
    assert list(_found(model, "pixel-3")["nnapi"].reasons) == [0]
    assert not _found(model)["nnapi"].reasons
    updated = catalog.load("pixel-3").to_json()
    updated["android"]["nnapi"] = {"value": 4, "source": "measured", "note": "for a test"}
    profile = catalog.from_json(updated, "test")
    assert not placed(model, profile, "nnapi").reasons


def test_a_delegate_that_takes_nothing_is_no_plan() -> None:
    model = graph("CEIL x:float32[1,4] -> c:float32[1,4]")
    (problem,) = untaken(_found(model)["gpu"])
    assert str(problem) == (
        "GPU: takes no operator of the model, mostly since CEIL is not on its list (use the cores)"
    )
    assert untaken(_found(graph(*_NET))["gpu"]) == []


def test_partition_joins_what_can_run_with_it() -> None:
    """A partition takes in operators of another branch that stand behind one it cannot have."""
    model = graph(
        "RELU x:float32[1,4] -> a:float32[1,4]",
        "CEIL a -> b:float32[1,4]",
        "TANH x -> c:float32[1,4]",
        "ADD b c -> d:float32[1,4] AddOptions{}",
    )
    found = nnapi.placement(model, 30)
    places = [(part.where, [op.name for op in part.operators]) for part in found.partitions]
    assert places == [("NNAPI", ["RELU", "TANH"]), ("CPU", ["CEIL"]), ("NNAPI", ["ADD"])]
    assert [[item.name for item in part.outputs] for part in found.partitions] == [
        ["a", "c"],
        ["b"],
        ["d"],
    ]
    assert [[item.name for item in part.inputs] for part in found.partitions] == [
        ["x"],
        ["a"],
        ["b", "c"],
    ]


def test_a_file_is_read_as_it_was_written() -> None:
    lines = (
        "CONV_2D@3 x:int8[1,8,8,3]*0.5+3 w:int8[2,1,1,3]*0.5,0.25=1,2,3 int32[2]=7 - -> "
        "y:int8[1,8,8,2]*2 Conv2DOptions{strideW=1 strideH=2}",
        "LOGICAL_AND bool[4] bool[4]=1 -> bool[4]",
    )
    for made in (graph(*lines), file_graph(*lines)):
        conv, logical = made.operators
        data, weight, bias, absent = conv.inputs
        assert (conv.name, conv.version, conv.fields["strideH"]) == ("CONV_2D", 3, 2)
        assert data is not None
        assert weight is not None
        assert bias is not None
        assert absent is None
        assert (data.name, data.scale, data.zero_point, data.is_constant) == ("x", 0.5, 3, False)
        assert (weight.scales, weight.scale, weight.shape) == ((0.5, 0.25), 0.0, (2, 1, 1, 3))
        assert weight.array is not None
        assert weight.array.tolist() == [[[[1, 2, 3]]], [[[1, 2, 3]]]]
        assert bias.array is not None
        assert bias.array.tolist() == [7, 7]
        assert data.bytes == 192
        assert bias.bytes == 8
        assert logical.inputs[1] is not None
        assert logical.inputs[1].array is not None
        assert logical.inputs[1].array.tolist() == [True] * 4
        assert [item.name for item in made.inputs][:1] == ["x"]
        assert [item.name for item in made.outputs][:1] == ["y"]
