"""Recurrent nodes for tests: every attribute and optional input of RNN, GRU and LSTM."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

import support

STEPS, BATCH, INPUTS, HIDDEN = 4, 3, 5, 2
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@dataclasses.dataclass(frozen=True)
class Case:
    """A node: its attributes as text, and which inputs it has: B, H and C (states), P."""

    operator: str
    attributes: str = ""
    inputs: str = "B"
    lengths: tuple[int, ...] | None = None
    steps: int = STEPS

    def model(self, *, computed: bool = False) -> ir.Model:
        """Return the model of the node; `computed`: weights and lengths are inputs, too."""
        both = 'direction="bidirectional"' in self.attributes
        last = "layout=1" in self.attributes
        ways, rows = 2 if both else 1, GATES[self.operator] * HIDDEN
        state = (BATCH, ways, HIDDEN) if last else (ways, BATCH, HIDDEN)
        shapes = {
            "W": (ways, rows, INPUTS),
            "R": (ways, rows, HIDDEN),
            "B": (ways, 2 * rows),
            "L": (BATCH,),
            "H": state,
            "C": state,
            "P": (ways, 3 * HIDDEN),
        }
        rng = np.random.default_rng(0)
        values = {
            name: rng.standard_normal(shape).astype(np.float32)
            for name, shape in shapes.items()
            if name in "WR" + self.inputs
        }
        if self.lengths is not None:
            values["L"] = np.array(self.lengths, np.int32)
        outputs = ["Y", "Yh", "Yc"][: 3 if self.operator == "LSTM" else 2]
        given = ", ".join(name if name in values else "" for name in shapes)
        declared = [
            f"{'int32' if name == 'L' else 'float'}[{','.join(map(str, shapes[name]))}] {name}"
            for name in values
        ]
        x = [BATCH, self.steps, INPUTS] if last else [self.steps, BATCH, INPUTS]
        results = ", ".join(
            f"float[{'?,' * (3 if name == 'Y' else 2)}?] {name}" for name in outputs
        )
        attributes = ", ".join(filter(None, [f"hidden_size={HIDDEN}", self.attributes]))
        return support.from_text(
            f"""g (float[{",".join(map(str, x))}] x, {", ".join(declared)}) => ({results}) {{
                {", ".join(outputs)} = {self.operator}<{attributes}>(x, {given.rstrip(", ")})
            }}""",
            **({} if computed else values),
        )


BOTH = 'direction="bidirectional"'
CASES: dict[str, Case] = {
    "rnn": Case("RNN"),
    "rnn, both ways, of other activations": Case(
        "RNN", f'{BOTH}, activations=["Affine", "ScaledTanh"], activation_alpha=[0.5, 1.7], '
        "activation_beta=[0.1, 0.6]"
    ),
    "rnn, leaky": Case("RNN", 'activations=["LeakyRelu"], activation_alpha=[0.3]'),
    "rnn, backwards, of lengths": Case("RNN", 'direction="reverse"', "BH", (4, 1, 2)),
    "gru": Case("GRU"),
    "gru without a bias": Case("GRU", "", ""),
    "gru, reset late": Case("GRU", "linear_before_reset=1", "BH"),
    "gru, both ways, reset late, clipped": Case("GRU", f"{BOTH}, linear_before_reset=1, clip=0.5"),
    "gru, both ways, of lengths": Case("GRU", BOTH, "BH", (2, 4, 3)),
    "gru, hard": Case("GRU", 'activations=["HardSigmoid", "Softsign"]'),
    "lstm": Case("LSTM"),
    "lstm without a bias": Case("LSTM", "", ""),
    "lstm, both ways, of states and peepholes": Case("LSTM", BOTH, "BHCP"),
    "lstm, backwards, clipped": Case("LSTM", 'direction="reverse", clip=0.4', "BHC"),
    "lstm, of whole lengths": Case("LSTM", "", "B", (4, 4, 4)),
    "lstm, both ways, of lengths": Case("LSTM", BOTH, "BHCP", (1, 4, 2)),
    "lstm, coupled": Case("LSTM", "input_forget=1", "BP"),
    "lstm, of other activations": Case(
        "LSTM", 'activations=["HardSigmoid", "Elu", "Softplus"], activation_alpha=[0.3, 0.7]'
    ),
}  # fmt: skip
