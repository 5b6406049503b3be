"""How the layers of an engine are told."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from tapeout import render_layers


def _row(**changes: Any) -> dict[str, Any]:
    return {
        "name": "conv_0_U1_myl0_0",
        "type": "correlation",
        "family": "convolution",
        "kernel": "",
        "stream": 0,
        "dtype": "int8",
        "asked": "int8",
        "inputs": [],
        "outputs": [{"name": "y", "shape": [1, -1, 8], "dtype": "float32", "format": ""}],
        "constants": 0,
        "nodes": ["conv_0", "x/dequantized"],
        "operators": ["Conv", "DequantizeLinear"],
        "made": [],
        "origins": ["conv_0"],
        "macs": 300,
        "ops": 0,
        "bytes": 2048,
        "bytes_exact": True,
        "seconds": 1e-6,
        "share": 0.25,
        "limit": "memory",
    } | changes


GENERATED = _row(
    name="__myl_MulAddMaxMinMulMinMaxRounCastCastMulAddMaxMin_myl0_1",
    family="generated",
    dtype="float32",
    asked="float32",
    nodes=["a" * 60 + "/end"],
    operators=["MatMul"],
    macs=100,
    seconds=3e-6,
    share=0.75,
)
WAIT = _row(
    name="w", family="wait", nodes=[], operators=[], macs=0, seconds=0.0, limit="none", stream=1
)


def _entry(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    macs: dict[str, int] = {}
    for row in rows:
        if row["macs"]:
            macs[row["dtype"]] = macs.get(row["dtype"], 0) + row["macs"]
    seconds = sum(row["seconds"] for row in rows)
    profile = {
        "rows": list(rows),
        "macs": macs,
        "seconds": seconds,
        "apart": [],
        "apart_macs": 0,
        "shapes": "",
    } | changes
    return {"capability": "8.9", "profiles": [profile]}


def _shown(capsys: pytest.CaptureFixture[str], entry: dict[str, Any]) -> list[str]:
    render_layers.show(Console(width=200, markup=False, highlight=False), entry)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_the_slowest_first_with_what_they_were_made_of(capsys: pytest.CaptureFixture[str]) -> None:
    entry = _entry(_row(), WAIT, GENERATED, apart=["flatten_2/quantized"])
    head, first, second, *rest = _shown(capsys, entry)
    assert head.split() == [
        "LAYER", "COMPUTES", "IN", "OUTPUT", "MACS", "BYTES", "TIME", "(estimated)", "SHARE",
        "LIMIT", "NODE",
    ]  # fmt: skip
    assert first.startswith("generated: MulAddMaxMinMulMinMaxRounC...  float32")
    assert first.endswith(f"75.0%  memory  ...{'a' * 41}/end")
    assert "1x?x8 float32" in second
    assert second.endswith("conv_0")  # not what stands between it and the node before
    assert rest == [
        "2 layers for compute capability 8.9, of 3 nodes, on 2 streams: "
        "4 us by the roofline over the layers (estimated)",
        "in no layer: flatten_2/quantized",
        "MACs: 75.0% in int8, 25.0% in float32",
    ]


def test_what_is_not_computed_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    kept = _row(dtype="float32", nodes=["deconv_1"], operators=["ConvTranspose"], macs=100)
    entry = _entry(_row(), kept)
    shown = _shown(capsys, entry)
    assert "float32, not int8" in shown[2]
    assert shown[-1] == "not in the type asked for, 25.0% of the MACs: deconv_1 in float32"
    render_layers.show_products(Console(width=200), entry)
    assert capsys.readouterr().out.splitlines() == shown[-2:]


def test_products_that_no_layer_names(capsys: pytest.CaptureFixture[str]) -> None:
    shown = _shown(capsys, _entry(_row(), apart=["lost"], apart_macs=100))
    assert "in no layer: lost" in shown
    assert shown[-1] == "MACs: 75.0% in int8, 25.0% in no layer, and in no time"


def test_many_layers_and_many_nodes_are_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"n{number}" for number in range(9)]
    rows = [_row(nodes=names, operators=["Add"] * 9, share=1 / 30) for _ in range(30)]
    shown = _shown(capsys, _entry(*rows))
    assert shown[1].endswith("n0, n1, n2, n3, n4, n5 and 3 others")
    assert shown[21].split()[:2] == ["10", "others"]
    assert "3,000" in shown[21]
    assert shown[21].endswith("33.3%          --json shows them all")


def test_each_optimization_profile(capsys: pytest.CaptureFixture[str]) -> None:
    vary = _row(bytes_exact=False)
    several = ["x=1x8..4x8@2x8", "x=4x8..16x8@8x8"]
    entries = [_entry(vary, shapes=shapes) for shapes in several]
    profiles = [profile for entry in entries for profile in entry["profiles"]]
    shown = _shown(capsys, {**entries[0], "profiles": profiles})
    assert [line for line in shown if line.startswith("profile")] == [
        "profile 1 of 2: x=1x8..4x8@2x8",
        "profile 2 of 2: x=4x8..16x8@8x8",
    ]
    assert "  ~2,048 B  " in shown[2]
    assert "~ by the network's tensors, as the layer's own vary in size" in shown


def test_layers_that_could_not_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    entry = {"capability": "8.9", "profiles": [], "unreadable": "it goes on as 'x'"}
    assert _shown(capsys, entry) == ["layers: it goes on as 'x'"]
    render_layers.show_products(Console(width=200), entry)
    render_layers.show_products(Console(width=200), None)
    assert capsys.readouterr().out == "layers: it goes on as 'x'\n"
