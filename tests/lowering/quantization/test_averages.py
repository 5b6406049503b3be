from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.quantization.averages import in_reach
from tapeout.lowering.quantization.parameters import Parameters
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme

import support

INT8, POWERS = SCHEMES["int8"], SCHEMES["power-of-two"]
assert isinstance(INT8, Scheme)
assert isinstance(POWERS, Scheme)


def pool(activation: str = "") -> ir.Model:
    text = activation or "y = Identity (g)"
    return support.from_text(
        f"""agraph (float[1,2,4,8] x, float zero) => (float[1,2,1,1] y, float[1,2,4,8] z) {{
          g = GlobalAveragePool (x)
          {text}
          z = Neg (x)
        }}""",
        zero=np.array(0, np.float32),
    )


def of(scale: float) -> Parameters:
    return Parameters(np.array(scale, np.float32), np.array(3, np.int8), ir.DataType.INT8)


def scales(found: Mapping[str, Parameters]) -> dict[str, float]:
    return {name: float(item.scale) for name, item in found.items()}


def test_what_is_in_reach_stays() -> None:
    for x, y in ((1.0, 1.0), (1.0, 1 / 32 / 255), (2.0**-26, 1.0)):
        ranges = {"x": of(x), "g": of(y)}
        found = in_reach(pool(), ranges, INT8)
        assert all(found[name] is ranges[name] for name in ranges)


@pytest.mark.parametrize("value", ["g", "y"])
def test_an_average_is_no_finer_than_that_of_integers(value: str) -> None:
    model = pool("y = Clip (g, zero)" if value == "y" else "")
    found = in_reach(model, {"x": of(0.3), value: of(1e-9)}, INT8)
    assert scales(found) == {
        "x": pytest.approx(0.3),
        value: pytest.approx(0.3 / 32 / 128),
    }
    assert found[value].zero_point == 3


def test_numbers_that_are_nothing_in_the_average_are_coarse() -> None:
    found = in_reach(pool(), {"x": of(1e-18), "g": of(0.5)}, INT8)
    assert scales(found) == {"x": pytest.approx(0.5 * 32 * 2.0**-31), "g": 0.5}


def test_values_that_share_parameters_still_do() -> None:
    shared, other = of(1e-9), of(1e-9)
    found = in_reach(pool(), {"x": of(0.3), "g": shared, "f": shared, "o": other}, INT8)
    assert found["f"] is found["g"]
    assert found["o"] is other
    assert found["g"].scale > 1e-6


def test_powers_of_two_stay_powers_of_two() -> None:
    found = in_reach(pool(), {"x": of(0.25), "g": of(2.0**-40)}, POWERS)
    assert scales(found) == {"x": 0.25, "g": 2.0**-14}
