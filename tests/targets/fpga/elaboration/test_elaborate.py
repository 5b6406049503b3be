"""What stands between the engines: copies, adapters and FIFOs, each where it is needed."""

import fpga_networks
import pytest

from tapeout.errors import ModelError
from tapeout.targets.fpga.elaboration.elaborate import connect, elaborate, fifo_of
from tapeout.targets.fpga.hardware.design import Design, Folding, Stage
from tapeout.targets.fpga.hardware.memories import MEMORIES, Memory
from tapeout.targets.fpga.network.graph import Network

ECP5 = MEMORIES["ecp5"]


def ones(network: Network) -> dict[str, Folding]:
    return {layer.name: Folding() for layer in network.layers}


def between(design: Design) -> list[tuple[str, ...]]:
    """Return the stages that are no engines: module, and the lanes that it makes of which."""
    return [
        (stage.name, stage.module, *(str(stage.parameters[name]) for name in ("IN", "OUT")))
        if stage.module == "adapt"
        else (stage.name, stage.module)
        for stage in design.stages
        if stage.module in ("adapt", "fifo", "tee")
    ]


def fifos(design: Design) -> list[Stage]:
    return [stage for stage in design.stages if stage.module == "fifo"]


@pytest.mark.parametrize("pe", [1, 4])
def test_streams_carry_whole_tensors_from_one_stage_to_one_other(pe: int) -> None:
    network = fpga_networks.everything()
    foldings = ones(network) | {
        layer.name: Folding(pe) for layer in network.layers if layer.output.channels % 8 == 0
    }
    design = elaborate(network, foldings, ECP5)
    written, known = {design.input}, {design.input}
    read: list[str] = []
    for stage in design.stages:
        assert set(stage.inputs) <= known, stage.name
        read += stage.inputs
        known |= set(stage.outputs)
        assert written.isdisjoint(stage.outputs)
        written |= set(stage.outputs)
    assert sorted(read) == sorted(set(design.streams) - {design.output})
    assert written == set(design.streams)
    sizes = {tensor.size for tensor in network.tensors()}
    assert {stream.lanes * stream.beats for stream in design.streams.values()} <= sizes


def test_streams_of_equal_lanes_need_nothing_between_them() -> None:
    builder = fpga_networks.Builder(4, 4, 4)
    builder.conv(builder.depthwise(builder.conv("input", 8), 3), 4)
    foldings = {"conv0": Folding(2), "conv1": Folding(2), "conv2": Folding(1, 2)}
    design = elaborate(builder.network, foldings, ECP5)
    assert [stage.name for stage in design.stages] == ["layer0", "layer1", "layer2"]
    assert list(design.streams) == ["s", "layer0_out", "layer1_out", "m"]


def test_lanes_that_do_not_divide_each_other_meet_in_a_beat_of_both() -> None:
    builder = fpga_networks.Builder(4, 4, 1)
    builder.conv(builder.conv("input", 12), 1)
    foldings = {"conv0": Folding(4), "conv1": Folding(1, 6)}
    design = elaborate(builder.network, foldings, ECP5)
    assert between(design) == [
        ("layer1_in0_by12", "adapt", "4", "12"),
        ("layer1_in0_by6", "adapt", "12", "6"),
    ]


def test_a_tensor_of_three_readers_is_copied_twice() -> None:
    builder = fpga_networks.Builder(4, 4, 4)
    builder.add(builder.add("input", builder.conv("input", 4)), builder.conv("input", 4))
    design = connect(builder.network, ones(builder.network), ECP5, {})
    assert between(design) == [("s_tee", "tee"), ("s_tee1_tee", "tee")]


def test_only_the_input_that_comes_early_waits() -> None:
    network = fpga_networks.skip()
    [fifo] = fifos(elaborate(network, ones(network), ECP5))
    assert fifo.name == fifo_of("layer2_in0")
    assert fifo.layer == "add2"
    # Two rows and two pixels of 4 channels, of 6 pixels each, are on their way around twice.
    assert 2 * 26 < int(fifo.parameters["DEPTH"]) < 4 * 26 * 4


@pytest.mark.parametrize(
    ("depth", "lanes", "beats"), [(16_384, 1, 16_384), (16_385, 4, 4_098), (40_000, 4, 10_001)]
)
def test_a_fifo_deeper_than_a_block_stands_where_beats_are_wide(
    depth: int, lanes: int, beats: int
) -> None:
    network = fpga_networks.skip()
    foldings = ones(network) | {"conv1": Folding(4)}
    [fifo] = fifos(connect(network, foldings, ECP5, {"layer2_in1": depth}))
    assert fifo.parameters["WIDTH"] == 8 * lanes
    assert fifo.parameters["DEPTH"] == beats
    assert fifo.parameters["STYLE"] == "block"


def test_a_fifo_deeper_than_any_memory_is_refused() -> None:
    network = fpga_networks.skip()
    memory: Memory = MEMORIES["ice40"]
    with pytest.raises(ModelError, match="add2: 2049 beats of 1 numbers .* holds 2048"):
        connect(network, ones(network), memory, {"layer2_in0": 2049})
