"""ONNX's own backend node tests through our way: what passes, what is refused and why.

    python tests/conformance.py > tests/conformance.md

Each case is imported, brought through the canonical pipeline, run by the reference and compared
with the outputs that ONNX states; then it is checked, compiled and run for each runtime. A case
runs in a process of its own: a crash is an outcome, not the end.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import os
import re
import select
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from tapeout.errors import ModelError, TapeoutError
from tapeout.lowering import dialect
from tapeout.lowering.canonical import canonical
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.reference import Reference
from tapeout.profiles import catalog
from tapeout.targets.base import Plan, target_for

#: Seconds for one case.
_TIMEOUT = 120

#: Smaller than this the outputs of narrow dtypes cannot agree: one step of bfloat16 or float16.
_STEPS = {"bfloat16": 2.0**-7, "float16": 2.0**-10}

Verdict = Literal["passed", "unsupported", "failed"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one case went in one stage; `reason` says why it did not pass."""

    verdict: Verdict
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Result:
    """How one case went, by stage: through import, passes and reference, and on each runtime."""

    case: str
    operator: str
    outcomes: Mapping[str, Outcome]


@dataclasses.dataclass(frozen=True)
class Case:
    """A node test with tensors only."""

    name: str
    model: onnx.ModelProto
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    rtol: float
    atol: float


#: What one runtime gives for a case: the outputs, once for each way in which it computes them.
Runs = Iterable[Sequence[np.ndarray]]
Runner = Callable[[ir.Model, dict[str, np.ndarray]], Runs]


class Unsuitable(Exception):  # noqa: N818 - an outcome, not an error
    """The case is none of ours: it is not about tensors of static shape."""


@functools.cache
def node_tests() -> list[Any]:
    """Return ONNX's own node tests, in their order."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflow in the making of the expected values
        return list(collect_testcases(None))


def operators_of(tests: Iterable[Any]) -> dict[str, str]:
    """Return the operator of each test; an expanded one has that of the test it was made from."""
    single = {
        test.name: str(test.model.graph.node[0].op_type)
        for test in tests
        if len(test.model.graph.node) == 1
    }
    found = {}
    for test in tests:
        origin = test.name.partition("_expanded")[0]
        found[test.name] = single.get(origin) or single.get(test.name) or _main_operator(test)
    return found


def _main_operator(test: Any) -> str:
    kinds = {str(node.op_type) for node in test.model.graph.node} - {"Constant"}
    return "+".join(sorted(kinds)) if len(kinds) <= 3 else str(test.model.graph.node[-1].op_type)


def _case(test: Any) -> Case:
    graph = test.model.graph
    for value in [*graph.input, *graph.output]:
        if value.type.WhichOneof("value") != "tensor_type":
            raise Unsuitable(f"{value.name} is no tensor but a {value.type.WhichOneof('value')}")
        if value.type.tensor_type.elem_type == onnx.TensorProto.STRING:
            raise Unsuitable("it is about strings")
    inputs, outputs = test.data_sets[0]
    return Case(
        test.name,
        test.model,
        tuple(map(_array, inputs)),
        tuple(map(_array, outputs)),
        test.rtol,
        test.atol,
    )


def _array(value: Any) -> np.ndarray:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value)


Imported = tuple[ir.Model, dict[str, np.ndarray]]


def _import(case: Case) -> list[Imported]:
    """Import a case as it is, and with its small inputs as constants.

    Shapes, axes and scales are inputs in these tests, but constants in networks. The first that
    can be imported serves the reference; the target takes the first that it can.
    """
    feeds = dict(zip((item.name for item in case.model.graph.input), case.inputs, strict=True))
    small = {name for name, array in feeds.items() if array.ndim <= 1 and array.size <= 64}
    variants = [set[str]()] + ([small] if small and len(small) < len(feeds) else [])
    imported: list[Imported] = []
    refusals: list[ModelError] = []
    for fixed in variants:
        model = _with_constants(case.model, feeds, fixed)
        shapes = {name: array.shape for name, array in feeds.items() if name not in fixed}
        try:
            loaded = _load(model, shapes)
        except ModelError as error:
            refusals.append(error)
        else:
            names = (str(item.name) for item in loaded.graph.inputs)
            imported.append((loaded, {name: feeds[name] for name in names}))
    if not imported:
        raise refusals[0]
    return imported


def _with_constants(
    model: onnx.ModelProto, feeds: dict[str, np.ndarray], fixed: set[str]
) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    kept = [item for item in changed.graph.input if item.name not in fixed]
    del changed.graph.input[:]
    changed.graph.input.extend(kept)
    tensors = (numpy_helper.from_array(feeds[name], name) for name in sorted(fixed))
    changed.graph.initializer.extend(tensors)
    return changed


def _load(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> ir.Model:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return load(path, shapes)


def run(test: Any) -> Iterator[tuple[str, Outcome]]:
    """Run one node test, stage by stage; raises nothing that the test itself causes."""
    try:
        case = _case(test)
        imported = _import(case)
        model, feeds = imported[0]
        if problems := dialect.check(model):
            raise Unsuitable(problems[0].what)
    except (TapeoutError, Unsuitable) as error:
        reason = _first(error) if isinstance(error, TapeoutError) else str(error)
        yield from dict.fromkeys(STAGES, Outcome("unsupported", reason)).items()
        return
    reference = _outcome(case, lambda: [_run_reference(model, feeds)])
    if reference.verdict == "failed" and _reference_alone_agrees(case, model, feeds):
        reference = Outcome(
            "unsupported", "ONNX Runtime itself gives other values than ONNX states"
        )
    yield "reference", reference
    for name, runner in RUNTIMES.items():
        yield name, _on_runtime(case, imported, runner)


def _on_runtime(case: Case, imported: list[Imported], runner: Runner) -> Outcome:
    """Run the first form of a case that the runtime takes."""
    first = None
    for variant in imported:
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


def _run_tvm(model: ir.Model, feeds: dict[str, np.ndarray]) -> Runs:
    """Lower, check and compile as the compiler does; run in this process, which saves the link."""
    import tvm
    from tvm import relax

    from tapeout.targets.tvm.compile import compile_model

    profile = catalog.load(catalog.HOST)
    plan = Plan("tvm", "fp32")
    target = target_for("tvm")
    lowered = target.pipeline(profile, plan).run(model.clone())
    if problems := target.check(lowered, profile, plan):
        raise ModelError("refused", problems)
    compiled = compile_model(lowered, profile.toolchain)
    machine = relax.VirtualMachine(compiled.executable, tvm.cpu())
    arguments = [
        tvm.runtime.tensor(np.asarray(feeds[str(item.name)], order="C"))
        for item in lowered.graph.inputs
    ]
    found = machine["main"](*arguments)
    tensors = [found] if isinstance(found, tvm.runtime.Tensor) else list(found)
    return [[tensor.numpy() for tensor in tensors]]


def _run_tflite(model: ir.Model, feeds: dict[str, np.ndarray]) -> Runs:
    """Lower, check and write; run by LiteRT's own kernels, and with those of XNNPACK."""
    import litert

    from tapeout.targets.tflite.constraints import check
    from tapeout.targets.tflite.lower import to_tflite

    lowered = litert.PIPELINE.run(model.clone())
    if problems := check(lowered):
        raise ModelError("refused", problems)
    content = to_tflite(lowered)
    names = [str(value.name) for value in lowered.graph.outputs]
    for xnnpack in (False, True):
        found = litert.run(content, feeds, xnnpack=xnnpack)
        yield [found[name] for name in names]


#: Runtime -> what runs a model for it.
RUNTIMES: dict[str, Runner] = {"tvm": _run_tvm, "tflite": _run_tflite}

#: The columns of the table.
STAGES = ("reference", *RUNTIMES)


def run_all(tests: Iterable[Any], workers: int) -> Iterator[Result]:
    """Run tests in forked processes, `workers` at a time; yields the results as they come."""
    _preload()
    operators = operators_of(node_tests())
    waiting = list(reversed(list(tests)))
    running: dict[int, tuple[int, Any]] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            test = waiting.pop()
            running |= _forked(test)
        ready, _, _ = select.select(list(running), [], [])
        for reader in ready:
            process, test = running.pop(reader)
            with os.fdopen(reader, "rb") as stream:
                said = stream.read()
            _, status = os.waitpid(process, 0)
            yield Result(test.name, operators[test.name], _outcomes(said, status))


def _preload() -> None:
    """Import what every process will need, once, before they part."""
    for name in ("onnxruntime", "tvm", "tapeout.targets.tvm.compile", "litert"):
        importlib.import_module(name)


def _forked(test: Any) -> dict[int, tuple[int, Any]]:
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        return {reader: (process, test)}
    os.close(reader)
    signal.alarm(_TIMEOUT)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        with os.fdopen(writer, "wb", buffering=0) as stream:
            for stage, outcome in run(test):  # what is written stays, if the next one crashes
                stream.write(json.dumps([stage, dataclasses.asdict(outcome)]).encode() + b"\n")
    finally:
        os._exit(0)  # never back into what the parent does


def _outcomes(said: bytes, status: int) -> dict[str, Outcome]:
    lines = map(json.loads, said.splitlines())
    found = {stage: Outcome(**outcome) for stage, outcome in lines}
    crashed = Outcome("failed", f"crashed (wait status {status})")
    return {stage: found.get(stage, crashed) for stage in STAGES}


def table(results: Iterable[Result]) -> dict[str, str]:
    """Return the table's row of each operator, in the order of their names."""
    by_operator: dict[str, list[Result]] = {}
    for result in results:
        by_operator.setdefault(result.operator, []).append(result)
    return {name: _row(name, by_operator[name]) for name in sorted(by_operator)}


def _row(operator: str, results: list[Result]) -> str:
    results = sorted(results, key=lambda result: result.case)
    cells = [operator, str(len(results))]
    for stage in STAGES:
        verdicts = Counter(result.outcomes[stage].verdict for result in results)
        cells += [str(verdicts[key]) for key in ("passed", "unsupported", "failed")]
    reasons = dict.fromkeys(
        _plain(outcome.reason)
        for result in results
        for outcome in result.outcomes.values()
        if outcome.verdict != "passed"
    )
    return f"| {' | '.join(cells)} | {'; '.join(reasons)} |"


def _plain(reason: str) -> str:
    """Return a reason in one line, without what differs from case to case."""
    line = re.sub(r"\s+", " ", reason.replace("|", "\\|")).strip()
    return line if len(line) <= 160 else f"{line[:157]}..."


def summary(results: Sequence[Result]) -> list[str]:
    """Return the totals, a line for each stage."""
    lines = []
    for stage in STAGES:
        verdicts = Counter(result.outcomes[stage].verdict for result in results)
        lines.append(
            f"- {stage}: "
            + ", ".join(f"{verdicts[key]} {key}" for key in ("passed", "unsupported", "failed"))
        )
    return lines


HEADER = """# Conformance

ONNX's own backend node tests ({version}): imported, brought through the canonical
pipeline, and run by ONNX Runtime, the reference; then compiled and run for each runtime.
Made by `python tests/conformance.py > tests/conformance.md`; a test holds that nothing of it is
lost.

"""

_VERDICTS = "passed | unsupported | failed"

COLUMNS = (
    f"| operator | cases | {' | '.join(f'{stage}: {_VERDICTS}' for stage in STAGES)} | reasons |\n"
    f"|{'---|' * (3 + 3 * len(STAGES))}"
)


def main() -> None:
    chosen = sys.argv[1:]
    tests = [
        test for test in node_tests() if not chosen or any(word in test.name for word in chosen)
    ]
    results = list(run_all(tests, workers=os.cpu_count() or 1))
    write = sys.stdout.write
    write(HEADER.format(version=f"onnx {onnx.__version__}, {len(tests)} cases"))
    write("\n".join([*summary(results), "", COLUMNS, *table(results).values(), ""]))
    for result in sorted(results, key=lambda item: item.case):
        for stage in STAGES:
            outcome = result.outcomes[stage]
            if outcome.verdict == "failed":
                sys.stderr.write(f"{stage} {result.case}: {outcome.reason[:300]}\n")


if __name__ == "__main__":
    main()
