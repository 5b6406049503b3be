"""Bundles on this machine; most of it is in `test_cli`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tapeout import bundle as bundles
from tapeout import compiler, runner
from tapeout.budget import Budget
from tapeout.errors import ProfileError

import support

MODEL = support.ROOT / "examples" / "digits_cnn.onnx"


def test_a_profile_of_another_version_is_refused(tmp_path: Path) -> None:
    options = compiler.Options(runtime="tflite")
    job = compiler.prepare(MODEL, "raspberry-pi-5", Budget(), options)
    made = compiler.build(job, tmp_path / "x.bundle").bundle
    profile = {**made.manifest.device.profile, "wings": 2}
    device = made.manifest.device.model_copy(update={"profile": profile})
    changed = made.manifest.model_copy(update={"device": device, "digest": ""})
    other = bundles.write_manifest(made.directory, changed)
    assert (
        json.loads((made.directory / "manifest.json").read_text())["device"]["profile"] == profile
    )
    for command in (runner.verify, lambda bundle: runner.bench(bundle, 1)):
        with pytest.raises(ProfileError, match=r"manifest.json: device.profile[^\n]*wings"):
            command(other)
