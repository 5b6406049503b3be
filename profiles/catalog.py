"""The catalogue of devices: built-in profiles, the user's own folders, and the detected `host`.

The folders of ``TAPEOUT_PROFILES`` come before the built-in one, and the first that has a name
wins: a user's profile overrides the built-in profile of the same name, and may extend it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ..errors import Problem, ProfileError
from . import host
from .findings import nearest, problems_of, quoted
from .folders import BUILT_IN, FAMILY, listed, parent_of, search_path
from .schema import NAME_PATTERN, Kind, Profile
from .yaml_lines import Node, merge, read

#: The profile that is detected instead of read.
HOST: Final = "host"
#: How many files may inherit from one another.
MAX_CHAIN: Final = 8

_SUFFIXES: Final = (".yaml", ".yml")


def names(kind: Kind | None = None) -> tuple[str, ...]:
    """Return the names in the catalogue, sorted; with `kind`, those of one family of devices.

    Raises:
        ProfileError: a folder of ``TAPEOUT_PROFILES`` is not there, or has a name twice; with
            `kind`, as `profiles` does.
    """
    if kind is not None:
        return tuple(profile.name for profile in profiles(kind))
    return tuple(sorted({HOST, *(name for folder in search_path() for name in listed(folder))}))


def profiles(kind: Kind | None = None) -> tuple[Profile, ...]:
    """Return the catalogue's profiles, sorted by name; with `kind`, those of one family.

    Raises:
        ProfileError: with the problems of every profile that is wrong.
    """
    found: list[Profile] = []
    problems: list[Problem] = []
    for name in names():
        try:
            found.append(load(name))
        except ProfileError as error:
            problems += error.problems
    if problems:  # what is wrong in a family file is told once
        raise ProfileError("profiles in the catalogue are wrong", dict.fromkeys(problems))
    return tuple(profile for profile in found if kind in (None, profile.kind))


def load(name_or_path: str | Path) -> Profile:
    """Return the profile of a device.

    Args:
        name_or_path: a name of the catalogue, or the path of a YAML file (a text is a path if it
            has a separator or ends in ``.yaml`` or ``.yml``).

    Raises:
        ProfileError: no such device (the nearest names are offered), or a wrong profile: every
            problem at once, each with file, line, key and fix.
    """
    path = Path(name_or_path)
    if isinstance(name_or_path, Path) or path.suffix in _SUFFIXES or path.name != name_or_path:
        return _validated(*_resolved(path))
    for folder in search_path():
        if file := listed(folder).get(name_or_path):
            return _validated(*_resolved(file), name=name_or_path)
    if name_or_path == HOST:
        return _validated(_detected(), [])
    near = nearest(name_or_path.lower().replace("_", "-"), names(), cutoff=0.5)
    what = f"no profile is called {quoted(name_or_path)}"
    raise ProfileError(
        "no such device", [Problem("", what, f"{near}; the path of a YAML file works too")]
    )


def from_json(data: Mapping[str, Any], where: str) -> Profile:
    """Return the profile that `Profile.to_json` wrote; `where` names its place in messages.

    Raises:
        ProfileError: with every problem.
    """
    return _validated(Node.of(data, where), [])


def _resolved(file: Path) -> tuple[Node, list[Problem], bool]:
    """Return a profile's nodes with what it inherits, the problems, and whether that is all."""
    root, problems = read(file)
    layers, chain, whole = [root], [file], True
    while whole and (extends := layers[-1].value.pop("extends", None)) is not None:
        try:
            parent = _parent(extends, chain)
            node, faults = read(parent) if parent is not None else (_detected(), [])
        except ProfileError as error:
            problems += error.problems
            whole = False
        else:
            problems += faults
            layers.append(node)
            chain.append(parent or Path(HOST))
    return functools.reduce(merge, layers[::-1]), problems, whole


def _detected() -> Node:
    family, *_ = _resolved(BUILT_IN / FAMILY / f"{host.family()}.yaml")
    return merge(family, Node.of(host.detect(), HOST))


def _parent(extends: Node, chain: list[Path]) -> Path | None:
    """Return the file that the last of `chain` extends; None is the detected host.

    Raises:
        ProfileError: there is no such file, or it closes a circle.
    """
    name, file = extends.value, chain[-1]

    def fault(what: str, fix: str) -> ProfileError:
        problem = Problem(extends.where, f"extends: {what}", fix)
        return ProfileError("the profile cannot be read", [problem])

    if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
        raise fault(f"{quoted(name)} is not a profile's name", "name a file beside this one")
    if len(chain) == MAX_CHAIN:
        raise fault(f"more than {MAX_CHAIN} files inherit from one another", "shorten the chain")
    parent = parent_of(file, name)
    if parent is None and name == HOST:
        return None
    if parent is None:
        if name == file.stem:
            raise fault(f"a circle: {name} extends itself", "name another file")
        fix = f"put {name}.yaml beside {file.name}"
        raise fault(f"there is no {name!r} beside the file or in the catalogue", fix)
    earlier = [file.resolve() for file in chain]
    if parent.resolve() in earlier:
        circle = [*chain[earlier.index(parent.resolve()) :], parent]
        way = " -> ".join(file.stem for file in circle)
        raise fault(f"a circle: {way}", "remove one of these extends")
    return parent


def _validated(
    root: Node, problems: list[Problem], whole: bool = True, name: str | None = None
) -> Profile:
    """Return the profile, or raise ProfileError with `problems` and those of the schema.

    If the nodes are not the `whole` profile (a parent could not be read), what is missing is not
    told. `name` is what the catalogue calls the file.
    """
    own = root.value.get("name")
    if name is not None and own is not None and own.value != name:
        what = f"name: {quoted(own.value)} is not the file's name"
        problems = [*problems, Problem(own.where, what, f"write {name}, or rename the file")]
    try:
        profile = Profile.model_validate(root.plain())
    except ValidationError as error:
        problems = [*problems, *problems_of(error, root, whole)]
    else:
        if whole and not problems:
            return profile
    raise ProfileError(f"the profile {root.file} is wrong", problems)
