"""The JSON Schema that editors read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tapeout.profiles import json_schema
from tapeout.profiles.yaml_lines import read

FOLDER = json_schema.PATH.parent
FILES = sorted(FOLDER.glob("*/*.yaml"))


def test_the_file_is_current():
    stale = "run: python -m tapeout.profiles.json_schema"
    assert json_schema.PATH.read_text(encoding="utf-8") == json_schema.text(), stale


def test_every_reference_leads_somewhere():
    schema = json.loads(json_schema.text())
    references = [part.split('"')[0] for part in json_schema.text().split('"$ref": "#/$defs/')[1:]]
    assert set(references) == set(schema["$defs"])
    assert "Frequency" in references


def test_figures_are_required_whole_and_what_may_be_inherited_is_not():
    schema = json.loads(json_schema.text())
    assert "required" not in schema
    assert "required" not in schema["$defs"]["Cpu"]
    assert schema["$defs"]["Size"]["required"] == ["value", "source"]
    assert schema["$defs"]["Memory"]["required"] == ["name", "size", "bandwidth", "holds"]
    assert "extends" in schema["properties"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_names_the_schema_and_uses_its_keys(path: Path):
    modeline, target = path.read_text().splitlines()[0].split("$schema=")
    assert modeline == "# yaml-language-server: "
    assert (path.parent / target).resolve() == json_schema.PATH
    root, problems = read(path)
    assert not problems
    assert set(root.value) <= set(json.loads(json_schema.text())["properties"])
