from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import canonical
from tapeout.lowering.analysis.roofline import estimate
from tapeout.profiles import catalog
from tapeout.profiles.schema import Profile
from tapeout.targets.tvm import TARGET
from tapeout.targets.tvm.cost import machine_of

import quantized
import support


def network(width: int) -> ir.Model:
    weight = np.ones((width, width), np.float32)
    return support.from_text(
        f"g (float[1,{width}] x, float[{width},{width}] w) => (float[1,{width}] y)"
        " { y = Gemm(x, w) }",
        w=weight,
    )


def seconds(model: ir.Model, profile: Profile) -> float:
    return estimate(model, machine_of(profile), TARGET.sharing).seconds


def with_cpu(profile: Profile, **values: float) -> Profile:
    """Return a profile with other figures of its cores."""
    assert profile.cpu is not None
    changed = {
        name: getattr(profile.cpu, name).model_copy(update={"value": value})
        for name, value in values.items()
    }
    return profile.model_copy(update={"cpu": profile.cpu.model_copy(update=changed)})


def test_time_grows_with_the_work_and_shrinks_with_the_clock() -> None:
    profile = catalog.load("raspberry-pi-5")
    assert seconds(network(1024), profile) > 3.5 * seconds(network(512), profile)
    assert profile.cpu is not None
    faster = with_cpu(profile, clock=2 * profile.cpu.clock.value)
    compute = dataclasses.replace(machine_of(profile), bandwidth=1e15, overhead=0.0)
    doubled = dataclasses.replace(machine_of(faster), bandwidth=1e15, overhead=0.0)
    model = network(256)
    ratio = estimate(model, compute).seconds / estimate(model, doubled).seconds
    assert ratio == pytest.approx(2)


def test_a_machine_for_every_cpu_of_the_catalogue() -> None:
    model = network(64)
    for name in catalog.names():
        profile = catalog.load(name)
        if profile.cpu is not None and "tvm" in {runtime.name for runtime in profile.runtimes}:
            assert 1e-7 < seconds(model, profile) < 1e-2, name


def test_all_is_computed_in_vectors() -> None:
    """Of 128 bits, on this board: four floats at once in each of two units, and 16 integers."""
    profile = catalog.load("raspberry-pi-5")
    scalar = with_cpu(profile, vector_bits=32)
    weight = quantized.Integers(np.ones((512, 512), np.int8), 0.1)
    data = quantized.Integers((16, 512), 0.1)
    model = quantized.network("y = MatMul(x, w)", {"y": data}, x=data, w=weight)
    integers = canonical.integers().run(model)
    text = "g (float[512,512] x, float[512,512] w) => (float[512,512] y) { y = MatMul(x, w) }"
    floats = support.from_text(text, w=np.ones((512, 512), np.float32))
    assert seconds(floats, scalar) / seconds(floats, profile) == pytest.approx(4, rel=0.1)
    one_unit = with_cpu(profile, fma_units=1)
    assert seconds(floats, one_unit) / seconds(floats, profile) == pytest.approx(2, rel=0.1)
    given = profile.compute["int8"]
    assert given.lanes is not None
    lanes = given.lanes.model_copy(update={"value": given.lanes.value / 4})
    without_dots = profile.model_copy(
        update={"compute": profile.compute | {"int8": given.model_copy(update={"lanes": lanes})}}
    )
    ratio = seconds(integers, without_dots) / seconds(integers, profile)
    assert ratio == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize(("device", "faster"), [("raspberry-pi-5", 2), ("raspberry-pi-4b", 1)])
def test_half_precision_is_twice_as_fast_on_cores_that_compute_in_it(
    device: str, faster: float
) -> None:
    machine = dataclasses.replace(machine_of(catalog.load(device)), bandwidth=1e15, overhead=0.0)
    text = "g (float[512,512] x, float[512,512] w) => (float[512,512] y) { y = MatMul(x, w) }"
    models = (
        support.from_text(text.replace("float", dtype), w=np.ones((512, 512), numbers))
        for dtype, numbers in (("float", np.float32), ("float16", np.float16))
    )
    single, half = (estimate(model, machine, TARGET.sharing).seconds for model in models)
    assert single / half == pytest.approx(faster)


def test_the_estimate_says_that_it_is_one() -> None:
    profile = catalog.load("raspberry-pi-5")
    plan = TARGET.plans(profile, "fp32")[0]
    usage = TARGET.estimate(network(64), profile, plan)
    assert usage.latency is not None
    assert {usage.memory.known, usage.storage.known, usage.latency.known} == {"estimated"}
    assert usage.memory.value == sum(figure.value for _, figure in usage.parts)
