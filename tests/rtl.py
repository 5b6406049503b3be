"""Testing the modules of ``targets/fpga/rtl``: many instances in one simulation, against numpy.

    cases = [Case("adapt", {"IN": 2, "OUT": 4}, inputs=[values], expected=[wanted]), ...]
    traces = check(cases, tmp_path)

Build as many instances as there are shapes and foldings in *one* call: the compiler takes seconds
for each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tapeout.targets.fpga.elaboration.verilog import RTL
from tapeout.targets.fpga.hardware import memories
from tapeout.targets.fpga.hardware.design import Rom, Stage
from tapeout.targets.fpga.hardware.memories import Shape
from tapeout.targets.fpga.simulation import verilator
from tapeout.targets.fpga.simulation.verilator import Port, Simulator, Stalls


@dataclasses.dataclass(frozen=True, eq=False)
class Beats:
    """Integers [beats, lanes] of any number of bits up to 64, two's complement."""

    values: np.ndarray
    bits: int

    @property
    def lanes(self) -> int:
        return int(self.values.shape[1])

    @property
    def packed(self) -> np.ndarray:
        return verilator.pack(self.values, self.bits)


#: int8 and int16 arrays [beats, lanes] say how many bits they have.
Data = np.ndarray | Beats


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One instance of a module, what it is given and what it must give.

    Attributes:
        module: in ``rtl/``, or among the sources that `check` is given.
        parameters: text is a string in Verilog; those of the memories as `memories.parameters`
            gives them (each case gets files of its own).
        inputs, expected: of its streams, in order: ``s`` and ``m``, or ``s0``, ``s1``, ``m0``...
        roms: parameter -> what the memory that it names holds.
        is_registered: whether its outputs must follow from registers alone.
        vectors: whether several streams of one side are one port each of valid, ready and data,
            stream 0 lowest, called ``s`` or ``m``.
    """

    module: str
    parameters: Mapping[str, int | str]
    inputs: Sequence[Data]
    expected: Sequence[Data]
    roms: Mapping[str, Rom] = dataclasses.field(default_factory=dict)
    is_registered: bool = True
    vectors: bool = False

    @classmethod
    def of(cls, stage: Stage, inputs: Sequence[Data], expected: Sequence[Data]) -> Case:
        """Return the case of a stage as the engines' Python makes it."""
        return cls(stage.module, stage.parameters, inputs, expected, stage.roms)


@dataclasses.dataclass(frozen=True, eq=False)
class Cycles:
    """When each beat was taken, int64 [beats] per stream; cycle 0 is the first after the reset."""

    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]

    def first_to_last(self) -> int:
        """Return the cycles from the first beat in to the last beat out."""
        first = min(int(item[0]) for item in self.inputs)
        return max(int(item[-1]) for item in self.outputs) - first


def check(
    cases: Sequence[Case],
    folder: Path,
    *,
    sources: Mapping[str, str] | None = None,
    seeds: Iterable[int] = (1, 2),
    patience: int = 20_000,
) -> list[Cycles]:
    """Assert that all instances give what is expected, bit for bit, never stalled and stalled.

    Args:
        folder: empty, as ``tmp_path`` is.
        sources: more Verilog files, name -> text.
        seeds: positive, of the stalls; one run each.
        patience: cycles without a transfer after which an instance is stuck.

    Returns:
        The cycles of the run that never stalls, by case.
    """
    simulator = build(cases, folder, sources or {})
    inputs = {
        f"c{index}_s{k}": _beats(data).packed
        for index, case in enumerate(cases)
        for k, data in enumerate(case.inputs)
    }
    wanted = {
        f"c{index}_m{k}": _beats(data)
        for index, case in enumerate(cases)
        for k, data in enumerate(case.expected)
    }
    counts = {name: len(data.values) for name, data in wanted.items()}
    runs = []
    for seed in (0, *seeds):
        run = simulator.run(inputs, counts, stalls=Stalls(seed), patience=patience)
        wrong = [f"stuck: {_title(index, cases[index])}" for index in run.stuck]
        for name, data in wanted.items():
            wrong += _differences(name, data, run.traces[name].beats, cases)
        wrong += [f"{finding} of {_called(cases, finding)}" for finding in run.findings]
        assert not wrong, "\n".join([f"with stalls of seed {seed}:", *wrong[:20]])
        runs.append(run)
    traces = runs[0].traces
    return [
        Cycles(
            tuple(traces[f"c{index}_s{k}"].cycles for k in range(len(case.inputs))),
            tuple(traces[f"c{index}_m{k}"].cycles for k in range(len(case.expected))),
        )
        for index, case in enumerate(cases)
    ]


def build(cases: Sequence[Case], folder: Path, sources: Mapping[str, str]) -> Simulator:
    """Return the simulator of all instances side by side: ports ``c{case}_s{k}``, ``..._m{k}``."""
    files, ports = texts(cases)
    return verilator.build("cases", ports, {**sources, **files}, folder, library=RTL)


def texts(cases: Sequence[Case]) -> tuple[dict[str, str], list[Port]]:
    """Return the module ``cases``, what its memories read, and its ports; name -> text."""
    files: dict[str, str] = {}
    ports: list[Port] = []
    instances = []
    for index, case in enumerate(cases):
        names = {parameter: f"c{index}_{parameter}" for parameter in case.roms}
        for parameter, rom in case.roms.items():
            width, depth = (
                case.parameters.get(f"{parameter}_{of}", 0) for of in ("WIDTH", "DEPTH")
            )
            files |= memories.files(names[parameter], rom, Shape(int(width), int(depth)))
        ports += _ports(index, case)
        instances.append(_instance(index, case, {**case.parameters, **names}))
    declarations = [f"  input clk, input rst{''.join(map(_declaration, ports))}"]
    body = "\n".join(["module cases (", *declarations, ");", *instances, "endmodule", ""])
    return files | {"cases.v": body}, ports


def _ports(index: int, case: Case) -> list[Port]:
    def port(side: str, k: int, data: Data) -> Port:
        beats = _beats(data)
        name = f"c{index}_{side}{k}"
        return Port(name, beats.lanes, beats.bits, side == "s", index, case.is_registered)

    return [
        *(port("s", k, data) for k, data in enumerate(case.inputs)),
        *(port("m", k, data) for k, data in enumerate(case.expected)),
    ]


def _declaration(port: Port) -> str:
    ways = ("input", "output") if port.is_input else ("output", "input")
    width = port.lanes * port.bits
    return (
        f",\n  {ways[0]} {port.name}_valid, {ways[1]} {port.name}_ready, "
        f"{ways[0]} [{width - 1}:0] {port.name}_data"
    )


def _instance(index: int, case: Case, parameters: Mapping[str, int | str]) -> str:
    given = ", ".join(f".{name}({_literal(value)})" for name, value in parameters.items())
    wires = [".clk(clk)", ".rst(rst)"]
    for side, count in (("s", len(case.inputs)), ("m", len(case.expected))):
        for part in ("valid", "ready", "data"):
            ends = [f"c{index}_{side}{k}_{part}" for k in range(count)]
            if count == 1 or case.vectors:
                wires.append(f".{side}_{part}({{{', '.join(reversed(ends))}}})")
            else:
                wires += [f".{side}{k}_{part}({end})" for k, end in enumerate(ends)]
    return f"  {case.module} #({given}) c{index} ({', '.join(wires)});"


def _literal(value: int | str) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return f"{'-' if value < 0 else ''}{max(value.bit_length() + 1, 32)}'sd{abs(value)}"


def _beats(data: Data) -> Beats:
    if isinstance(data, Beats):
        return data
    assert data.ndim == 2, f"[beats, lanes], not {data.shape}"
    assert data.dtype in (np.int8, np.int16), f"Beats() says how many bits {data.dtype} has"
    return Beats(data, data.dtype.itemsize * 8)


def _title(index: int, case: Case) -> str:
    return f"case {index}, {case.module} {dict(case.parameters)}"


def _called(cases: Sequence[Case], port: str) -> str:
    index = int(port.split("_")[0].removeprefix("c"))
    return _title(index, cases[index])


def _differences(name: str, wanted: Beats, found: np.ndarray, cases: Sequence[Case]) -> list[str]:
    packed = wanted.packed[: len(found)]
    beats = np.flatnonzero((packed != found[: len(packed)]).any(axis=1))
    if not len(beats):
        return []
    first = int(beats[0])
    got = verilator.unpack(found[first : first + 1], wanted.lanes, wanted.bits)[0]
    return [
        f"{name}: {len(beats)} of {len(packed)} beats differ, the first at {first}: "
        f"{got.tolist()} instead of {wanted.values[first].tolist()}: {_called(cases, name)}"
    ]
