"""Running bundles from Python: here, under qemu, and when something is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from engines import Made, library_bundle

from tapeout.errors import MissingToolError, TapeoutError, UsageError
from tapeout.profiles import catalog
from tapeout.targets.tvm import host
from tapeout.targets.tvm.execute import cannot_run, execute

#: Runs when the engine is loaded.
ON_LOAD = "__attribute__((constructor)) static void on_load(void) { %s; }"


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_it_runs_here_with_the_reference_s_numbers(host_bundle: Made) -> None:
    feeds = host_bundle.feeds()
    execution = execute(host_bundle.directory, host_bundle.profile, feeds)
    assert execution.where == "device"
    assert execution.latencies == ()
    assert list(execution.outputs) == ["scores", "total"]
    for name, expected in host_bundle.expected(feeds).items():
        assert_close(execution.outputs[name], expected)


def test_it_runs_in_pieces_and_stacks(host_bundle: Made) -> None:
    feeds = host_bundle.feeds(pieces=3)
    outputs = execute(host_bundle.directory, host_bundle.profile, feeds).outputs
    cuts = [{name: feed[i : i + 2] for name, feed in feeds.items()} for i in (0, 2, 4)]
    expected = [host_bundle.expected(cut) for cut in cuts]
    assert_close(outputs["scores"], np.concatenate([piece["scores"] for piece in expected]))
    assert_close(outputs["total"], np.stack([piece["total"] for piece in expected]))


def test_it_times_every_repeated_inference(host_bundle: Made) -> None:
    execution = execute(host_bundle.directory, host_bundle.profile, host_bundle.feeds(), repeat=7)
    assert len(execution.latencies) == 7
    assert all(latency > 0 for latency in execution.latencies)


def test_its_peak_memory_is_not_that_of_the_process_that_asks(host_bundle: Made) -> None:
    ballast = np.ones(512 << 20, np.uint8)  # resident while the other process starts
    execution = execute(host_bundle.directory, host_bundle.profile, host_bundle.feeds())
    assert 10 << 20 < execution.peak_memory < ballast.nbytes


def test_the_pi_s_code_runs_under_qemu_with_the_reference_s_numbers(pi_bundle: Made) -> None:
    feeds = pi_bundle.feeds(pieces=2)
    assert cannot_run(pi_bundle.profile) is None
    execution = execute(pi_bundle.directory, pi_bundle.profile, feeds, repeat=2)
    assert execution.where == "emulator"
    assert len(execution.latencies) == 2
    first = {name: feed[:2] for name, feed in feeds.items()}
    expected = pi_bundle.expected(first)
    assert_close(execution.outputs["scores"][:2], expected["scores"])
    assert_close(execution.outputs["total"][0], expected["total"])


def test_nothing_of_the_bundle_but_its_engine_runs(
    host_bundle: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(host_bundle.directory, bundle)
    for name in ("run.py", "numpy.py", "tvm_ffi.py", "sitecustomize.py"):
        (bundle / "run" / name).write_text("raise SystemExit('ran what it must not')")
    monkeypatch.setenv("PYTHONPATH", str(bundle / "run"))
    monkeypatch.setenv("TVM_LIBRARY_PATH", str(bundle / "run"))
    monkeypatch.chdir(bundle / "run")
    feeds = host_bundle.feeds()
    outputs = execute(bundle, host_bundle.profile, feeds).outputs
    assert_close(outputs["scores"], host_bundle.expected(feeds)["scores"])


def test_every_misfit_of_the_inputs_is_told(host_bundle: Made) -> None:
    feeds = {"image": np.zeros((3, 3, 8, 8)), "picture": np.zeros((2, 4), np.float32)}
    with pytest.raises(UsageError) as caught:
        execute(host_bundle.directory, host_bundle.profile, feeds)
    assert caught.value.summary == "the inputs do not fit the engine"
    assert [str(problem) for problem in caught.value.problems] == [
        "input 'file' float32 [2, 4] is missing",
        "there is no input 'picture': the inputs are 'image', 'file'",
        "input 'image' float32 [2, 3, 8, 8] is given as float64: convert it",
        "input 'image' float32 [2, 3, 8, 8] is given as [3, 3, 8, 8]: "
        "only the first dimension may differ, by a whole factor",
    ]


@pytest.mark.parametrize("device", ["host", "raspberry-pi-5"])
def test_a_crash_of_the_engine_names_the_signal(device: str, tmp_path: Path) -> None:
    bundle = library_bundle(tmp_path, device, "#include <signal.h>\n" + ON_LOAD % "raise(SIGSEGV)")
    with pytest.raises(TapeoutError, match="crashed with SIGSEGV") as caught:
        execute(bundle.directory, bundle.profile, bundle.feeds())
    assert caught.value.exit_code == 1


def test_an_engine_that_ends_the_program_gives_no_outputs(tmp_path: Path) -> None:
    source = "#include <unistd.h>\n" + ON_LOAD % "_exit(0)"
    bundle = library_bundle(tmp_path, "host", source)
    with pytest.raises(TapeoutError, match="failed with exit code 0"):
        execute(bundle.directory, bundle.profile, bundle.feeds())


def test_a_hanging_engine_is_ended(tmp_path: Path) -> None:
    bundle = library_bundle(
        tmp_path, "host", "#include <unistd.h>\n" + ON_LOAD % "for (;;) pause()"
    )
    with pytest.raises(TapeoutError, match="did not finish in 2 s"):
        execute(bundle.directory, bundle.profile, bundle.feeds(), timeout=2)


def test_a_library_that_is_no_engine_is_told(tmp_path: Path) -> None:
    bundle = library_bundle(tmp_path, "host", "int answer = 42;")
    with pytest.raises(TapeoutError, match=r"engine\.so does not load") as caught:
        execute(bundle.directory, bundle.profile, bundle.feeds())
    assert caught.value.exit_code == 1


def test_outputs_other_than_the_manifest_s_are_told(host_bundle: Made, tmp_path: Path) -> None:
    shutil.copytree(host_bundle.directory, tmp_path / "bundle")
    manifest = tmp_path / "bundle" / "manifest.json"
    declared = json.loads(manifest.read_text())
    declared["outputs"].reverse()
    manifest.write_text(json.dumps(declared))
    with pytest.raises(TapeoutError, match="is not what the manifest declares"):
        execute(tmp_path / "bundle", host_bundle.profile, host_bundle.feeds())


def test_without_the_root_the_commands_are_told(
    pi_bundle: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAPEOUT_ROOTS", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    problem = cannot_run(pi_bundle.profile)
    assert problem is not None
    assert problem.fix == ("apt-get install qemu-user-static && python -m tapeout.targets.tvm.root")
    with pytest.raises(MissingToolError) as caught:
        execute(pi_bundle.directory, pi_bundle.profile, pi_bundle.feeds())
    assert [problem.fix for problem in caught.value.problems] == problem.fix.split(" && ")


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("beaglebone-black", "its code is for armv7a"),
        ("visionfive-2", "its code is for riscv64"),
    ],
)
def test_an_architecture_without_a_runtime_never_runs_here(device: str, reason: str) -> None:
    profile = catalog.load(device)
    problem = cannot_run(profile)
    assert problem is not None
    assert problem.what.startswith(reason)
    with pytest.raises(UsageError, match=reason):
        execute(Path("nowhere"), profile, {})


def test_a_processor_that_lacks_features_does_not_run_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t: cmov cx8 sse sse2\n")
    monkeypatch.setattr(host, "CPUINFO", cpuinfo)
    monkeypatch.setattr(host, "machine", lambda: "x86_64")
    problem = cannot_run(catalog.load("x86-64-v3"))
    assert problem is not None
    assert "avx2, bmi, bmi2, cx16, f16c, fma" in problem.what
