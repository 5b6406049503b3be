"""The command line: arguments in, exit code out. The work is done by the modules it calls."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from . import asked, render, render_profiles, render_quantized
from .arguments import (
    AccuracyDrop,
    BundlePath,
    Calibration,
    Device,
    DropProfiles,
    Evaluation,
    IoName,
    Json,
    Latency,
    Memory,
    Model,
    PlanOptions,
    PrecisionName,
    Runtime,
    Shapes,
    Storage,
    Tune,
    TuningLog,
    VerifyPasses,
)
from .budget import Budget
from .errors import TapeoutError

# The modules that do the work import onnx and the runtimes: each command imports what it needs,
# so that --help and devices start at once.

app = typer.Typer(
    name="tapeout",
    help="Compile a trained network for a named device, inside a memory and latency budget.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
devices_app = typer.Typer(help="The catalogue of devices.", invoke_without_command=True)
app.add_typer(devices_app, name="devices")

#: Set to see the traceback of a defect.
TRACEBACK = "TAPEOUT_TRACEBACK"


@contextlib.contextmanager
def _outcome(as_json: bool) -> Iterator[None]:
    """Turn an error into its message and exit code; a defect into one line, never a traceback."""
    try:
        yield
    except TapeoutError as error:
        _fail(error, as_json)
    except (typer.Exit, typer.Abort, KeyboardInterrupt):
        raise
    except BrokenPipeError:
        sys.stderr.close()
        raise typer.Exit(1) from None
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        message = f"a defect in tapeout: {type(error).__name__}: {error}"
        _fail(TapeoutError(f"{message} (set {TRACEBACK}=1 to see where)"), as_json)


def _fail(error: TapeoutError, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(render.error_json(error)) + "\n")
    else:
        render.error(error)
    raise typer.Exit(error.exit_code) from error


def _write(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False) + "\n")


@devices_app.callback()
def devices(
    context: typer.Context,
    kind: Annotated[
        Literal["cpu", "gpu", "mobile", "fpga"] | None, typer.Option(help="One kind only.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the catalogue."""
    if context.invoked_subcommand is not None:
        return
    with _outcome(as_json):
        from .profiles import catalog

        found = catalog.profiles(kind)
        if as_json:
            _write({"devices": [profile.to_json() for profile in found]})
        else:
            render_profiles.devices(found)


@devices_app.command("show")
def show_device(name: str, as_json: Json = False) -> None:
    """Show one profile, with the source of each figure."""
    with _outcome(as_json):
        from .profiles import catalog

        profile = catalog.load(name)
        if as_json:
            _write(profile.to_json())
        else:
            render_profiles.profile(profile)


@app.command()
def check(
    model: Model,
    device: Device,
    memory: Memory = None,
    storage: Storage = None,
    latency: Latency = None,
    accuracy_drop: AccuracyDrop = None,
    precision: PrecisionName = "auto",
    io: IoName = "auto",
    runtime: Runtime = None,
    calibration: Calibration = None,
    evaluation: Evaluation = None,
    shape: Shapes = None,
    plan: PlanOptions = None,
    drop_profiles: DropProfiles = False,
    verify_passes: VerifyPasses = False,
    as_json: Json = False,
) -> None:
    """Check operators and budgets by estimate; builds nothing."""
    with _outcome(as_json):
        from . import compiler

        options = asked.options(
            precision,
            runtime,
            calibration,
            evaluation,
            shape,
            verify_passes,
            io,
            plan,
            drop_profiles,
        )
        budget = Budget(memory, storage, latency, accuracy_drop)
        with render.progress() as progress:
            job = compiler.prepare(model, device, budget, options, progress)
            found = compiler.check(job)
        if as_json:
            _write(render.check_json(job, found, compiler.not_tried(job)))
        else:
            render.check(job, found, compiler.not_tried(job))


@app.command("compile")
def compile_model(
    model: Model,
    device: Device,
    output: Annotated[Path, typer.Option("-o", "--output", help="The bundle: a folder or .tar.")],
    memory: Memory = None,
    storage: Storage = None,
    latency: Latency = None,
    accuracy_drop: AccuracyDrop = None,
    precision: PrecisionName = "auto",
    io: IoName = "auto",
    runtime: Runtime = None,
    calibration: Calibration = None,
    evaluation: Evaluation = None,
    shape: Shapes = None,
    plan: PlanOptions = None,
    drop_profiles: DropProfiles = False,
    tune: Tune = None,
    tuning: TuningLog = None,
    verify_passes: VerifyPasses = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that exists.")] = False,
    as_json: Json = False,
) -> None:
    """Compile a model for a device into a bundle."""
    with _outcome(as_json):
        from . import compiler

        options = asked.options(
            precision,
            runtime,
            calibration,
            evaluation,
            shape,
            verify_passes,
            io,
            plan,
            drop_profiles,
            tune,
            tuning,
        )
        budget = Budget(memory, storage, latency, accuracy_drop)
        with render.progress() as progress:
            job = compiler.prepare(model, device, budget, options, progress)
            compiled = compiler.build(job, output, force=force)
        if as_json:
            _write(render.compiled_json(compiled))
        else:
            render.compiled(compiled)


@app.command("quantize")
def quantize_model(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write.")],
    scheme: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The numbers to write: int8, tflite, fp16, ... (a wrong name lists all).",
        ),
    ] = "int8",
    calibration: Calibration = None,
    evaluation: Evaluation = None,
    accuracy_drop: AccuracyDrop = None,
    method: Annotated[
        Literal["auto", "minmax", "percentile", "entropy", "mse"],
        typer.Option(help="How ranges are found on the calibration data."),
    ] = "auto",
    shape: Shapes = None,
    report: Annotated[
        bool, typer.Option("--report", help="Measure and show what each node costs.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    as_json: Json = False,
) -> None:
    """Write a model in fewer bits as an ONNX file that any runtime can run."""
    with _outcome(as_json):
        from . import quantizer

        options = quantizer.QuantizeOptions(
            scheme,
            method,
            calibration,
            evaluation,
            accuracy_drop,
            asked.single_shapes(shape),
            report,
        )
        with render.progress() as progress:
            found = quantizer.quantize(model, output, options, force=force, progress=progress)
        if as_json:
            _write(render_quantized.quantized_json(found))
        else:
            render_quantized.quantized(found, report)


@app.command("export-hls")
def export_hls(
    model: Model,
    samples: Annotated[
        str, typer.Option(metavar="FILE.npz[:KEY]", help="Real inputs, to compare on.")
    ],
    part: Annotated[str, typer.Option(help="As the tools call it, e.g. xc7z020clg400-1.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
    backend: Annotated[str, typer.Option(help="Vitis or Vivado, AMD's tools.")] = "Vitis",
    clock: Annotated[
        float, typer.Option(metavar="NS", min=0.1, help="The clock's period in nanoseconds.")
    ] = 10.0,
    fraction: Annotated[
        int, typer.Option(metavar="BITS", min=1, max=32, help="Bits behind the point.")
    ] = 14,
    reuse: Annotated[
        int, typer.Option(metavar="N", min=1, help="Products of each multiplier, in turn.")
    ] = 1,
    shape: Shapes = None,
    as_json: Json = False,
) -> None:
    """Write a model as a project for high-level synthesis, by hls4ml, proven in C simulation."""
    with _outcome(as_json):
        from . import hls
        from .targets.fpga.hls.export import Order

        order = Order(backend, part, clock, fraction, reuse)
        with render.progress() as progress:
            found = hls.export_hls(
                model, samples, order, output, asked.single_shapes(shape), progress
            )
        if as_json:
            _write({"output": str(output), **found.to_json()})
        else:
            render.exported(output, found)


@app.command("run")
def run_bundle(
    bundle: BundlePath,
    data: Annotated[str, typer.Option("--input", metavar="FILE.npz[:KEY]", help="The inputs.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the outputs go (.npz).")],
    as_json: Json = False,
) -> None:
    """Run a bundle on this machine, or in an emulator or simulator of its device."""
    with _outcome(as_json):
        from . import runner
        from .bundle import opened

        with render.progress() as progress, opened(bundle) as loaded:
            progress(f"running {bundle.name}")
            execution = runner.execute(loaded, data)
            runner.save_outputs(output, execution.outputs)
            stand_in = runner.stand_in(loaded, execution)
        shapes = {name: list(array.shape) for name, array in execution.outputs.items()}
        if as_json:
            _write({"output": str(output), "shapes": shapes, "stand_in": stand_in})
        else:
            render.outputs(output, shapes, stand_in)


@app.command("verify")
def verify_bundle(
    bundle: BundlePath,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE.npz[:KEY]", help="Inputs and labels."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a bundle's digests, then its numerics against the reference."""
    with _outcome(as_json):
        from . import runner
        from .bundle import opened

        with render.progress() as progress, opened(bundle) as loaded:
            progress(f"verifying {bundle.name}")
            found = runner.verify(loaded, data)
        if as_json:
            _write(found.to_json())
        else:
            render.verified(found)


@app.command("bench")
def bench_bundle(
    bundle: BundlePath,
    runs: Annotated[int, typer.Option(min=1, max=1_000_000, help="Timed inferences.")] = 100,
    as_json: Json = False,
) -> None:
    """Measure a bundle's latency percentiles and peak memory on this machine."""
    with _outcome(as_json):
        from . import runner
        from .bundle import opened

        with render.progress() as progress, opened(bundle) as loaded:
            progress(f"measuring {bundle.name}")
            measured = runner.bench(loaded, runs)
        if as_json:
            _write(measured.to_json())
        else:
            render.measured(measured)


@app.command()
def explain(bundle: BundlePath, as_json: Json = False) -> None:
    """Show where memory and time go, the peak moment, and the cheapest fix."""
    with _outcome(as_json):
        from .bundle import opened

        with opened(bundle) as loaded:
            loaded.require_digests()
            if as_json:
                _write({"usage": loaded.manifest.usage, "report": loaded.manifest.report})
            else:
                render.explained(loaded)


def _ended(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command line; the exit code is that of the error's class."""
    # A job that is called off stops the tools it has started, and removes its scratch folders.
    signal.signal(signal.SIGTERM, _ended)
    app()
