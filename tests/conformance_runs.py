"""How one node test goes: through import, passes and reference, and on each runtime."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Literal

import litert
import numpy as np
import onnx_ir as ir
from conformance_cases import Case, Imported, Unsuitable, case_of, imported
from fingerprints import fingerprint

from tapeout.errors import ModelError, Problem, TapeoutError
from tapeout.lowering import dialect
from tapeout.lowering.canonical import canonical
from tapeout.lowering.pipeline import Pipeline
from tapeout.lowering.reference import Reference
from tapeout.profiles import catalog
from tapeout.profiles.schema import Profile
from tapeout.targets.base import Plan, Target, target_for
from tapeout.targets.tensorrt import builder
from tapeout.targets.tensorrt.network import onnx_of
from tapeout.targets.tflite.constraints import check
from tapeout.targets.tflite.lower import to_tflite

import kernels

#: Smaller than this the outputs of narrow dtypes cannot agree: one step of bfloat16 or float16.
_STEPS = {"bfloat16": 2.0**-7, "float16": 2.0**-10}

Verdict = Literal["passed", "unsupported", "failed"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one case went in one stage; `reason` says why it did not pass."""

    verdict: Verdict
    reason: str = ""


_OTHER_VALUES: Final = Outcome(
    "unsupported", "ONNX Runtime itself gives other values than ONNX states"
)

#: What one runtime gives for a case: the outputs, once for each way in which it computes them.
Runs = Iterable[Sequence[np.ndarray]]
Runner = Callable[[ir.Model, dict[str, np.ndarray]], Runs]


def run(test: Any) -> Iterator[tuple[str, Outcome]]:
    """Run one node test, stage by stage; raises nothing that the test itself causes."""
    try:
        case = case_of(test)
        variants = imported(case)
        model, feeds = variants[0]
        if problems := dialect.check(model):
            raise Unsuitable(problems[0].what)
    except (TapeoutError, Unsuitable) as error:
        reason = _first(error) if isinstance(error, TapeoutError) else str(error)
        yield from dict.fromkeys(STAGES, Outcome("unsupported", reason)).items()
        return
    reference = _outcome(case, lambda: [_run_reference(model, feeds)])
    its_own = reference.verdict == "failed" and _reference_alone_agrees(case, model, feeds)
    if its_own:
        reference = _OTHER_VALUES
    yield "reference", reference
    for name, runner in RUNTIMES.items():
        outcome = _on_runtime(case, variants, runner)
        # Where engines cannot run, the reference stands for them.
        in_its_place = runner is _run_rtx and outcome.verdict == "failed" and its_own
        yield name, _OTHER_VALUES if in_its_place else outcome


def _on_runtime(case: Case, variants: list[Imported], runner: Runner) -> Outcome:
    """Run the first form of a case that the runtime takes."""
    first = None
    for variant in variants:
        outcome = _outcome(case, functools.partial(runner, *variant))
        if outcome.verdict != "unsupported":
            return outcome
        first = first or outcome
    return first or Outcome("unsupported", "it could not be imported")


def _first(error: TapeoutError) -> str:
    if not error.problems:
        return error.summary
    return f"{error.problems[0].what}"


def _outcome(case: Case, runs: Callable[[], Runs]) -> Outcome:
    try:
        found = list(runs())
    except ModelError as error:
        return Outcome("unsupported", _first(error))
    except Exception as error:  # noqa: BLE001 - whatever else it is, the case failed
        return Outcome("failed", f"{type(error).__name__}: {error}")
    for outputs in found:
        if len(outputs) != len(case.outputs):
            return Outcome("failed", f"{len(outputs)} outputs instead of {len(case.outputs)}")
        for actual, expected in zip(outputs, case.outputs, strict=True):
            if wrong := _difference(case, actual, expected):
                return Outcome("failed", wrong)
    return Outcome("passed")


def _difference(case: Case, actual: np.ndarray, expected: np.ndarray) -> str:
    if str(expected.dtype).startswith("float8") and actual.dtype == np.uint8:
        actual = actual.view(expected.dtype)  # ONNX Runtime hands these out as bytes
    if (actual.dtype, actual.shape) != (expected.dtype, expected.shape):
        return f"{actual.dtype}{actual.shape} instead of {expected.dtype}{expected.shape}"
    step = _STEPS.get(str(expected.dtype), 0.0)
    left, right = (
        array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
        for array in (actual, expected)
    )
    close = np.isclose(
        left, right, rtol=max(case.rtol, step), atol=max(case.atol, step), equal_nan=True
    )
    return "" if close.all() else f"{int((~close).sum())} of {close.size} values are wrong"


def _reference_alone_agrees(case: Case, model: ir.Model, feeds: dict[str, np.ndarray]) -> bool:
    """Whether ONNX Runtime gives the same values without our passes, so that they are its own."""
    try:
        untouched = list(Reference(model).run(feeds).values())
        lowered = _run_reference(model, feeds)
    except TapeoutError:
        return False
    pairs = zip(lowered, untouched, strict=True)
    return all(_difference(case, actual, expected) == "" for actual, expected in pairs)


def _run_reference(model: ir.Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    lowered = canonical("nhwc").run(model.clone(), dialect.check)
    if problems := dialect.check(lowered, "canonical"):
        raise TapeoutError("the canonical pipeline left what is not canonical", problems)
    return list(Reference(lowered).run(feeds).values())


def preload() -> None:
    """Load what every process will need, once, before they part."""
    for name in ("onnxruntime", "ai_edge_litert.interpreter", "tapeout.targets.tvm.compile"):
        importlib.import_module(name)
    _tvm()


@functools.cache
def _tvm() -> tuple[Profile, Plan, Pipeline]:
    profile, plan = kernels.host(), Plan("tvm", "fp32")
    return profile, plan, target_for("tvm").pipeline(profile, plan)


#: What TVM's code gave, by fingerprint: a case and its expansion often become one graph.
_COMPUTED: dict[str, list[np.ndarray]] = {}


def _run_tvm(model: ir.Model, feeds: dict[str, np.ndarray]) -> Runs:
    """Lower, check and compile as the compiler does; run in this process, which saves the link."""
    profile, plan, pipeline = _tvm()
    lowered = pipeline.run(model.clone())
    if problems := target_for("tvm").check(lowered, profile, plan):
        raise ModelError("refused", problems)
    key = fingerprint(lowered, feeds)
    if key not in _COMPUTED:
        _COMPUTED[key] = kernels.outputs(lowered, feeds)
    return [_COMPUTED[key]]


def _run_tflite(model: ir.Model, feeds: dict[str, np.ndarray]) -> Runs:
    """Lower, check and write; run by LiteRT's own kernels, and with those of XNNPACK."""
    lowered = litert.PIPELINE.run(model.clone())
    if problems := check(lowered):
        raise ModelError("refused", problems)
    content = to_tflite(lowered)
    names = [str(value.name) for value in lowered.graph.outputs]
    for xnnpack in (False, True):
        found = litert.run(content, feeds, xnnpack=xnnpack)
        yield [found[name] for name in names]


#: What the builder of TensorRT-RTX has against a graph, by fingerprint.
_REFUSED: dict[str, list[Problem]] = {}


@functools.cache
def _rtx() -> tuple[Target, Profile, Plan]:
    """Let the builder work in this process, which no other test shares: loading it takes longer."""
    from tapeout.targets.tensorrt import builder_process

    builder.run = builder_process.main
    return target_for("tensorrt-rtx"), catalog.load("rtx-4090"), Plan("tensorrt-rtx", "fp32")


def _run_rtx(model: ir.Model, feeds: dict[str, np.ndarray]) -> Runs:
    """Lower, check and build an engine, which cannot run here; run what the builder was given."""
    target, profile, plan = _rtx()
    lowered = target.pipeline(profile, plan).run(model.clone())
    network = target.network(lowered, profile, plan)
    assert network is not None
    if problems := builder.unsupported(onnx_of(network)):
        raise ModelError("refused", problems)
    outputs = list(Reference(network).run(feeds).values())
    key = fingerprint(lowered, feeds)
    if key not in _REFUSED:
        _REFUSED[key] = target.check(lowered, profile, plan)
    if problems := _REFUSED[key]:
        raise ModelError("refused", problems)
    return [outputs]


#: Runtime -> what runs a model for it.
RUNTIMES: dict[str, Runner] = {
    "tvm": _run_tvm,
    "tflite": _run_tflite,
    "tensorrt-rtx": _run_rtx,
}

#: The columns of the table.
STAGES = ("reference", *RUNTIMES)
