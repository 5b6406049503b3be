"""The command line as its users meet it: exit codes, messages, nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner, Result

from tapeout.cli import app

import support

MODEL = support.MODELS / "digits_cnn.onnx"


def tapeout(*arguments: str | Path) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, list(map(str, arguments)))


def tapeout_process(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tapeout", *map(str, arguments)], capture_output=True, text=True
    )


def assert_refused(done: Result, code: int, *said: str) -> None:
    assert done.exit_code == code, done.stderr
    for words in said:
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("digits") / "digits.bundle"
    done = tapeout(
        "compile",
        MODEL,
        "--device",
        "host",
        "-o",
        output,
        "--eval",
        f"{support.MODELS / 'digits.npz'}:test",
    )
    assert done.exit_code == 0, done.stderr
    return output


def saved(path: Path, nodes: list[onnx.NodeProto], **inputs: list[int]) -> Path:
    """Write a model of the nodes; its output is the last node's, of the first input's shape."""
    shape = next(iter(inputs.values()))
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
            for name, dims in inputs.items()
        ],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, shape)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


@pytest.mark.parametrize("arguments", [["--help"], ["devices"], ["devices", "show", "host"]])
def test_cheap_commands_import_no_runtime(arguments: list[str]) -> None:
    code = (
        "import sys; from tapeout.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "sys.exit(', '.join({'tvm', 'onnx', 'onnxruntime'} & sys.modules.keys()) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_devices_as_json() -> None:
    listed = json.loads(tapeout("devices", "--kind", "cpu", "--json").stdout)["devices"]
    assert {"host", "raspberry-pi-5", "visionfive-2"} <= {item["name"] for item in listed}


def test_a_phone_shows_its_android_and_what_delegates_reach() -> None:
    shown = {
        line.split()[0]: line
        for line in tapeout("devices", "show", "fairphone-4").stdout.splitlines()
    }
    assert shown["android.api"].split()[1:3] == ["30", "datasheet"]
    assert "gpu, nnapi" in shown["accelerators[adreno-619].delegates"]
    peak = shown["accelerators[adreno-619].compute.float16.peak"]
    assert "819.0 Gop/s" in peak
    assert "assumed" in peak
    listed = tapeout("devices", "--kind", "mobile").stdout
    assert "Fairphone 4 (Snapdragon 750G, Android 11)" in listed


def test_compile_says_what_it_costs_and_how_it_is_known(bundle: Path, tmp_path: Path) -> None:
    done = tapeout("compile", MODEL, "--device", "host", "-o", tmp_path / "x.bundle", "--json")
    result = json.loads(done.stdout)
    assert result["usage"]["memory"]["known"] == "exact"
    assert result["usage"]["storage"]["known"] == "exact"
    assert result["usage"]["latency"]["known"] == "measured"
    assert result["verdict"]["fits"]


def test_run_writes_the_outputs_of_every_sample(bundle: Path, tmp_path: Path) -> None:
    data = support.MODELS / "digits.npz"
    done = tapeout("run", bundle, "--input", f"{data}:test", "-o", tmp_path / "y.npz")
    assert done.exit_code == 0, done.stderr
    logits = np.load(tmp_path / "y.npz")["logits"]
    labels = np.load(data)["labels"]
    assert round(float((logits.argmax(axis=1) == labels).mean()), 4) == 0.9933


def test_verify_counts_the_accuracy(bundle: Path) -> None:
    done = tapeout("verify", bundle, "--data", f"{support.MODELS / 'digits.npz'}:test", "--json")
    found = json.loads(done.stdout)
    assert found["accuracy"] == {"top1": 593 / 597, "correct": 593, "samples": 597}
    assert all(item["holds"] for item in found["numerics"])


def test_bench_reports_percentiles_and_memory(bundle: Path) -> None:
    found = json.loads(tapeout("bench", bundle, "--runs", "20", "--json").stdout)
    latency = found["latency"]
    assert 0 < latency["min"] <= latency["p50"] <= latency["p90"] <= latency["max"]
    assert found["peak_memory"]["value"] > 0


def test_explain_names_the_peak(bundle: Path) -> None:
    done = tapeout("explain", bundle)
    assert done.exit_code == 0, done.stderr
    assert "peak" in done.stdout
    assert json.loads(tapeout("explain", bundle, "--json").stdout)["report"]


@pytest.mark.parametrize(
    ("device", "runtime", "said"),
    [
        ("raspberry-pi-5", "tvm", "give the log that it makes: --tuning FILE, without --tune"),
        ("host", "tflite", "there is nothing to tune"),
    ],
)
def test_what_cannot_be_tuned_is_told(device: str, runtime: str, said: str, tmp_path: Path) -> None:
    where = ["--device", device, "--runtime", runtime, "-o", tmp_path / "x.bundle"]
    done = tapeout("compile", MODEL, *where, "--tune", "4", "--tuning", tmp_path / "log.jsonl")
    assert_refused(done, 2, said)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_give_the_same_bytes(tmp_path: Path) -> None:
    trees = []
    for name in ("a", "b"):
        folder = tmp_path / name / ("deep" if name == "b" else ".")
        folder.mkdir(parents=True, exist_ok=True)
        done = tapeout_process(
            "compile", MODEL, "--device", "raspberry-pi-5", "-o", folder / "x.bundle"
        )
        assert done.returncode == 0, done.stderr
        files = sorted((folder / "x.bundle").rglob("*"))
        trees.append(
            {str(file.relative_to(folder)): file.read_bytes() for file in files if file.is_file()}
        )
    assert trees[0].keys() == trees[1].keys()
    assert [name for name in trees[0] if trees[0][name] != trees[1][name]] == []


def test_verify_notices_a_flipped_byte_in_every_file(bundle: Path) -> None:
    for file in sorted(item for item in bundle.rglob("*") if item.is_file()):
        content = file.read_bytes()
        changed = bytearray(content)
        changed[len(content) // 2] ^= 1
        file.write_bytes(changed)
        assert_refused(tapeout("verify", bundle), 6, file.name)
        file.write_bytes(content)
    assert tapeout("verify", bundle).exit_code == 0


def test_too_little_memory_is_explained_and_nothing_is_written(tmp_path: Path) -> None:
    for command in (["compile", "-o", tmp_path / "x.bundle"], ["check"]):
        done = tapeout(command[0], MODEL, "--device", "host", "--memory", "20KiB", *command[1:])
        assert_refused(done, 4, "peak", "live", "too much")
        assert not list(tmp_path.iterdir())


def test_a_limit_that_cannot_be_met_as_json(tmp_path: Path) -> None:
    done = tapeout(
        "compile",
        MODEL,
        "--device",
        "host",
        "-o",
        tmp_path / "x.bundle",
        "--latency",
        "1us",
        "--json",
    )
    assert done.exit_code == 4
    error = json.loads(done.stdout)["error"]
    assert error["exit_code"] == 4
    assert "latency" in str(error["problems"])


def test_an_existing_bundle_is_kept(bundle: Path) -> None:
    assert_refused(tapeout("compile", MODEL, "--device", "host", "-o", bundle), 2, "--force")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "raspbery-pi-5"], ["raspbery-pi-5", "raspberry-pi-5"]),
        (["--device", "host", "--memory", "12 parsecs"], ["12 parsecs", "MiB"]),
        (["--device", "host", "--latency", "5 KiB"], ["5 KiB", "ms"]),
        (["--device", "host", "--shape", "image=1xNx8"], ["image=1xNx8"]),
        (["--device", "host", "--runtime", "tensorrt"], ["tensorrt", "tvm"]),
        (["--device", "host", "--accuracy-drop", "0.01"], ["--eval"]),
        (["--device", "host", "--eval", "none.npz"], ["none.npz"]),
    ],
)
def test_a_wrong_command_line(tmp_path: Path, arguments: list[str], said: list[str]) -> None:
    done = tapeout("compile", MODEL, "-o", tmp_path / "x.bundle", *arguments)
    assert_refused(done, 2, *said)
    assert not list(tmp_path.iterdir())


def test_a_precision_that_no_runtime_offers(tmp_path: Path) -> None:
    wanted = ("--device", "host", "--runtime", "tvm", "--precision", "int8-dynamic")
    done = tapeout("compile", MODEL, "-o", tmp_path / "x.bundle", *wanted)
    assert_refused(done, 3, "int8-dynamic", "tvm")


def test_int8_borders_of_a_network_in_float(tmp_path: Path) -> None:
    wanted = ("--device", "host", "--precision", "fp32", "--io", "int8")
    done = tapeout("check", MODEL, *wanted)
    assert_refused(done, 2, "--io int8", "--precision int8")


def test_a_profile_with_a_wrong_unit(tmp_path: Path) -> None:
    profile = tmp_path / "board.yaml"
    profile.write_text(
        "extends: raspberry-pi-5\nname: board\ncpu:\n  clock: {value: 2.4 GB, source: datasheet}\n"
    )
    done = tapeout("check", MODEL, "--device", profile)
    assert_refused(done, 2, "board.yaml:4", "2.4 GB", "GHz")


@pytest.mark.parametrize("size", [0, 10, 1000, 40000])
def test_a_truncated_model(tmp_path: Path, size: int) -> None:
    (tmp_path / "x.onnx").write_bytes(MODEL.read_bytes()[:size])
    assert_refused(tapeout("check", tmp_path / "x.onnx", "--device", "host"), 3, "x.onnx")


def test_random_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(np.random.default_rng(0).bytes(5000))
    assert_refused(tapeout("check", tmp_path / "x.onnx", "--device", "host"), 3, "x.onnx")


def test_no_model_there(tmp_path: Path) -> None:
    done = tapeout("check", tmp_path / "x.onnx", "--device", "host")
    assert done.exit_code in (2, 3)
    assert "x.onnx" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cycle(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "second"),
    ]
    done = tapeout("check", saved(tmp_path / "x.onnx", nodes, x=[2]), "--device", "host")
    assert_refused(done, 3, "cycle", "first")


def test_a_missing_initializer(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "weights"], ["y"], "sum")]
    done = tapeout("check", saved(tmp_path / "x.onnx", nodes, x=[2]), "--device", "host")
    assert_refused(done, 3, "weights", "sum")


def test_every_unknown_operator_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Frobnicate", ["x"], ["a"], "one"),
        helper.make_node("Relu", ["a"], ["b"], "two"),
        helper.make_node("Frobnicate", ["b"], ["c"], "three"),
        helper.make_node("Defenestrate", ["c"], ["y"], "four"),
    ]
    done = tapeout("check", saved(tmp_path / "x.onnx", nodes, x=[2]), "--device", "host")
    assert_refused(done, 3, "one", "three", "four", "Frobnicate", "Defenestrate")


def test_external_data_outside_the_folder(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], x=[2])
    model = onnx.load(path)
    tensor = model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    path.write_bytes(model.SerializeToString())
    assert_refused(tapeout("check", path, "--device", "host"), 3, "../../etc/passwd", "w")


def test_a_bomb(tmp_path: Path) -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [10**6, 10**6])
    nodes: list[Any] = [
        helper.make_node("Constant", [], ["s"], value=shape),
        helper.make_node("ConstantOfShape", ["s"], ["big"], "bomb"),
        helper.make_node("ReduceSum", ["big"], ["one"], keepdims=0),
        helper.make_node("Add", ["x", "one"], ["y"]),
    ]
    done = tapeout("check", saved(tmp_path / "x.onnx", nodes, x=[2]), "--device", "host")
    assert_refused(done, 3, "bomb")


def test_a_job_that_is_called_off_cleans_up() -> None:
    code = (
        "import time, tapeout.cli as cli\n"
        "@cli.app.command()\n"
        "def wait():\n"
        "    try:\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "    finally: print('left', flush=True)\n"
        "cli.main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "wait"], stdout=subprocess.PIPE, text=True
    ) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "ready\n"
        job.terminate()
        assert job.stdout.read() == "left\n"
    assert job.returncode == 143
