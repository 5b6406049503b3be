"""ONNX's own backend node tests through our way: what passes, what is refused and why.

    python tests/conformance.py > tests/conformance.md

Each case is imported, brought through the canonical pipeline, run by the reference and compared
with the outputs that ONNX states; then it is checked, compiled and run for each runtime: or, where
engines cannot run here, built, and what the builder was given is run by the reference. Words
after the command choose the cases that have them in their names.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence

import onnx
from conformance_cases import node_tests
from conformance_processes import Result, run_all
from conformance_runs import STAGES


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
pipeline, and run by ONNX Runtime, the reference; then compiled and run for each runtime. Engines of
TensorRT-RTX cannot run here: one is built for compute capability 8.9, and ONNX Runtime runs what
the builder was given. Made by `python tests/conformance.py > tests/conformance.md`; a test holds
that nothing of it is lost.

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
