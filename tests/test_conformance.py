"""ONNX's own node tests: none gives wrong numbers, none of the committed table is lost."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from conformance import table
from conformance_cases import node_tests, operators_of
from conformance_processes import run_all
from conformance_runs import STAGES

import support

pytestmark = pytest.mark.slow

#: The cases are split by operator, so that the parts of the test can run side by side.
PARTS = 16

TABLE = support.ROOT / "tests" / "conformance.md"


@pytest.mark.parametrize("part", range(PARTS))
def test_the_node_tests_go_at_least_as_the_table_says(part: int) -> None:
    operators = operators_of(node_tests())
    mine = sorted(set(operators.values()))[part::PARTS]
    tests = [test for test in node_tests() if operators[test.name] in mine]
    results = list(run_all(tests, workers=1))
    wrong = [
        f"{result.case}: {outcome.reason}"
        for result in results
        for outcome in result.outcomes.values()
        if outcome.verdict == "failed"
    ]
    assert wrong == []
    committed = counts(TABLE.read_text().splitlines())
    for operator, found in counts(table(results).values()).items():
        stated = committed[operator]
        assert found["cases"] == stated["cases"], operator
        for stage in STAGES:
            assert found[stage] >= stated[stage], f"{operator}: fewer pass in {stage}"


def counts(rows: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return how many cases each row of the table has, and how many pass in each stage."""
    found = {}
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if len(cells) > 1 + 3 * len(STAGES) and cells[1].isdecimal():
            passed = map(int, cells[2 : 2 + 3 * len(STAGES) : 3])
            found[cells[0]] = {
                "cases": int(cells[1]),
                **dict(zip(STAGES, passed, strict=True)),
            }
    return found
