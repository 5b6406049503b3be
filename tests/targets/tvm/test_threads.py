"""Engines for two threads: how the runtime's threads behave, and that the engines are the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.profiles import catalog
from tapeout.targets.base import Plan
from tapeout.targets.tvm import TARGET
from tapeout.targets.tvm.glue import RUN

import support

#: Runs an engine a few times, and tells what its threads do then: on which processors each may run,
#: and the seconds of processor time that they take in half a second without an inference.
PROGRAM = """
import importlib.util, json, os, sys, time
from pathlib import Path
from types import SimpleNamespace
import numpy as np

spec = importlib.util.spec_from_file_location("engine", sys.argv[1])
code = importlib.util.module_from_spec(spec)
spec.loader.exec_module(code)
allowed = sorted(os.sched_getaffinity(0))
tensor = SimpleNamespace(name="x", shape=(64, 512), dtype=np.dtype(np.float32))
before = len(os.listdir("/proc/self/task"))
engine = code.Engine(Path(sys.argv[2]), [tensor], [tensor], 2)
for _ in range(4):
    engine.run({"x": np.ones((64, 512), np.float32)})
tasks = [int(name) for name in os.listdir("/proc/self/task")]
bound = [task for task in tasks if sorted(os.sched_getaffinity(task)) != allowed]
start = time.process_time()
time.sleep(0.5)
print(json.dumps([len(tasks) - before, len(bound), time.process_time() - start]))
"""


def network() -> ir.Model:
    rng = np.random.default_rng(0)
    return support.from_text(
        "g (float[64,512] x, float[512,512] w) => (float[64,512] y) { y = MatMul(x, w) }",
        w=rng.standard_normal((512, 512)).astype(np.float32),
    )


def built(directory: Path, threads: int) -> Path:
    profile, plan = catalog.load(catalog.HOST), Plan("tvm", "fp32", (("threads", threads),))
    directory.mkdir()
    lowered = TARGET.pipeline(profile, plan).run(network())
    return directory / TARGET.build(lowered, profile, plan, directory, lambda _: None).engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("threads") / "two", threads=2)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the runtime takes one thread a core")
def test_threads_sleep_between_inferences_and_run_where_they_may(engine: Path) -> None:
    """The runtime's own default keeps a processor busy for 0.1 s, and binds threads to others."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TVM_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(RUN / "engine.py"), str(engine)],
        env=clean | {"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    started, bound, busy = json.loads(done.stdout)
    assert (started, bound) == (1, 0)  # the caller computes, too
    assert busy < 0.05


def test_two_builds_are_the_same_and_those_for_one_thread_are_others(
    engine: Path, tmp_path: Path
) -> None:
    assert built(tmp_path / "again", threads=2).read_bytes() == engine.read_bytes()
    assert built(tmp_path / "one", threads=1).read_bytes() != engine.read_bytes()
