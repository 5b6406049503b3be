"""The JSON Schema of a profile's YAML file, from which editors complete and check.

It is derived from `schema.Profile`; after a change there,

    python -m tapeout.profiles.json_schema

writes it anew beside this module.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from .schema import NAME_PATTERN, Profile

PATH: Final = Path(__file__).resolve().parent / "profile.schema.json"

#: What a file may leave out, since the file that it extends can say it.
_INHERITED: Final = (
    *("Cpu", "Gpu", "Pcie", "Fpga", "BlockRam", "Board"),
    *("Toolchain", "Android", "DefaultBudget", "Limits"),
)


def text() -> str:
    """Return the schema as it stands in the file."""
    schema = Profile.model_json_schema()
    definitions = schema.pop("$defs")
    # pydantic names a figure after its whole annotation; its title is the short name.
    names = {name: body["title"] for name, body in definitions.items()}
    schema["$defs"] = {names[name]: body for name, body in sorted(definitions.items())}
    for body in (schema, *(schema["$defs"][name] for name in _INHERITED)):
        body.pop("required", None)
    schema["properties"]["extends"] = {
        "type": "string",
        "pattern": NAME_PATTERN,
        "description": "A file to inherit from: beside this one, or in a catalogue or its family/.",
    }
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(_renamed(schema, names), indent=2, sort_keys=True) + "\n"


def _renamed(node: Any, names: dict[str, str]) -> Any:
    """Return `node` with every reference to a definition under its short name."""
    if isinstance(node, dict):
        return {
            key: f"#/$defs/{names[value.removeprefix('#/$defs/')]}"
            if key == "$ref"
            else _renamed(value, names)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_renamed(item, names) for item in node]
    return node


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
