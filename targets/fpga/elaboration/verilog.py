"""The text of a design: the module `core`, the modules that it is made of, what their ROMs hold."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from ..hardware.design import Design, Stage, Stream
from ..hardware.memories import files, shape_of

#: The module that all stages are in; its ports are the streams `s` and `m`.
CORE: Final = "core"

#: Modules of any number of streams, which are one port each of valid, ready and data, the first
#: stream in the lowest bits.
VECTORS: Final = frozenset({"concat"})

#: Where the modules of the engines are.
RTL: Final = Path(__file__).resolve().parents[1] / "rtl"

_INSTANCE = re.compile(r"^\s*(\w+)\s+(?:#\s*\(|\w+\s*\()", re.MULTILINE)
_COMMENT = re.compile(r"//[^\n]*")


#: Cycles after a reset before beats of a core may move.
LEAD: Final = 1

#: Each stage has a register of its own for the reset: one alone would have to reach them all.
_RESETS: Final = """\
    wire [{0}-1:0] resets;
    copies #(.WIDTH(1), .COPIES({0})) spread (.clk(clk), .in(rst), .out(resets));
"""


def sources(design: Design) -> dict[str, str]:
    """Return everything that a tool needs to read a design: file name -> text.

    Files that end in `.v` are Verilog; the others are read by `$readmemh`.
    """
    return {
        f"{CORE}.v": core(design),
        **modules(["copies", *(stage.module for stage in design.stages)]),
        **contents(design),
    }


def core(design: Design) -> str:
    """Return the module that holds every stage, and the streams between them."""
    ports = {design.input, design.output}
    inner = [stream for name, stream in design.streams.items() if name not in ports]
    source, sink = design.streams[design.input], design.streams[design.output]
    parts = [
        f"// {CORE}: one frame is {source.beats} beats in, {sink.beats} out.\n"
        "// Beats may move from the second cycle after a reset on, which lasts two or more.\n"
        f"module {CORE} (\n    input wire clk,\n    input wire rst,\n"
        f"{_ports(source, 'input', 'output')},\n{_ports(sink, 'output', 'input')}\n);\n",
        "".join(map(_wires, inner)),
        _RESETS.format(len(design.stages)),
        *_instances(design),
        "endmodule\n",
    ]
    return "\n".join(parts)


def _ports(stream: Stream, forth: str, back: str) -> str:
    name = stream.name
    return (
        f"    {forth} wire {name}_valid,\n    {back} wire {name}_ready,\n"
        f"    {forth} wire [{stream.width - 1}:0] {name}_data"
    )


def _wires(stream: Stream) -> str:
    name = stream.name
    return f"    wire {name}_valid, {name}_ready;\n    wire [{stream.width - 1}:0] {name}_data;\n"


def _instances(design: Design) -> Iterator[str]:
    """Yield each stage's instance, under the name of the layer where a new one begins."""
    layer = None
    for number, stage in enumerate(design.stages):
        heading = "" if stage.layer == layer else f"    // {_printable(stage.layer)}\n"
        layer = stage.layer
        yield heading + _instance(stage, f"resets[{number}]")


def _printable(name: str) -> str:
    """Return a name as a comment of one line, in ASCII."""
    return name.encode("unicode_escape").decode("ascii")


def _instance(stage: Stage, reset: str) -> str:
    values = {**stage.parameters, **{name: _file(stage, name) for name in stage.roms}}
    parameters = [f".{name}({_literal(value)})" for name, value in values.items()]
    connections = [".clk(clk)", f".rst({reset})"]
    for side, streams in (("s", stage.inputs), ("m", stage.outputs)):
        for part in ("valid", "ready", "data"):
            names = [f"{stream}_{part}" for stream in streams]
            if stage.module in VECTORS and side == "s":
                connections.append(f".{side}_{part}({{{', '.join(reversed(names))}}})")
            else:
                ports = [side] if len(names) == 1 else [f"{side}{i}" for i in range(len(names))]
                connections += [
                    f".{port}_{part}({name})" for port, name in zip(ports, names, strict=True)
                ]
    return (
        f"    {stage.module} #(\n{_list(parameters)}    ) {stage.name} (\n"
        f"{_list(connections)}    );\n"
    )


def _list(items: Iterable[str]) -> str:
    return ",\n".join(f"        {item}" for item in items) + "\n"


def _literal(value: int | str) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(value) if -(2**31) <= value < 2**31 else _wide(value)


def _wide(value: int) -> str:
    """Return a number that needs more than the 32 bits of a plain one: in whole words of 64."""
    bits = -(-(value.bit_length() + 1) // 64) * 64
    return f"{'-' if value < 0 else ''}{bits}'sd{abs(value)}"


def modules(names: Iterable[str]) -> dict[str, str]:
    """Return the files that define modules, and all modules that those are made of."""
    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if f"{name}.v" not in found:
            found[f"{name}.v"] = (RTL / f"{name}.v").read_text(encoding="ascii")
            waiting += _inside(name)
    return dict(sorted(found.items()))


@functools.cache
def _inside(name: str) -> tuple[str, ...]:
    """Return the modules that have files of their own and of which a module has instances."""
    text = _COMMENT.sub("", (RTL / f"{name}.v").read_text(encoding="ascii"))
    own = {path.stem for path in RTL.glob("*.v")}
    return tuple(sorted(own.intersection(_INSTANCE.findall(text))))


def contents(design: Design) -> dict[str, str]:
    """Return what the design's ROMs hold, for `$readmemh`: file name -> text."""
    found: dict[str, str] = {}
    for stage in design.stages:
        for name, rom in stage.roms.items():
            found |= files(_file(stage, name), rom, shape_of(stage, name))
    return found


def _file(stage: Stage, name: str) -> str:
    """Return the beginning of the names of the files that a memory of a stage reads."""
    return f"{stage.name}_{name.lower()}"
