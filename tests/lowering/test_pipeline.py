from __future__ import annotations

import dataclasses

import onnx_ir as ir
import pytest

from tapeout.errors import Problem, TapeoutError, UsageError
from tapeout.lowering.passes.eliminate_dead_code import EliminateDeadCode
from tapeout.lowering.passes.fold_constants import FoldConstants
from tapeout.lowering.pipeline import Pipeline, pass_name, registry

MODEL = """<ir_version: 13, opset_import: ["": 26]>
g (float[2] x) => (float[2] y) { y = Relu(x) }"""


@dataclasses.dataclass(frozen=True)
class Broken(ir.passes.InPlacePass):
    def call(self, model: ir.Model) -> ir.passes.PassResult:
        raise ZeroDivisionError("of course")


def test_every_pass_is_named_after_its_file() -> None:
    assert registry()
    for name, kind in registry().items():
        assert pass_name(kind) == name
        assert kind.__module__.rpartition(".")[2] == name.replace("-", "_")


def test_every_pass_has_a_default_and_prints_without_it() -> None:
    for name, kind in registry().items():
        # A recipe, say, is data that no text can give: such an option has no default.
        data = {"Calibration", "Pruning", "Recipe"}
        if not any(field.type in data for field in dataclasses.fields(kind)):
            assert str(Pipeline((kind(),))) == name


def test_a_pipeline_goes_through_text() -> None:
    option = dataclasses.fields(FoldConstants)[0].name
    pipeline = Pipeline((EliminateDeadCode(), FoldConstants(**{option: 7})))
    text = str(pipeline)
    assert text == f"eliminate-dead-code,fold-constants{{{option.replace('_', '-')}=7}}"
    assert Pipeline.parse(text) == pipeline
    assert Pipeline.parse(" " + text.replace(",", " , ")) == pipeline
    assert Pipeline.parse("") == Pipeline(())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no-such-pass", "no pass 'no-such-pass'; the passes: "),
        ("eliminate-dead-code{depth=1}", "has no option 'depth'; its options: none"),
        ("fold-constants{limit=many}", "limit='many' is not of type int"),
        ("fold-constants{limit=1", "cannot read the pipeline at 'fold-constants{limit=1'"),
        ("!", "cannot read the pipeline at '!'"),
    ],
)
def test_what_cannot_be_read_is_quoted(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        Pipeline.parse(text)
    assert message in str(raised.value)


def test_a_pass_that_fails_is_named_with_those_before_it() -> None:
    pipeline = Pipeline((EliminateDeadCode(), Broken()))
    with pytest.raises(TapeoutError) as raised:
        pipeline.run(ir.from_onnx_text(MODEL))
    assert str(raised.value) == (
        "pass broken failed: ZeroDivisionError: of course; ran before: eliminate-dead-code"
    )


def test_a_broken_rule_is_charged_to_the_pass_that_broke_it() -> None:
    findings = iter([[], [Problem("node 'y'", "is not allowed")]])
    with pytest.raises(TapeoutError) as raised:
        Pipeline((EliminateDeadCode(), FoldConstants())).run(
            ir.from_onnx_text(MODEL), lambda _: next(findings)
        )
    assert "pass fold-constants failed: it broke the dialect" in str(raised.value)
    assert "node 'y': is not allowed" in str(raised.value)
