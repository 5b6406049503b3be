"""The files of ``run/``: which a device gets, what is filled in, and the script beside a phone."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tapeout.profiles import catalog
from tapeout.targets import process
from tapeout.targets.base import Plan
from tapeout.targets.tflite.glue import RUN, filled, write_glue
from tapeout.targets.tflite.plans import DELEGATES

#: What the sources say of a delegate, and nothing else may say.
MARKS = {
    "cpu": {
        "android.sh": ["--use_xnnpack=true"],
        "README.md": ["com.google.ai.edge.litert:litert:2.3.0"],
    },
    "nnapi": {
        "Engine.kt": ["import org.tensorflow.lite.nnapi.NnApiDelegate\n", ".setUseNnapiCpu(false)"],
        "Engine.java": ["import org.tensorflow.lite.nnapi.NnApiDelegate;", "delegate.close();"],
        "main.cc": ["TfLiteNnapiDelegateCreate", "max_number_delegated_partitions = 3;"],
        "android.sh": ["--use_nnapi=true", "--disable_nnapi_cpu=true"],
    },
    "gpu": {
        "Engine.kt": [".isDelegateSupportedOnThisDevice", "import org.tensorflow.lite.gpu."],
        "Engine.java": ["isDelegateSupportedOnThisDevice()", "new GpuDelegateFactory("],
        "main.cc": ["TfLiteGpuDelegateV2Create", "max_delegated_partitions = 1;"],
        "android.sh": ["--use_gpu=true", "--max_delegated_partitions=1"],
        "README.md": ["com.google.ai.edge.litert:litert-gpu:1.4.2", "litert-gpu-1.4.2.aar"],
    },
}

#: How the sources say that precision may be lost, by delegate.
LOSS = {
    "nnapi": {"Engine.kt": ".setAllowFp16({})", "Engine.java": ".setAllowFp16({})",
              "main.cc": "allow_fp16 = {};", "android.sh": "--nnapi_allow_fp16={}"},
    "gpu": {"Engine.kt": ".setPrecisionLossAllowed({})", "main.cc": "kLoss = {};",
            "Engine.java": ".setPrecisionLossAllowed({})",
            "android.sh": "--gpu_precision_loss_allowed={}"},
}  # fmt: skip


def written(folder: Path, device: str, plan: Plan) -> dict[str, str]:
    """Return the files that a bundle for a device gets."""
    folder.mkdir()
    write_glue(folder, catalog.load(device), plan, "2.9.0")
    return {path.name: path.read_text() for path in sorted((folder / "run").iterdir())}


def for_phone(folder: Path, delegate: str, precision: str = "int8") -> dict[str, str]:
    options = (("threads", 4), ("delegate", delegate))
    return written(folder, "pixel-6", Plan("tflite", precision, options))


def test_linux_gets_programs_and_a_phone_sources_of_an_app(tmp_path: Path) -> None:
    linux = written(tmp_path / "pi", "raspberry-pi-5", Plan("tflite", "fp32", (("threads", 2),)))
    assert list(linux) == ["README.md", "engine.py", "main.cc", "run.h", "run.py"]
    assert linux["run.py"] == process.RUN.read_text()
    assert linux["engine.py"] == (RUN / "engine.py").read_text()
    phone = for_phone(tmp_path / "phone", "gpu")
    assert list(phone) == [
        "Engine.java", "Engine.kt", "README.md", "android.sh", "main.cc", "run.h",
    ]  # fmt: skip
    assert linux["run.h"] == phone["run.h"] == process.HEADER.read_text()
    assert "kThreads = 2;" in linux["main.cc"]
    assert "TensorFlow Lite 2.9.0 or newer" in linux["README.md"]


@pytest.mark.parametrize("delegate", ["cpu", *DELEGATES])
def test_each_source_sets_up_the_planned_delegate_and_no_other(
    tmp_path: Path, delegate: str
) -> None:
    files = for_phone(tmp_path / "one", delegate)
    assert files == for_phone(tmp_path / "again", delegate)
    for item, marks in MARKS.items():
        for name, texts in marks.items():
            for text in texts:
                assert (text in files[name]) == (item == delegate), (name, text)
    for name, text in files.items():
        assert re.search(r"@[A-Z]+@|^\s*(//|#|<!--)(\[\w|\])", text, re.MULTILINE) is None, name
    assert "setNumThreads(4)" in files["Engine.kt"]
    assert "setNumThreads(4)" in files["Engine.java"]
    assert "kThreads = 4;" in files["main.cc"]


@pytest.mark.parametrize("delegate", DELEGATES)
@pytest.mark.parametrize(
    ("precision", "loss"), [("fp32", "false"), ("fp16", "true"), ("int8", "true")]
)
def test_a_delegate_keeps_float32_where_it_is_promised(
    tmp_path: Path, delegate: str, precision: str, loss: str
) -> None:
    files = for_phone(tmp_path / "x", delegate, precision)
    for name, text in LOSS[delegate].items():
        assert text.format(loss) in files[name]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("//[gpu\n//[cpu\n//]\n//]\n", "a part within a part"),
        ("x\n//]\n", "ends before it starts"),
        ("//[gpu nnapi\n", "does not end"),
    ],
)
def test_a_broken_template_is_not_filled(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        filled(template, Plan("tflite", "fp32"), "1.5.0")


def test_a_delegate_that_nothing_sets_up_is_refused() -> None:
    with pytest.raises(ValueError, match="'hexagon'"):
        filled("", Plan("tflite", "fp32", (("delegate", "hexagon"),)), "1.5.0")


#: A phone in a folder: what is pushed lands there, and the shell runs here.
ADB = """#!/bin/sh
case $1 in
  get-state) echo device ;;
  push) cp "$2" "$PHONE$3" ;;
  shell) shift; exec sh -c "$(printf %s "$*" | sed "s|/data/|$PHONE/data/|g")" ;;
esac
"""


def run_script(
    tmp_path: Path, delegate: str, adb: str, arguments: Sequence[str | Path]
) -> subprocess.CompletedProcess[str]:
    """Run the script of a bundle that lies in a folder whose name a shell would take apart."""
    bundle = tmp_path / "my $(touch evil) 'bundle'"
    for_phone(bundle, delegate)
    (bundle / "model.tflite").write_bytes(b"TFL3")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in {"adb": adb, "getprop": '#!/bin/sh\necho "<$1>"\n'}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(stat.S_IRWXU)
    (tmp_path / "phone" / "data" / "local" / "tmp").mkdir(parents=True)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", bundle / "run" / "android.sh", *arguments],
        env={"PATH": path, "PHONE": str(tmp_path / "phone")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert list(tmp_path.rglob("evil")) == []
    return done


@pytest.mark.parametrize(
    ("delegate", "flags"),
    [
        ("cpu", "--use_xnnpack=true"),
        (
            "nnapi",
            "--use_nnapi=true --max_delegated_partitions=3 --disable_nnapi_cpu=true "
            "--nnapi_allow_fp16=true",
        ),
        (
            "gpu",
            "--use_gpu=true --max_delegated_partitions=1 --gpu_precision_loss_allowed=true "
            "--gpu_inference_for_sustained_speed=true",
        ),
    ],
)
def test_the_script_measures_on_the_phone_that_adb_reaches(
    tmp_path: Path, delegate: str, flags: str
) -> None:
    benchmark = tmp_path / "the benchmark"
    benchmark.write_text('#!/bin/sh\nhead -c4 "${1#--graph=}"\necho " $@"\nexit 7\n')
    done = run_script(tmp_path, delegate, ADB, [benchmark, "30"])
    assert done.returncode == 7, done.stderr
    assert "<ro.product.model>, Android API level <ro.build.version.sdk>" in done.stdout
    graph = f"--graph={tmp_path}/phone/data/local/tmp/tapeout/model.tflite"
    expected = f"TFL3 {graph} --num_threads=4 --warmup_runs=3 --num_runs=30 {flags}"
    assert done.stdout.splitlines()[-1] == expected


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "usage: android.sh BENCHMARK_MODEL [RUNS]"),
        (["nothing"], 2, "there is no file nothing"),
        (["here", "0; touch evil"], 2, "RUNS is a number of 1 or more, not 0; touch evil"),
        (["here", "5"], 5, "adb reaches no phone"),
    ],
)
def test_the_script_says_what_is_missing(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    (tmp_path / "here").write_text("")
    done = run_script(tmp_path, "cpu", "#!/bin/sh\nexit 1\n", arguments)
    assert done.returncode == code
    assert message in done.stderr
