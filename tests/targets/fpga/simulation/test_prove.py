"""The gate: what holds is evidence, and whatever does not is told with place and numbers."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tapeout.errors import VerificationError
from tapeout.targets.fpga.elaboration import verilog
from tapeout.targets.fpga.elaboration.elaborate import connect
from tapeout.targets.fpga.hardware.design import Design, Folding
from tapeout.targets.fpga.hardware.memories import MEMORIES
from tapeout.targets.fpga.network import reference
from tapeout.targets.fpga.network.graph import ArgMax, Concat, Network, Table, Tensor
from tapeout.targets.fpga.simulation import prove as simulate
from tapeout.targets.fpga.simulation.verilator import Simulator
from tapeout.targets.fpga.timing import trace as timing
from tapeout.targets.fpga.timing.trace import Trace

IMAGE = Tensor("image", 3, 2, 8)
FRAMES = np.random.default_rng(0).integers(-128, 128, (7, *IMAGE.shape)).astype(np.int8)


def network(values: np.ndarray) -> Network:
    """Return an image and a function of it, one beside the other, and the largest of each pixel."""
    curve = Table("curve", ("image",), Tensor("curve", 3, 2, 8), values)
    both = Concat("both", ("image", "curve"), Tensor("both", 3, 2, 16))
    index = ArgMax("index", ("both",), Tensor("index", 3, 2, 1, bits=16))
    return Network(IMAGE, (curve, both, index))


NETWORK = network(np.random.default_rng(1).integers(-128, 128, 256).astype(np.int8))


def design(depth: int) -> Design:
    """Return the design with a FIFO of so many beats before the second half of each pixel."""
    foldings = {"curve": Folding(2), "both": Folding(2), "index": Folding(1)}
    return connect(NETWORK, foldings, MEMORIES["ecp5"], {"layer1_in1": depth})


#: Simulators compiled by the tests of this process, by the digest of the design.
COMPILED: dict[str, Simulator] = {}


@pytest.fixture(autouse=True)
def compile_once(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile each design once in all tests."""
    build = simulate.build

    def known(design: Design, folder: Path) -> Simulator:
        name = simulate.digest(verilog.sources(design))
        if name not in COMPILED:
            COMPILED[name] = build(design, tmp_path_factory.mktemp("core"))
        return COMPILED[name]

    monkeypatch.setattr(simulate, "build", known)


def problems_of(design: Design, network: Network) -> list[str]:
    with pytest.raises(VerificationError, match="the hardware does not do") as caught:
        simulate.prove(design, network, FRAMES)
    assert caught.value.exit_code == 6
    return [str(problem) for problem in caught.value.problems]


def test_what_holds_is_evidence() -> None:
    told: list[str] = []
    found = simulate.prove(design(8), NETWORK, FRAMES, told.append)
    assert told == [
        "compiling the simulator",
        "simulating 7 samples with random stalls, 3 without",
    ]
    assert (found.samples, found.seeds, found.timed) == (7, (1, 2), 3)
    # `index` takes one of 16 channels a cycle, of 6 pixels.
    assert found.interval == 96
    assert found.latency == timing.trace(design(8)).latency() > 96
    assert found.simulator.startswith("Verilator ")
    assert found.sources == simulate.digest(verilog.sources(design(8)))
    assert found.sources != simulate.digest(verilog.sources(design(9)))
    assert simulate.prove(design(8), NETWORK, FRAMES[:1]) == dataclasses.replace(
        found, samples=1, seeds=(1,)
    )


def test_other_numbers() -> None:
    other = network(np.zeros(256, np.int8))
    frames = reference.run(other, FRAMES).ravel(), reference.run(NETWORK, FRAMES).ravel()
    wrong = np.flatnonzero(frames[0][:18] != frames[1][:18])
    quiet = problems_of(design(8), other)[-1]
    assert quiet == (
        f"no stalls: {len(wrong)} of 18 beats differ from the integer reference, the first is beat "
        f"{wrong[0] % 6} of sample {wrong[0] // 6}: [{frames[1][wrong[0]]}] instead of "
        f"[{frames[0][wrong[0]]}]"
    )


def test_other_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(design: Design, frames: int = 3) -> Trace:
        found = trace(design, frames)
        moves = [move + (beat > 4) for beat, move in enumerate(found.moves[design.output])]
        return dataclasses.replace(found, moves={**found.moves, design.output: moves})

    trace = timing.trace
    monkeypatch.setattr(timing, "trace", late)
    (problem,) = problems_of(design(8), NETWORK)
    right = late(design(8)).moves["m"][5] - 1
    assert problem == (
        "no stalls: 13 of 18 beats came in other cycles than were computed, the first is beat 5: "
        f"cycle {right} after the first beat in, not {right + 1}"
    )


def test_standing_still(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VerificationError, match="stands still for ever"):
        simulate.prove(design(0), NETWORK, FRAMES)
    right = timing.trace(design(8))
    monkeypatch.setattr(timing, "trace", lambda *_: right)
    found = problems_of(design(0), NETWORK)
    assert found == [
        "stalls of seed 1: stands still after 0 of 24 beats of the output",
        "stalls of seed 2: stands still after 0 of 18 beats of the output",
        "no stalls: stands still after 0 of 18 beats of the output",
    ]
