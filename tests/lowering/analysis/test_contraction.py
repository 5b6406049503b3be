"""Einsum, contracted pairwise from the left."""

from __future__ import annotations

import pytest

from tapeout.lowering.analysis.contraction import einsum_macs


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("ij,jk->ik", [(2, 3), (3, 5)], 2 * 3 * 5),
        ("ij,jk", [(2, 3), (3, 5)], 2 * 3 * 5),  # the output i, k is implied
        (" b i j , b j k -> b i k ", [(7, 2, 3), (7, 3, 5)], 7 * 2 * 3 * 5),
        ("...ij,...jk->...ik", [(4, 7, 2, 3), (7, 3, 5)], 4 * 7 * 2 * 3 * 5),
        ("...ij,...jk", [(4, 2, 3), (1, 3, 5)], 4 * 2 * 3 * 5),
        ("i,j->ij", [(2,), (3,)], 6),  # an outer product
        ("i,i->", [(9,), (9,)], 9),
        # (ij, jk) costs 2*3*5 and leaves ik; (ik, kl) costs 2*5*7.
        ("ij,jk,kl->il", [(2, 3), (3, 5), (5, 7)], 2 * 3 * 5 + 2 * 5 * 7),
        ("ij->ji", [(2, 3)], 0),
        ("ij->i", [(2, 3)], 6),
        ("ii->", [(4, 4)], 4),  # a trace walks the diagonal
        ("ij,jk->ik", [(2, 0), (0, 5)], 0),
    ],
)
def test_cost(equation: str, shapes: list[tuple[int, ...]], macs: int) -> None:
    assert einsum_macs(equation, shapes) == macs
