"""The arguments that commands share: how each is written, parsed and explained."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .lowering.dynamic.ranges import ShapeRange
from .units import parse_bytes, parse_seconds


def _quantity(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Make a parser whose ValueError becomes click's message for a wrong option."""

    @functools.wraps(parse)
    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return parsed


def _shape(text: str) -> tuple[str, tuple[int, ...] | ShapeRange]:
    """Read ``INPUT=SHAPE``, or ``INPUT=MIN..MAX@OPT``; OPT is MAX where it is left out."""
    name, separator, said = text.rpartition("=")
    least, dots, rest = said.partition("..")
    most, at, usual = rest.partition("@")
    shapes = [_dims(part) for part in (least, usual if at else most, most) if dots or part]
    if not separator or not name or None in shapes:
        shape = "1x3x224x224"
        raise ValueError(
            f"{text!r} is not a shape; write INPUT={shape}, or INPUT={shape}..8x3x512x512@{shape} "
            "for a range of them: least, largest, and what to tune for"
        )
    found = [shape for shape in shapes if shape is not None]
    return name, ShapeRange(*found) if dots else found[0]


def _dims(text: str) -> tuple[int, ...] | None:
    parts = text.lower().split("x")
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else None


def _setting(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise ValueError(f"{text!r} is no option of a plan; write NAME=VALUE, e.g. threads=4")
    return name, value


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{text!r} is not a fraction between 0 and 1")
    return value


Model = Annotated[Path, typer.Argument(help="An .onnx file.")]
BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder or .tar.")]
Device = Annotated[str, typer.Option(help="A catalogue name or a profile's YAML file.")]
Json = Annotated[bool, typer.Option("--json", help="Write one JSON object to stdout.")]
Memory = Annotated[
    int | None,
    typer.Option(parser=_quantity(parse_bytes), metavar="SIZE", help="Memory, e.g. 512KiB."),
]
Storage = Annotated[
    int | None,
    typer.Option(parser=_quantity(parse_bytes), metavar="SIZE", help="Engine size, e.g. 2MiB."),
]
Latency = Annotated[
    float | None,
    typer.Option(parser=_quantity(parse_seconds), metavar="TIME", help="One inference, e.g. 5ms."),
]
AccuracyDrop = Annotated[
    float | None,
    typer.Option(parser=_quantity(_fraction), metavar="FRACTION", help="Accuracy that may go."),
]
Runtime = Annotated[str | None, typer.Option(help="One of the device's runtimes.")]
Calibration = Annotated[
    str | None, typer.Option(metavar="FILE.npz[:KEY]", help="Inputs to calibrate with.")
]
Evaluation = Annotated[
    str | None, typer.Option("--eval", metavar="FILE.npz[:KEY]", help="Inputs and labels.")
]
Shapes = Annotated[
    list[Any] | None,
    typer.Option(
        "--shape",
        parser=_quantity(_shape),
        metavar="INPUT=SHAPE|MIN..MAX@OPT",
        help="A static shape, as 1x3x224x224, or a range; the i-th range of each input makes "
        "optimization profile i, and what is said of an input once holds in all.",
    ),
]
PrecisionName = Annotated[
    Literal["auto", "fp32", "tf32", "fp16", "bf16", "int8", "int8-dynamic", "fp8", "int4"],
    typer.Option(
        help="The numbers to compute with; int8 and fp8 need samples, int8-dynamic rounds the data "
        "as it runs. GPUs alone: tf32 (float32, multiplied with 10 bits of mantissa), bf16, fp8, "
        "int4 (weights alone)."
    ),
]
IoName = Annotated[
    Literal["auto", "float", "int8"],
    typer.Option(
        "--io", help="What goes in and comes out, where it is quantized (auto: as is usual)."
    ),
]
PlanOptions = Annotated[
    list[Any] | None,
    typer.Option(
        "--plan",
        parser=_quantity(_setting),
        metavar="NAME=VALUE",
        help="Keep to plans with this, e.g. delegate=gpu or threads=4 (check lists them all).",
    ),
]
DropProfiles = Annotated[
    bool,
    typer.Option(
        "--drop-profiles", help="Leave out optimization profiles that do not fit the memory."
    ),
]
VerifyPasses = Annotated[bool, typer.Option(help="Check the dialect's rules after every pass.")]
Tune = Annotated[
    int | None,
    typer.Option(
        "--tune",
        min=1,
        metavar="N",
        help="Time N alternatives for each kernel of TVM on this machine, which is the device.",
    ),
]
TuningLog = Annotated[
    Path | None,
    typer.Option(
        "--tuning",
        metavar="FILE.jsonl",
        help="The log that --tune reads and adds to; without --tune, its choices are used.",
    ),
]
