from __future__ import annotations

import tomllib

import support

PROJECT = tomllib.loads((support.ROOT / "pyproject.toml").read_text())

#: Folders of the root that hold no part of the package.
APART = {"benchmarks", "build", "dist", "docker", "examples", "tests"}


def test_every_package_of_the_tree_is_listed() -> None:
    folders = {
        file.parent.relative_to(support.ROOT)
        for file in support.ROOT.rglob("__init__.py")
        if not any(
            part in APART or part.startswith(".") for part in file.relative_to(support.ROOT).parts
        )
    }
    found = sorted(".".join(("tapeout", *folder.parts)) for folder in folders)
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == found


def test_every_version_is_pinned() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"].items()
    required = [*project["dependencies"], *(item for _, items in extras for item in items)]
    others = [item for item in required if not item.startswith(f"{project['name']}[")]
    assert [item for item in others if "==" not in item] == []


def test_all_takes_every_extra_of_a_device_family() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    families = ",".join(sorted(extras.keys() - {"all", "dev"}))
    assert extras["all"] == [f"tapeout[{families}]"]
