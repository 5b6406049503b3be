"""The whole system simulated, pins included: what it answers, and the program that bundles carry.

The core is a table over an image; every test uses the same compiled simulator.
"""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fpga_networks
import numpy as np
import pytest

from tapeout.errors import MissingToolError, TapeoutError, VerificationError
from tapeout.profiles import catalog
from tapeout.profiles.fpga_schema import Fpga
from tapeout.targets.fpga import execute, glue, hosted
from tapeout.targets.fpga.elaboration import system, verilog
from tapeout.targets.fpga.folding.device import device
from tapeout.targets.fpga.folding.fold import designed
from tapeout.targets.fpga.hardware.design import Design as Core
from tapeout.targets.fpga.hardware.design import Folding, Stream
from tapeout.targets.fpga.hardware.memories import MEMORIES, Shape
from tapeout.targets.fpga.implementation.implement import synthesize
from tapeout.targets.fpga.network import reference
from tapeout.targets.fpga.network.importing import Imported
from tapeout.targets.fpga.run import engine, simulator
from tapeout.targets.fpga.run.link import END, Design, Link, LinkError, framed, unframed
from tapeout.targets.fpga.run.simulator import Pins, SimulatedPort
from tapeout.targets.fpga.timing import trace as timing
from tapeout.targets.process import execute as in_process

PROFILE = catalog.load("ulx3s-85f")

#: Memories of frames in two rows and four columns: 24 beats of 16 bits.
SLICE = Shape(5, 16)


@dataclasses.dataclass(frozen=True)
class Sample:
    """A bundle without a bitstream."""

    path: Path
    model: Imported
    core: Core
    facts: engine.Facts

    @property
    def about(self) -> Design:
        return self.facts.design

    def port(self, pins: Pins = "uart", cycles: int = 1000) -> SimulatedPort:
        return SimulatedPort(self.path / engine.SOURCES, self.facts.parameters, cycles, pins)

    def frames(self, count: int) -> np.ndarray:
        """Return random frames with every byte that packets escape, int8."""
        shape = (count, *self.model.network.input.shape)
        found = np.random.default_rng(count).integers(-128, 128, shape, dtype=np.int8)
        found[:, 0, 0] = np.array([0xC0, 0xDB, 0xDC, 0xDD], np.uint8).view(np.int8)
        return found

    def expected(self, frames: np.ndarray) -> list[bytes]:
        numbers = reference.run(self.model.network, frames)
        return [number.astype(np.int8).tobytes() for number in numbers]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """A bundle, with a folder for compiled simulators that `execute` finds, too."""
    path = tmp_path_factory.mktemp("system") / "sample.bundle"
    builder = fpga_networks.Builder(3, 4, 4)
    layer = builder.table("input")
    (table,) = builder.network.layers
    _, core = designed(builder.network, {table.name: Folding(2, 1)}, device(_fpga()))
    before = ({"op": "quantize", "scale": 0.5, "zero": 3},)
    after = ({"op": "dequantize", "scale": 0.25, "zero": 1},)
    model = Imported("x", "y", before, builder.network, after)
    assert layer == builder.network.output.name
    (path / engine.SOURCES).mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(system, "frame", lambda stream, memory: SLICE)
        facts = glue.facts(model, core, _fpga())
        glue.write_glue(path, model, core, _fpga())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(path.parent))
        patch.setenv(simulator.CACHE, str(path.parent / "tapeout" / "simulators"))
        for name, text in {**verilog.sources(core), **verilog.modules(["system"])}.items():
            (path / engine.SOURCES / name).write_text(text, encoding="ascii")
        image = model.network.input.shape
        manifest = {
            "engine": engine.FACTS,
            "inputs": [{"name": "x", "shape": [1, *image], "dtype": "float32"}],
            "outputs": [{"name": "y", "shape": [1, *image], "dtype": "float32"}],
        }
        (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        yield Sample(path, model, core, facts)


def _fpga() -> Fpga:
    assert PROFILE.fpga is not None
    return PROFILE.fpga


@pytest.mark.parametrize("pins", ["uart", "spi"])
def test_frames_come_back_to_the_bit_and_the_cycle(sample: Sample, pins: Pins) -> None:
    link = Link(sample.port(pins), sample.about)
    times = timing.trace(sample.core)
    frames = sample.frames(4)
    for frame, expected in zip(frames, sample.expected(frames), strict=True):
        for count in (1, 3):
            found = link.run(frame.tobytes(), count)
            assert found.data == expected
            assert found.cycles == times.latency() + (count - 1) * times.interval()


def ask(port: SimulatedPort, sent: bytes) -> bytes:
    """Send bytes as they are; return the payload of the next answer."""
    port.write(sent)
    came = b""
    while not came.strip(END) or not came.endswith(END):
        came += port.read(0)
    (packet,) = filter(None, came.split(END))
    payload = unframed(packet)
    assert payload is not None
    return payload


def test_what_is_wrong_with_a_request_is_said(sample: Sample) -> None:
    port, frame = sample.port(), bytes(48)
    right = framed(struct.pack("<BBH", 2, 9, 1) + frame)
    wrong = {
        bytes([right[0], right[1] ^ 4]) + right[2:]: 1,  # a flipped bit
        right[:-3] + right[-1:]: 1,  # cut short
        framed(struct.pack("<BBH", 2, 9, 1) + frame[1:]): 2,
        framed(struct.pack("<BBH", 2, 9, 1) + frame + b"\x00"): 2,
        framed(struct.pack("<BBH", 2, 9, 1) + frame * 40): 2,
        framed(struct.pack("<BBH", 1, 9, 1) + frame): 2,
        framed(b"\x01"): 2,
        framed(struct.pack("<BBH", 3, 9, 1)): 3,
        framed(struct.pack("<BBH", 2, 9, 0) + frame): 3,
        framed(b"\x02\x09\x01\x00") + END * 3: 2,
    }
    for request, status in wrong.items():
        found = ask(port, request)
        assert (found[0], len(found)) == (status, 23), request.hex()
        assert found[7:] == sample.about.name.encode()
        assert ask(port, right)[:2] == b"\x00\x09"


def test_after_noise_the_next_packet_is_whole_again(sample: Sample) -> None:
    port, frames = sample.port(), sample.frames(1)
    right = framed(struct.pack("<BBH", 2, 5, 1) + frames.tobytes())
    # What precedes the first END looks like a packet, and is answered; so is half a packet.
    assert ask(port, b"\x00\x17\xdb\x01" + END)[0] == 1
    assert ask(port, right[:20] + END)[0] == 1
    assert ask(port, right)[23:] == sample.expected(frames)[0]


def test_a_request_that_comes_too_early_is_ignored(sample: Sample) -> None:
    port, frames = sample.port(), sample.frames(2)
    requests = [
        framed(struct.pack("<BBH", 2, tag, 1) + frame.tobytes()) for tag, frame in enumerate(frames)
    ]
    found = ask(port, b"".join(requests))
    assert (found[1], found[23:]) == (0, sample.expected(frames)[0])
    found = ask(port, requests[1])
    assert (found[1], found[23:]) == (1, sample.expected(frames)[1])


def test_a_design_that_says_nothing_is_given_up(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator, "PATIENCE", 500)
    link = Link(sample.port(cycles=0), sample.about)
    with pytest.raises(LinkError, match="gave up") as raised:
        link.run(bytes(48), 1000)
    assert raised.value.problems == ["the design is busy, and sends nothing"]


def test_a_bundle_runs_here(sample: Sample) -> None:
    feeds = {"x": np.random.default_rng(3).normal(0, 20, (3, 3, 4, 4)).astype(np.float32)}
    found = execute.execute(sample.path, PROFILE, feeds, repeat=2)
    np.testing.assert_array_equal(found.outputs["y"], hosted.outputs(sample.model, feeds)["y"])
    times = timing.trace(sample.core)
    assert found.latencies == pytest.approx([times.latency() / 100e6] * 2)
    assert found.where == "simulator"
    assert found.card is not None
    assert found.card.steps["interval"] == pytest.approx([times.interval() / 100e6] * 2)
    assert found.card.memory == {"block RAM": 2 * 8 * 2304}


def test_the_program_speaks_over_a_serial_port(sample: Sample) -> None:
    board, name = os.openpty()
    port = sample.port()
    flips = iter([30])  # the byte of all that the program sends that is damaged

    def to_board() -> None:
        moved, at = 0, next(flips)
        while data := os.read(board, 4096):
            if moved <= at < moved + len(data):
                data = data[: at - moved] + b"\x01" + data[at - moved + 1 :]
            moved += len(data)
            port.write(data)

    def from_board() -> None:
        while True:
            os.write(board, port.read(0))

    for work in (to_board, from_board):
        threading.Thread(target=work, daemon=True).start()
    feeds = {"x": np.random.default_rng(5).normal(0, 20, (2, 3, 4, 4)).astype(np.float32)}
    found = in_process(
        sample.path,
        sample.path / "run" / "engine.py",
        feeds,
        where="device",
        python=[sys.executable],
        environment={engine.VARIABLE: os.ttyname(name)},
    )
    np.testing.assert_array_equal(found.outputs["y"], hosted.outputs(sample.model, feeds)["y"])


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ('initial $system("true");', "$system"),
        ("`systemc_header", "`systemc_header"),
        ('`include "/etc/passwd"', "`include"),
        ('import "DPI-C" function void f();', "import"),
        ("/*\n// */ initial $c(1);", "/*"),
    ],
)
def test_verilog_that_would_run_something_else_is_refused(
    sample: Sample, tmp_path: Path, text: str, quoted: str
) -> None:
    for name in ("core.v", "system.v"):
        source = (sample.path / engine.SOURCES / name).read_text(encoding="ascii")
        (tmp_path / name).write_text(f"{source}\n{text}\n", encoding="ascii")
    with pytest.raises(LinkError, match="not what tapeout writes") as raised:
        SimulatedPort(tmp_path, sample.facts.parameters, 1000)
    assert raised.value.code == 6
    assert any(f"core.v: {quoted!r}" == problem for problem in raised.value.problems)


def test_what_belongs_to_another_design_is_refused(sample: Sample, tmp_path: Path) -> None:
    feeds = {"x": np.zeros((1, 3, 4, 4), np.float32)}
    for name in ("manifest.json", engine.FACTS):
        text = (sample.path / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace(sample.about.name, "f" * 16), encoding="utf-8")
    (tmp_path / engine.SOURCES).symlink_to(sample.path / engine.SOURCES)
    told = json.loads((tmp_path / engine.FACTS).read_text(encoding="utf-8"))
    told["parameters"]["ID"] = sample.about.name
    (tmp_path / engine.FACTS).write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(VerificationError, match="something else"):
        execute.execute(tmp_path, PROFILE, feeds)
    (tmp_path / engine.FACTS).write_text("{}", encoding="utf-8")
    with pytest.raises(TapeoutError, match="not what tapeout writes"):
        execute.execute(tmp_path, PROFILE, feeds)


def test_without_a_simulator_the_command_is_told(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = execute.cannot_run(PROFILE)
    assert found is not None
    assert found.fix == "apt-get install verilator g++"
    with pytest.raises(MissingToolError, match="not installed"):
        execute.execute(sample.path, PROFILE, {})


def test_memories_of_frames_are_cut_into_the_fewest_blocks() -> None:
    memory = MEMORIES["ecp5"]
    (builder := fpga_networks.Builder(96, 96, 3)).table("input")
    (layer,) = builder.network.layers
    _, core = designed(builder.network, {layer.name: Folding(3, 1)}, device(_fpga()))
    assert system.parameters(core, memory)["IN_BEATS"] == 9216
    assert system.frame(core.streams["s"], memory) == Shape(9, 2048)
    assert system.cost(core, memory).blocks == 30


@pytest.mark.bitstream
@pytest.mark.parametrize(
    ("lanes_in", "beats_in", "lanes_out", "beats_out"),
    [(3, 1024, 2, 5), (20, 32, 8, 80), (3, 9216, 1, 2)],
)
def test_what_a_system_takes_is_what_synthesis_makes_of_it(
    lanes_in: int, beats_in: int, lanes_out: int, beats_out: int
) -> None:
    memory = MEMORIES["ecp5"]
    streams = {"s": Stream("s", lanes_in, beats_in), "m": Stream("m", lanes_out, beats_out)}
    core = Core((), streams, "s", "m")
    ports = "input clk, rst, s_valid, m_ready, output s_ready, m_valid"
    widths = f"input [{lanes_in * 8 - 1}:0] s_data, output [{lanes_out * 8 - 1}:0] m_data"
    hidden = f"(* blackbox *) module core({ports}, {widths}); endmodule\n"
    sources = {**verilog.modules(["system"]), "core.v": hidden}
    given = {"SPI": 1, **system.parameters(core, memory)}
    shown = ", ".join(f".{name}({json.dumps(value)})" for name, value in given.items())
    pins = "input clk, rst, rxd, sck, cs_n, mosi, output txd, miso, busy"
    names = pins.replace("input", "").replace("output", "").replace(" ", "").split(",")
    wires = ", ".join(f".{name}({name})" for name in names)
    sources["top.v"] = f"module top({pins}); system #({shown}) s({wires}); endmodule\n"
    found = synthesize("ecp5", sources, "top", lambda _: None)
    expected = system.cost(core, memory)
    assert found.blocks == expected.blocks
    assert found.luts == pytest.approx(expected.luts, rel=0.15)
    assert found.flip_flops == pytest.approx(expected.flip_flops, rel=0.1)
