from __future__ import annotations

import itertools
import json
import subprocess
import sys

import onnx
import pytest

from tapeout.errors import ProfileError
from tapeout.profiles import catalog
from tapeout.targets.tensorrt.enterprise.operators import Table, table_for, tables
from tapeout.targets.tensorrt.enterprise.restrictions import RULES


@pytest.mark.parametrize("table", tables(), ids=lambda table: str(table.version))
def test_tables_speak_of_operators_that_there_are(table: Table) -> None:
    for name in table.dtypes:
        assert onnx.defs.get_schema(name, table.opset, "").name == name
    assert table.restrictions.keys() <= table.dtypes.keys()
    assert len(table.dtypes) > 140


def test_every_rule_is_in_a_table_and_every_name_is_a_rule() -> None:
    named = {rule for table in tables() for rules in table.restrictions.values() for rule in rules}
    assert named == RULES.keys()


def test_lists_have_only_grown() -> None:
    found = tables()
    for older, newer in itertools.pairwise(found):
        assert older.opset <= newer.opset
        assert all(set(older.dtypes[name]) <= set(newer.dtypes[name]) for name in older.dtypes)


@pytest.mark.parametrize(
    ("version", "table"),
    [("10.3.0", "10.3"), ("10.13.3", "10.3"), ("10.15.1", "10.15"), ("11.0", "10.15")],
)
def test_newest_table_that_is_not_newer(version: str, table: str) -> None:
    assert table_for(version).version == table


@pytest.mark.parametrize("version", ["8.6.1", "10.2", "ten"])
def test_version_without_a_table_is_refused(version: str) -> None:
    with pytest.raises(ProfileError, match=version):
        table_for(version)


def test_every_device_s_version_has_a_table() -> None:
    versions = [
        item.version
        for profile in catalog.profiles("gpu")
        for item in profile.runtimes
        if item.name == "tensorrt"
    ]
    assert len(versions) > 5
    assert {table_for(version).version for version in versions} == {"10.3", "10.15"}


def test_parser_of_the_sibling_library_has_the_importers() -> None:
    """TensorRT-RTX brings a newer parser of the same sources: it must have what the lists say."""
    asked = """
import json, sys
import tensorrt_rtx as trt
log = trt.Logger(trt.Logger.ERROR)
parser = trt.OnnxParser(trt.Builder(log).create_network(0), log)
names = json.load(sys.stdin)
print("answer:", json.dumps([name for name in names if not parser.supports_operator(name)]))
"""
    names = sorted(tables()[-1].dtypes)
    command = [sys.executable, "-I", "-c", asked]
    done = subprocess.run(
        command, input=json.dumps(names), capture_output=True, text=True, check=True
    )
    lacking = json.loads(done.stdout.rpartition("answer:")[2])
    assert lacking == ["DeformConv"]  # a plugin, which TensorRT-RTX comes without
