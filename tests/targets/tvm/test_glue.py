"""What a bundle carries to run its engine."""

from __future__ import annotations

from pathlib import Path

from tapeout.profiles import catalog
from tapeout.targets.process import HEADER
from tapeout.targets.process import RUN as PROGRAM
from tapeout.targets.tvm.glue import RUN, write_glue


def test_the_same_files_for_every_device(tmp_path: Path) -> None:
    for device in ("raspberry-pi-5", "visionfive-2"):
        (tmp_path / device).mkdir()
        write_glue(tmp_path / device, catalog.load(device))
        written = {path.name: path.read_bytes() for path in (tmp_path / device / "run").iterdir()}
        assert sorted(written) == ["README.md", "engine.py", "main.cc", "run.h", "run.py"]
        assert written.pop("run.py") == PROGRAM.read_bytes()
        assert written.pop("run.h") == HEADER.read_bytes()
        assert written == {name: (RUN / name).read_bytes() for name in written}
