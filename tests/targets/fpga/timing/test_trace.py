"""The model of time, held to the simulator: every beat, in its cycle, and where all stalls."""

from __future__ import annotations

import dataclasses
import math

import fpga_networks
import numpy as np
import pytest

from tapeout.errors import ModelError
from tapeout.targets.fpga.elaboration import verilog
from tapeout.targets.fpga.elaboration.elaborate import elaborate, fifo_of
from tapeout.targets.fpga.engines import engine
from tapeout.targets.fpga.hardware.design import Design, Folding
from tapeout.targets.fpga.hardware.memories import MEMORIES
from tapeout.targets.fpga.network import reference
from tapeout.targets.fpga.network.graph import Network
from tapeout.targets.fpga.simulation import verilator
from tapeout.targets.fpga.simulation.verilator import Port, Run
from tapeout.targets.fpga.timing import skips
from tapeout.targets.fpga.timing.trace import trace

FRAMES = 3


@dataclasses.dataclass(frozen=True)
class Core:
    """A design that is simulated beside others, under a name of its own."""

    network: Network
    design: Design

    @property
    def frames(self) -> np.ndarray:
        """Numbers that come in: int8 [frames, height, width, channels]."""
        shape = (FRAMES, *self.network.input.shape)
        return np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)


def folded(network: Network, interval: int) -> dict[str, Folding]:
    """Return for each layer a folding of this period, if there is one, else the fastest."""
    found = {}
    for layer in network.layers:
        kind = engine(layer, network)
        periods = {
            item: kind.period(layer, item, network) for item in kind.foldings(layer, network)
        }
        within = [item for item in periods if periods[item] <= interval]
        least = min(within, key=lambda item: item.pe * item.simd, default=None)
        found[layer.name] = least or min(periods, key=periods.__getitem__)
    return found


def made(network: Network, interval: int) -> Core:
    return Core(network, elaborate(network, folded(network, interval), MEMORIES["ecp5"]))


def with_depth(core: Core, fifo: str, depth: int) -> Core:
    return dataclasses.replace(core, design=skips.resized(core.design, {fifo: depth}))


@pytest.fixture(scope="module")
def cores() -> dict[str, Core]:
    """Every kind of layer; and a skip whose FIFO is at the bound, and one beat below it."""
    skip = made(fpga_networks.skip(), 1_000)
    fifo = fifo_of("layer2_in0")
    bound = skips.bound(skip.design, fifo)
    return {
        "everything": made(fpga_networks.everything(), 600),
        "bound": with_depth(skip, fifo, bound),
        "short": with_depth(skip, fifo, bound - 1),
    }


@pytest.fixture(scope="module")
def run(cores: dict[str, Core], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What all of them do side by side, without stalls."""
    sources, ports, inputs, outputs = {}, [], {}, {}
    for group, (name, core) in enumerate(cores.items()):
        for file, text in verilog.sources(core.design).items():
            # Each core has its own name and memories; what all have in common is the same text.
            own = file == "core.v" or not file.endswith(".v")
            text = text.replace("module core (", f"module {name} (").replace(
                '"layer', f'"{name}_layer'
            )
            sources[f"{name}_{file}" if own else file] = text
        design = core.design
        for stream in (design.streams[design.input], design.streams[design.output]):
            is_input = stream.name == design.input
            port = f"{name}_{stream.name}"
            ports.append(Port(port, stream.lanes, stream.bits, is_input, group, False))
            if is_input:
                inputs[port] = verilator.pack(core.frames.reshape(-1, stream.lanes), stream.bits)
            else:
                outputs[port] = FRAMES * stream.beats
    sources["top.v"] = top(ports)
    folder = tmp_path_factory.mktemp("cores")
    simulator = verilator.build("top", ports, sources, folder, lead=verilog.LEAD)
    return simulator.run(inputs, outputs)


def top(ports: list[Port]) -> str:
    """Return a module of one instance for each pair of ports."""
    lines = ["module top(input wire clk, input wire rst"]
    for port in ports:
        forth, back = ("input", "output") if port.is_input else ("output", "input")
        width = f"[{port.lanes * port.bits - 1}:0]"
        lines.append(
            f", {forth} wire {port.name}_valid, {back} wire {port.name}_ready,"
            f" {forth} wire {width} {port.name}_data"
        )
    lines.append(");")
    for source in ports[::2]:
        name = source.name.removesuffix("_s")
        wires = ", ".join(
            f".{side}_{part}({name}_{side}_{part})"
            for side in "sm"
            for part in ("valid", "ready", "data")
        )
        lines.append(f"{name} {name}_core (.clk(clk), .rst(rst), {wires});")
    return "\n".join([*lines, "endmodule\n"])


@pytest.mark.parametrize("name", ["everything", "bound"])
def test_every_beat_moves_in_the_cycle_that_is_computed(
    name: str, cores: dict[str, Core], run: Run
) -> None:
    computed = trace(cores[name].design, FRAMES)
    for side in "sm":
        assert computed.moves[side] == run.traces[f"{name}_{side}"].cycles.tolist(), side


@pytest.mark.parametrize("name", ["everything", "bound"])
def test_what_comes_out_is_what_the_reference_says(
    name: str, cores: dict[str, Core], run: Run
) -> None:
    core = cores[name]
    sink = core.design.streams[core.design.output]
    given = verilator.unpack(run.traces[f"{name}_m"].beats, sink.lanes, sink.bits)
    wanted = reference.run(core.network, core.frames)
    np.testing.assert_array_equal(given.ravel(), wanted.ravel())


def test_a_skip_one_beat_too_short_stalls_for_ever_and_is_refused(
    cores: dict[str, Core], run: Run
) -> None:
    assert run.stuck == (list(cores).index("short"),)
    design = cores["short"].design
    assert not trace(design, FRAMES).is_complete
    depth = next(item.parameters["DEPTH"] for item in design.stages if item.module == "fifo")
    with pytest.raises(ModelError, match=rf"holds {depth} beats \({depth + 1} or more\)"):
        skips.check(design)


@pytest.mark.parametrize("interval", [50_000, 2_000, 400])
def test_fifos_are_as_deep_as_the_slowest_engine_needs_them(interval: int) -> None:
    for network in (fpga_networks.residual(), fpga_networks.everything()):
        foldings = folded(network, interval)
        design = elaborate(network, foldings, MEMORIES["ecp5"])
        periods = [
            engine(layer, network).period(layer, foldings[layer.name], network)
            for layer in network.layers
        ]
        slowest = max(*periods, *(stream.beats for stream in design.streams.values()))
        found, longer = trace(design), trace(design, 2 * FRAMES)
        assert found.interval() == longer.interval() == slowest
        assert found.latency() == longer.latency()
        loose = trace(skips.unbounded(design), 2)
        assert found.latency() <= math.ceil(1.01 * loose.latency())
