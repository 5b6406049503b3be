from __future__ import annotations

import dataclasses
from pathlib import Path

import architectures
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tapeout.lowering import canonical
from tapeout.lowering.analysis.roofline import estimate
from tapeout.lowering.importers.onnx import load
from tapeout.profiles import catalog, host
from tapeout.profiles.schema import Profile
from tapeout.targets.base import Plan
from tapeout.targets.tvm import TARGET
from tapeout.targets.tvm.cost import machine_of

import networks
import quantized
import support


def product(width: int) -> ir.Model:
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
    assert seconds(product(1024), profile) > 3.5 * seconds(product(512), profile)
    assert profile.cpu is not None
    faster = with_cpu(profile, clock=2 * profile.cpu.clock.value)
    without_memory = {"bandwidth": 1e15, "caches": (), "overhead": 0.0}
    compute = dataclasses.replace(machine_of(profile), **without_memory)
    doubled = dataclasses.replace(machine_of(faster), **without_memory)
    model = product(256)
    ratio = estimate(model, compute).seconds / estimate(model, doubled).seconds
    assert ratio == pytest.approx(2)


def test_a_machine_for_every_cpu_of_the_catalogue() -> None:
    model = product(64)
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
    toolchain = profile.toolchain.model_copy(update={"cpu": "cortex-a72"})
    without_dots = profile.model_copy(update={"toolchain": toolchain})
    ratio = seconds(integers, without_dots) / seconds(integers, profile)
    assert ratio == pytest.approx(4, rel=0.1)


#: Milliseconds on one thread and on two of a Zen 4, by `benchmarks/cpu.py`.
MEASURED = {
    "digits_cnn": (0.003726, 0.003736),
    "resnet8_cifar10": (0.1158, 0.07453),
    "kws_dscnn": (0.04943, 0.03824),
    "ad_autoencoder": (0.01125, 0.01140),
    "vww_mobilenet": (0.1506, 0.1211),
    "resnet_18": (16.89, 8.839),
    "mobilenet_v2": (6.627, 3.278),
    "u_net": (12.56, 6.290),
    "lstm": (0.09899, 0.09374),
    "bert_4_layers": (8.524, 4.627),
}

GENERATED = {
    "resnet_18": architectures.resnet_18,
    "mobilenet_v2": networks.mobilenet_v2,
    "u_net": lambda: architectures.u_net(128, 32),
    "bert_4_layers": lambda: architectures.encoder(128, 256, 4, 4),
    "lstm": architectures.lstm,
}


FLAGS = (
    "pni ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt xsave avx f16c lahf_lm abm bmi1 avx2 bmi2 "
    "avx512f avx512dq avx512cd avx512bw avx512vl avx512_vnni constant_tsc"
)


@pytest.fixture(scope="module")
def zen4(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Return the profile of the machine that was measured."""
    caches = ((0, 1, "Data", 32), (2, 2, "Unified", 1024), (3, 3, "Unified", 32768))
    folder = "sys/devices/system/cpu/cpu0/cache/index"
    files = {
        "proc/cpuinfo": (
            "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t: 17\n"
            f"model name\t: AMD EPYC\nbogomips\t: 5192.25\nflags\t: {FLAGS}\n"
        )
    }
    for index, level, kind, size in caches:
        files |= {
            f"{folder}{index}/level": str(level),
            f"{folder}{index}/type": kind,
            f"{folder}{index}/size": f"{size}K",
        }
    root = tmp_path_factory.mktemp("zen4")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    family = {"kind": "cpu", "runtimes": [{"name": "tvm", "version": "1"}]}
    return Profile.model_validate({**family, **host.detect(root, "x86_64", (0,))})


@pytest.mark.parametrize("name", MEASURED)
def test_estimates_are_near_what_was_measured(name: str, zen4: Profile, tmp_path: Path) -> None:
    path = support.MODELS / f"{name}.onnx"
    if name in GENERATED:
        path = tmp_path / path.name
        onnx.save(GENERATED[name](), path)
    model = TARGET.pipeline(zen4, Plan("tvm", "fp32", ())).run(load(path, {}))
    for threads, measured in enumerate(MEASURED[name], 1):
        machine = machine_of(zen4, threads)
        estimated = 1e3 * estimate(model, machine, TARGET.sharing).seconds
        assert 1 / 1.25 < estimated / measured < 1.25, threads


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
    usage = TARGET.estimate(product(64), profile, plan)
    assert usage.latency is not None
    assert {usage.memory.known, usage.storage.known, usage.latency.known} == {"estimated"}
    assert usage.memory.value == sum(figure.value for _, figure in usage.parts)
