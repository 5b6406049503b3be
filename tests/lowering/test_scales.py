from __future__ import annotations

import numpy as np
import pytest

from tapeout.lowering.scales import scales_of

import support


@pytest.mark.parametrize(
    ("attributes", "scale", "zero", "axis", "block"),
    [
        ("", (), None, None, 0),
        ("<axis=2>", (1,), (1,), None, 0),
        ("<axis=0>", (4,), None, 0, 0),
        ("<axis=-1>", (8,), (8,), 2, 0),
        ("", (6,), (6,), 1, 0),
        ("<axis=1, block_size=3>", (4, 2, 8), (4, 2, 8), 1, 3),
    ],
)
def test_scales_as_they_are_stored(
    attributes: str,
    scale: tuple[int, ...],
    zero: tuple[int, ...] | None,
    axis: int | None,
    block: int,
) -> None:
    constants = {"s": np.full(scale, 0.5, np.float32)}
    if zero is not None:
        constants["z"] = np.full(zero, 3, np.int8)
    kinds = {"s": "float", "z": "int8"}
    given = "".join(
        f", {kinds[name]}[{','.join(map(str, array.shape))}] {name}".replace("[]", "")
        for name, array in constants.items()
    )
    model = support.from_text(
        f"g (int8[4,6,8] q{given}) => (float[4,6,8] y) {{"
        f"y = DequantizeLinear {attributes} (q, {', '.join(constants)}) }}",
        **constants,
    )
    found = scales_of(model.graph.node(0))
    assert found is not None
    assert (found.axis, found.block, found.is_single) == (axis, block, axis is None)
    np.testing.assert_array_equal(found.scale, constants["s"])
    assert (found.zero is None) == (zero is None)


def test_what_is_computed_is_not_known() -> None:
    model = support.from_text("""g (int8[4] q, float s, int8 z) => (float[4] y) <float one = {1}> {
        y = DequantizeLinear(q, one, z)
    }""")
    assert scales_of(model.graph.node(0)) is None
