"""ONNX's own node tests: none gives wrong numbers, and the committed table is true."""

from __future__ import annotations

import conformance
import pytest

import support

pytestmark = pytest.mark.slow

#: The cases are split by operator, so that the parts of the test can run side by side.
PARTS = 8

TABLE = support.ROOT / "tests" / "conformance.md"


@pytest.mark.parametrize("part", range(PARTS))
def test_the_node_tests_go_as_the_table_says(part: int) -> None:
    operators = conformance.operators_of(conformance.node_tests())
    mine = sorted(set(operators.values()))[part::PARTS]
    tests = [test for test in conformance.node_tests() if operators[test.name] in mine]
    results = list(conformance.run_all(tests, workers=1))
    wrong = [
        f"{result.case}: {outcome.reason}"
        for result in results
        for outcome in (result.reference, result.tvm)
        if outcome.verdict == "failed"
    ]
    assert wrong == []
    committed = TABLE.read_text().splitlines()
    assert [row for row in conformance.table(results).values() if row not in committed] == []
