from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tapeout.budget import Budget
from tapeout.errors import MissingToolError
from tapeout.lowering.passes.convert_precision import ConvertPrecision
from tapeout.profiles import catalog
from tapeout.targets.base import Plan, Precision, targets
from tapeout.targets.tvm import TARGET

import support


def test_the_registry_finds_it_and_tvm_is_not_imported_for_that() -> None:
    assert targets()["tvm"] is TARGET
    program = (
        "import sys, tapeout.targets.tvm; assert not {'tvm', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("device", "precision", "offered"),
    [
        # The Pi 5's cores compute in half precision, the Pi 4's do not.
        ("raspberry-pi-5", "auto", ["fp32", "int8", "fp16"]),
        ("raspberry-pi-4b", "auto", ["fp32", "int8"]),
        ("raspberry-pi-4b", "fp16", ["fp16"]),
        ("raspberry-pi-5", "fp32", ["fp32"]),
        ("raspberry-pi-5", "int8", ["int8"]),
    ],
)
def test_plans_are_those_of_the_precision(
    device: str, precision: Precision, offered: list[str]
) -> None:
    profile = catalog.load(device)
    every = TARGET.plans(profile, precision)
    plans = [plan for plan in every if not plan.on_request]
    assert {tuple(plan.on_request) for plan in every} == {(), ("convolutions",)}
    both = [(name, threads) for name in offered for threads in (1, 4)]
    assert plans == [Plan("tvm", name, (("threads", threads),)) for name, threads in both]
    schemes = [TARGET.scheme(profile, plan) for plan in plans]
    known = {"fp32": None, "int8": "int8-tables", "fp16": "fp16"}
    assert schemes == [known[name] for name, _ in both]


def test_a_device_with_one_core_has_plans_of_one_thread() -> None:
    plans = TARGET.plans(catalog.load("beaglebone-black"), "auto")
    assert {plan.threads for plan in plans} == {1}


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    TARGET.require()
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ziglang" else found(name)
    )
    with pytest.raises(MissingToolError) as caught:
        TARGET.require()
    assert [problem.where for problem in caught.value.problems] == ["ziglang"]
    assert caught.value.problems[0].fix == "pip install 'tapeout[cpu]'"


def test_a_build_leaves_the_engine_and_its_glue(tmp_path: Path) -> None:
    profile = catalog.load("visionfive-2")
    plan = TARGET.plans(profile, "fp32")[0]
    model = support.from_text(
        """g (float[1,3,8,8] x, float[4,3,3,3] w, int64[36] t, int64[2] n) => (float y) {
            c = Conv (x, w)
            s = Reshape (c, n)
            l = SoftmaxCrossEntropyLoss (s, t)
            y = Exp (l)
        }""",
        w=np.ones((4, 3, 3, 3), np.float32),
        n=np.array([36, 4]),
    )
    lowered = TARGET.pipeline(profile, plan).run(model)
    assert TARGET.check(lowered, profile, plan) == []
    lines: list[str] = []
    built = TARGET.build(lowered, profile, plan, tmp_path, lines.append)
    assert built.engine == "engine.so"
    assert built.status == "compiled"
    assert set(built.toolchain) == {"apache-tvm", "apache-tvm-ffi", "ziglang"}
    assert {path.name for path in tmp_path.iterdir()} == {"engine.so", "engine.weights", "run"}
    files = [tmp_path / "engine.so", tmp_path / "engine.weights"]
    assert built.usage.storage.value == sum(file.stat().st_size for file in files)
    assert [name for name, _ in built.usage.parts] == [
        "weights",
        "workspace",
        "scratch",
        "inputs and outputs",
    ]
    assert len(lines) == 2


@pytest.mark.parametrize(("precision", "size", "times"), [("fp32", 4, 4), ("fp16", 2, 16 / 9)])
def test_a_tight_budget_takes_the_weights_of_convolutions_as_they_are(
    precision: Precision, size: int, times: float, tmp_path: Path
) -> None:
    """Those for fewer multiplications are up to four times as many."""
    profile = catalog.load("raspberry-pi-5")
    plan = TARGET.plans(profile, precision)[0]
    model = support.from_text(
        """g (float[1,64,16,16] x, float[64,64,3,3] w) => (float[1,64,16,16] y) {
            y = Conv <pads = [1, 1, 1, 1]> (x, w)
        }""",
        w=np.ones((64, 64, 3, 3), np.float32),
    )
    if precision == "fp16":
        model = ConvertPrecision()(model).model
    lowered = TARGET.pipeline(profile, plan).run(model)
    assert profile.cpu is not None
    assert profile.cpu.l2 is not None
    inside, plain = int(profile.cpu.l2.value), 64 * 64 * 9 * size
    needed = int(TARGET.estimate(lowered, profile, plan).memory.value) + inside
    assert TARGET.settled(lowered, profile, plan, Budget()) == plan
    assert TARGET.settled(lowered, profile, plan, Budget(memory=needed)) == plan
    direct = TARGET.settled(lowered, profile, plan, Budget(memory=needed - 1))
    assert dict(direct.options) == {"threads": 1, "convolutions": "direct"}
    assert direct.on_request == {"convolutions"}
    weights = {}
    for item in (plan, direct):
        folder = tmp_path / str(len(item.options))
        folder.mkdir()
        built = TARGET.build(lowered, profile, item, folder, lambda _: None)
        weights[item] = dict(built.usage.parts)["weights"].value
    assert weights[direct] == plain
    assert plain < weights[plan] <= times * plain
