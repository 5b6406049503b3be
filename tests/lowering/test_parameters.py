from __future__ import annotations

import pytest

from tapeout.lowering import dialect
from tapeout.lowering.parameters import corrections

import support


@pytest.mark.parametrize(
    ("node", "wanted"),
    [
        ("Concat<axis=-2>(x, x)", "axis = 0, 2 inputs, 1 outputs"),
        ("Elu<alpha=1.0>(x)", "no alpha, 1 inputs, 1 outputs"),
        ("ReduceSum(x, a)", "input 1 = [1], 2 inputs, 1 outputs"),
        ("Clip(x, , )", "1 inputs, 1 outputs"),
        ("Softmax<axis=1>(x)", None),
        ("Elu<alpha=0.1>(x)", None),
    ],
)
def test_says_what_to_correct(node: str, wanted: str | None) -> None:
    model = support.from_text(
        f"g (float[2,3] x) => (float[n,m] y) <int64[1] a = {{-1}}> {{ y = {node} }}"
    )
    found = corrections(model.graph[0])
    assert (None if found is None else str(found)) == wanted


def test_says_nothing_of_other_domains_and_unknown_operators() -> None:
    model = support.from_text("g (float[2,3] x) => (float[2,3] y) { y = Elu<alpha=1.0>(x) }")
    model.graph[0].domain = dialect.DOMAIN
    assert corrections(model.graph[0]) is None
    model.graph[0].domain, model.graph[0].op_type = "", "Pull"
    assert corrections(model.graph[0]) is None
