"""Results as text for people, and as JSON for programs. Nothing here decides anything."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from . import render_engines, render_layers, render_placement
from .budget import LINES, Budget, Usage, Verdict
from .errors import Problem, TapeoutError
from .lowering.dynamic.ranges import as_text
from .render_quantized import kept
from .tables import console as _console
from .tables import table as _table
from .units import format_bytes, format_seconds

if TYPE_CHECKING:
    from rich.console import Console

    from .attempt import Compiled
    from .bundle import Bundle, Manifest, ShapesRecord
    from .job import Job
    from .planner import Candidate
    from .runner import Measured, Verified
    from .targets.base import Progress
    from .targets.fpga.hls.export import Report

#: Entries of the report that are told when a bundle is made.
_ENTRIES = ("layers", "build", "engines", "proof", "implementation", "synthesis", "tuning")

_STEPS = 20  # rows of `explain`'s table


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Show the current step on stderr while the block runs, if stderr is a terminal."""
    console = _console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("") as status:
        yield lambda text: status.update(Text(text))


def error(raised: TapeoutError) -> None:
    """Write an error with every problem to stderr."""
    console = _console(stderr=True)
    console.print(f"error: {raised.summary}", soft_wrap=True)
    for problem in raised.problems:
        console.print(f"  {problem}", soft_wrap=True)


def error_json(raised: TapeoutError) -> dict[str, Any]:
    """Return an error as JSON: exit code, summary, every problem."""
    return {
        "error": {
            "kind": type(raised).__name__,
            "exit_code": raised.exit_code,
            "summary": raised.summary,
            "problems": _problems(raised.problems),
        }
    }


def _problems(found: Sequence[Problem]) -> list[dict[str, str]]:
    return [{"where": item.where, "what": item.what, "fix": item.fix} for item in found]


def _usage(usage: Usage, verdict: Verdict) -> Table:
    table = _table("FIGURE", "USED", "KNOWN", "BUDGET", "", right=["USED", "BUDGET"])
    limits = {line.name: line for line in verdict.lines}
    for name in LINES:
        figure = getattr(usage, name)
        if figure is None:
            continue
        value, _, _ = str(figure).rpartition(" (")
        line = limits.get(name)
        limit = type(figure)(line.limit, figure.unit, figure.known) if line else None
        allowed = str(limit).rpartition(" (")[0] if limit else "-"
        table.add_row(name, value, figure.known, allowed, figure.note)
        for part, amount in usage.terms(name):
            shown, _, _ = str(amount).rpartition(" (")
            table.add_row(f"  {part}", shown, amount.known, "", amount.note)
        for number, amount in enumerate(usage.profiles if name == "memory" else (), 1):
            shown, _, _ = str(amount).rpartition(" (")
            table.add_row(f"in profile {number}", shown, amount.known, "", amount.note)
    return table


def _shapes(console: Console, shapes: ShapesRecord | None) -> None:
    """Show for which shapes of its inputs an engine is, if these may vary."""
    if shapes is None:
        return
    for number, profile in enumerate(shapes.profiles, 1):
        said = ", ".join(
            f"{name}={as_text(item.min)}..{as_text(item.max)}@{as_text(item.opt)}"
            for name, item in profile.items()
        )
        console.print(f"shapes in profile {number}: {said}", soft_wrap=True)
    for name, step in shapes.multiples.items():
        console.print(f"sizes of {name}: multiples of {step}", soft_wrap=True)


def _not_tried(console: Console, problems: Sequence[Problem]) -> None:
    for problem in problems:
        console.print(f"left out: {problem}", soft_wrap=True)


def check(job: Job, found: Sequence[Candidate], not_tried: Sequence[Problem]) -> None:
    """Show the plans that fit by their estimates, the preferred first."""
    console = _console()
    for candidate in found:
        console.print(f"{job.file.file} fits {job.profile.name}: {candidate.plan}")
        console.print(_usage(candidate.usage, candidate.verdict))
        kept(console, candidate.in_float(), candidate.dense())
    for candidate in found:
        if (placement := candidate.placement(job.profile)) is not None:
            console.print(f"where the operators of {candidate.plan.precision} run:")
            render_placement.show(console, placement.to_json())
            break
    _not_tried(console, not_tried)


def check_json(
    job: Job, found: Sequence[Candidate], not_tried: Sequence[Problem]
) -> dict[str, Any]:
    """Return the plans that fit as JSON."""
    return {
        "model": job.file.model_dump(mode="json"),
        "device": job.profile.name,
        "budget": job.budget.to_json(),
        "plans": [
            {
                "plan": str(item.plan),
                "passes": str(item.pipeline),
                "usage": item.usage.to_json(),
                "verdict": item.verdict.to_json(),
                "kept": item.in_float(),
                "dense": item.dense(),
                **item.placement_json(job.profile),
            }
            for item in found
        ],
        "not_tried": _problems(not_tried),
    }


def compiled(result: Compiled) -> None:
    """Show what was built and what it costs."""
    manifest = result.bundle.manifest
    plan = manifest.plan
    options = "".join(f", {name}={value}" for name, value in plan.options.items())
    console = _console()
    done = "compiled" if manifest.status == "compiled" else "prepared"
    console.print(
        f"{manifest.model.file} {done} for {manifest.device.name}: "
        f"{plan.runtime}, {plan.precision}{options}{_deferred(manifest)}",
        soft_wrap=True,
    )
    console.print(_usage(result.usage, result.verdict))
    _shapes(console, manifest.shapes)
    if (conversion := manifest.conversion) is not None:
        kept(console, conversion.kept, conversion.dense)
    render_placement.show_planned(console, manifest.report.get("placement"))
    render_layers.show_products(console, manifest.report.get("layers"))
    render_engines.told(console, manifest.report)
    if (tuning := manifest.report.get("tuning")) is not None:
        said = "{chosen} of {workloads} workloads otherwise than analysed, {logged} in the log"
        console.print(f"tuning: {said.format(**tuning)}", soft_wrap=True)
    _not_tried(console, result.not_tried)
    console.print(f"bundle: {result.bundle.directory}", soft_wrap=True)
    if (build := manifest.report.get("build")) is not None:
        console.print(f"on the device: {' or: '.join(build['commands'])}", soft_wrap=True)


def _deferred(manifest: Manifest) -> str:
    if manifest.status == "compiled":
        return ""
    from .targets.base import target_for

    what = target_for(manifest.runtime.name).deferral
    return f" (deferred: {what}; see run/README.md)"


def compiled_json(result: Compiled) -> dict[str, Any]:
    """Return what was built and what it costs as JSON."""
    manifest = result.bundle.manifest
    return {
        "bundle": str(result.bundle.directory),
        "status": manifest.status,
        "device": manifest.device.name,
        "plan": manifest.plan.model_dump(mode="json"),
        "kept": manifest.conversion.kept if manifest.conversion else {},
        "dense": manifest.conversion.dense if manifest.conversion else {},
        "usage": result.usage.to_json(),
        **({"shapes": manifest.shapes.model_dump(mode="json")} if manifest.shapes else {}),
        "budget": dict(manifest.budget),
        "verdict": result.verdict.to_json(),
        "not_tried": _problems(result.not_tried),
        **{key: manifest.report[key] for key in _ENTRIES if key in manifest.report},
        "digest": manifest.digest,
    }


def outputs(path: Path, shapes: dict[str, list[int]], stand_in: str | None) -> None:
    """Show which outputs were written where, and what computed them in place of the device."""
    console = _console()
    for name, shape in shapes.items():
        console.print(f"{name}: {'x'.join(map(str, shape)) or 'scalar'}", soft_wrap=True)
    if stand_in is not None:
        console.print(stand_in, soft_wrap=True)
    console.print(f"written to {path}", soft_wrap=True)


def verified(found: Verified) -> None:
    """Show what was verified."""
    console = _console()
    console.print(f"digests: {found.files} files as the manifest says")
    for item in found.differences or ():
        console.print(
            f"output {item.output}: differs by at most {item.largest:.3g} of its largest value",
            soft_wrap=True,
        )
    if found.stand_in is not None:
        console.print(found.stand_in, soft_wrap=True)
    if found.not_run:
        console.print(f"numerics: not checked here: {found.not_run}", soft_wrap=True)
    if found.accuracy:
        console.print(f"top-1 accuracy: {found.accuracy}")


def measured(found: Measured) -> None:
    """Show measured latencies and memory."""
    console = _console()
    shown = ", ".join(f"{name} {format_seconds(value)}" for name, value in found.latency.items())
    console.print(f"latency (measured, {found.runs} runs): {shown}")
    if found.card is not None:
        steps = ", ".join(f"{name} {format_seconds(value)}" for name, value in found.steps.items())
        parts = ", ".join(f"{of} {format_bytes(size)}" for of, size in found.card.memory.items())
        console.print(f"of these (measured, medians): {steps}", soft_wrap=True)
        console.print(f"memory of the device (measured): {parts}", soft_wrap=True)
    console.print(f"peak memory of the process (measured): {format_bytes(found.peak_memory)}")
    if found.stand_in is not None:
        console.print(found.stand_in, soft_wrap=True)


def explained(bundle: Bundle) -> None:
    """Show where memory and time go, the peak moment, and the cheapest fix."""
    console = _console()
    manifest = bundle.manifest
    console.print(
        f"{manifest.model.file} on {manifest.device.name}{_deferred(manifest)}: {manifest.passes}",
        soft_wrap=True,
    )
    console.print(_usage(bundle.usage, Verdict.of(bundle.usage, Budget.from_json(manifest.budget))))
    _shapes(console, manifest.shapes)
    report = manifest.report
    for line in report["memory"]["lines"]:
        console.print(line, soft_wrap=True)
    layers = report.get("layers")
    if layers is not None:
        render_layers.show(console, layers)
    of_layers = "engines" in report or (layers is not None and bool(layers["profiles"]))
    if "engines" in report:
        render_engines.show(console, report)
    if not of_layers:
        console.print(_steps(report["rows"]))
    if "placement" in report:
        render_placement.show(console, report["placement"])
    seconds, moving = report["seconds"], report["by_limit"].get("transfer")
    shown = f"{format_seconds(seconds)} by the roofline (estimated)"
    if moving is not None:
        shown += f", of which {format_seconds(moving)} between the processors"
    totals = f"{report['macs']:,} MACs, {report['parameters']:,} parameters"
    console.print(totals if of_layers else f"{totals}, {shown}")


def _steps(rows: Sequence[dict[str, Any]]) -> Table:
    """List the steps that take the most time, and sum up the others; views do not run."""
    right = ["MACS", "BYTES", "LIVE", "TIME (estimated)", "SHARE"]
    table = _table("OPERATOR", "OUTPUT", *right, "LIMIT", "NODE", right=right)
    ranked = sorted(
        (row for row in rows if row["limit"] != "none"), key=lambda row: -row["seconds"]
    )
    for row in ranked[:_STEPS]:
        table.add_row(
            row["op"],
            f"{'x'.join(map(str, row['shape'])) or 'scalar'} {row['dtype']}",
            f"{row['macs']:,}",
            format_bytes(row["bytes"]),
            format_bytes(row["live"]),
            format_seconds(row["seconds"]),
            f"{row['share']:.1%}",
            row["limit"],
            row["name"],
        )
    if rest := ranked[_STEPS:]:
        seconds = sum(row["seconds"] for row in rest)
        share = sum(row["share"] for row in rest)
        blank = ("",) * 4
        table.add_row(f"{len(rest)} others", *blank, format_seconds(seconds), f"{share:.1%}")
    return table


def exported(output: Path, found: Report) -> None:
    """Show what an HLS project computes, and how near it is."""
    console = _console()
    for name, ratio in found.sqnr.items():
        measured = f"SQNR {ratio:.2f} dB (C simulation, {found.samples} samples)"
        console.print(f"{name}: {found.precision}, {measured}")
    for name, op in found.host.items():
        console.print(f"{name}: {op} is left to the host")
    console.print(f"written to {output}", soft_wrap=True)
