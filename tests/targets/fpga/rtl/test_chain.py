"""Products one after another, by one engine, against numpy, to the bit and to the cycle."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from tapeout.targets.fpga.engines import engine
from tapeout.targets.fpga.hardware.design import Folding
from tapeout.targets.fpga.network import reference
from tapeout.targets.fpga.network.chains import chained
from tapeout.targets.fpga.network.graph import Chain, Conv, Network, Tensor, Window
from tapeout.targets.fpga.network.requantize import reach, requantization

import rtl
from stages import FRAMES, assert_timed, case_of

#: numbers in and after each product, folding, bits of the weights
CASES = (
    ((32, 24, 8, 40, 20), Folding(4, 8), 8),
    ((16, 3, 16), Folding(2, 16), 4),
    ((9, 5, 7, 6), Folding(3, 9), 8),
    ((8, 8, 1), Folding(1, 1), 2),
    ((48, 45, 2), Folding(1, 1), 3),  # of the weights, some are behind a row of blocks
    ((4, 17, 4), Folding(4, 4), 8),
)


def product(inputs: int, outputs: int, bits: int, rng: np.random.Generator) -> Conv:
    """Return a product whose sums reach over what int8 holds, by channel more or less."""
    most = (1 << (bits - 1)) - 1
    weights = rng.integers(-most - 1 if bits < 8 else -most, most + 1, (outputs, 1, 1, inputs))
    bias = rng.integers(-3000, 3000, outputs)
    spread = np.sqrt(inputs) * most * 60
    factors = 100 / spread * np.exp(rng.normal(0, 0.7, outputs))
    zero = int(rng.integers(-20, 20))
    low, high = (-128, 127) if rng.random() < 0.5 else (zero, 110)
    how = requantization(factors, reach(weights.astype(np.int8), bias), zero, low, high)
    name = f"product{inputs}x{outputs}_{rng.integers(1 << 30)}"
    output = Tensor(name, 1, 1, outputs)
    return Conv(name, ("",), output, Window(), weights.astype(np.int8), bias, 1, 0, how)


def network(sizes: tuple[int, ...], bits: int, rng: np.random.Generator) -> Network:
    entry = last = Tensor("entry", 1, 1, sizes[0])
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        made = product(inputs, outputs, bits, rng)
        layers.append(Conv(**{**vars(made), "inputs": (last.name,)}))
        last = made.output
    return Network(entry, tuple(layers))


def test_chain_gives_what_its_products_give_in_the_cycles_that_its_rule_says(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    cases = []
    for sizes, folding, bits in CASES:
        apart = network(sizes, bits, rng)
        whole = chained(apart)
        (layer,) = whole.layers
        assert isinstance(layer, Chain)
        data = rng.integers(-128, 128, (FRAMES, 1, 1, sizes[0])).astype(np.int8)
        data[0], data[1] = -128, 127
        assert np.array_equal(reference.run(apart, data), reference.run(whole, data))
        cases.append(case_of(layer, [whole.input], folding, [data]))
        assert folding in engine(layer, whole).foldings(layer, whole)
    assert_timed(cases, rtl.check(cases, tmp_path))


def test_only_products_that_nothing_else_reads_are_chained() -> None:
    apart = network((8, 6, 4, 6), 8, np.random.default_rng(1))
    first, second, third = apart.layers
    assert [type(item) for item in chained(apart).layers] == [Chain]
    branched = Network(apart.input, (first, second, third, Conv(**{**vars(third), "name": "twin"})))
    # What the second gives is read twice: the chain ends there.
    kinds = [(type(item), item.output.name) for item in chained(branched).layers]
    assert kinds[0] == (Chain, second.output.name)
    alone = Network(apart.input, (first,))
    assert chained(alone) is alone
