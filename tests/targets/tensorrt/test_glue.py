from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from tapeout.targets.tensorrt import execute
from tapeout.targets.tensorrt.glue import RUN, write_glue

import support


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = tmp_path_factory.mktemp("bundle")
    write_glue(bundle)
    return bundle / RUN.name


def test_every_file_of_the_room_is_in_the_bundle(folder: Path) -> None:
    own = {file.name for file in RUN.iterdir() if file.is_file()} - {"__init__.py"}
    assert {file.name for file in folder.iterdir()} == own | {"run.py", "run.h"}


def test_python_imports_nothing_of_ours_but_what_lies_beside_it(folder: Path) -> None:
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert (node.level, node.module) == (1, None)
                assert [
                    name for name in node.names if not (folder / f"{name.name}.py").exists()
                ] == []
                continue
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.partition(".")[0] for name in names}
            assert roots <= {*sys.stdlib_module_names, "numpy"}, file.name


def test_c_includes_nothing_but_the_libraries_and_what_lies_beside_it(folder: Path) -> None:
    for file in (*folder.glob("*.h"), *folder.glob("*.cc")):
        own = re.findall(r'^#include "(.+)"$', file.read_text(), re.MULTILINE)
        assert [name for name in own if not (folder / name).exists()] == []


def test_the_readme_installs_what_the_extra_pins(folder: Path) -> None:
    project = tomllib.loads((support.ROOT / "pyproject.toml").read_text())["project"]
    pins = [*project["dependencies"], *project["optional-dependencies"]["gpu"]]
    words = re.findall(r"^pip install (.+)$", (folder / "README.md").read_text(), re.MULTILINE)
    assert len(words) == 1
    numpy, runtime, cuda = words[0].split()
    assert numpy in pins
    assert runtime in pins
    assert execute.PACKAGES["cuda.bindings"] == f"pip install {cuda}"
