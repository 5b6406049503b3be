"""Where profiles are: the built-in folder, the user's, and which file a name means in them.

A folder of profiles holds ``NAME.yaml`` files, in it or one level below (``cpu/``, ``gpu/``), and
in ``family/`` what several of them share.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ..errors import Problem, ProfileError

#: Names the folders of the user's profiles, separated as in ``PATH``.
VARIABLE: Final = "TAPEOUT_PROFILES"
BUILT_IN: Final = Path(__file__).resolve().parent
FAMILY: Final = "family"


def search_path() -> tuple[Path, ...]:
    """Return the folders of profiles, the first to be searched first; the built-in one is last.

    Raises:
        ProfileError: ``TAPEOUT_PROFILES`` names what is not a folder.
    """
    user = [Path(entry) for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry]
    fix = f"correct {VARIABLE}, or make the folder"
    problems = [Problem(str(path), "is not a folder", fix) for path in user if not path.is_dir()]
    if problems:
        raise ProfileError(f"{VARIABLE} is wrong", problems)
    return (*user, BUILT_IN)


def listed(folder: Path) -> dict[str, Path]:
    """Return name -> file of the profiles in a folder, without what only families share.

    Raises:
        ProfileError: two files have the same name.
    """
    found: dict[str, Path] = {}
    problems = []
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*/*.yaml")]):
        if path.parent == folder / FAMILY:
            continue
        if path.stem in found:
            what = f"a second profile called {path.stem!r}, beside {found[path.stem]}"
            problems.append(Problem(str(path), what, "rename one"))
        found.setdefault(path.stem, path)
    if problems:
        raise ProfileError("a folder of profiles is wrong", problems)
    return found


def parent_of(file: Path, name: str) -> Path | None:
    """Return the file that `file` means by ``extends: name``, None if there is none.

    It is looked for beside `file`, then in the folder of profiles that `file` is in and in those
    after it, so that a user's file never changes what a built-in profile inherits. `file` itself
    is passed over: a profile may extend its own name, and means the one that it overrides. A link
    that leads out of its folder is passed over too.
    """
    path = search_path()
    own = next((index for index, folder in enumerate(path) if _is_within(file, folder)), 0)
    choices: list[tuple[Path, Path | None]] = [(file.parent, file.parent / f"{name}.yaml")]
    for folder in path[own:]:
        choices.append((folder, folder / FAMILY / f"{name}.yaml"))
        choices.append((folder, listed(folder).get(name)))
    for folder, choice in choices:
        if choice is None or not choice.is_file() or choice.resolve() == file.resolve():
            continue
        if _is_within(choice, folder):
            return choice
    return None


def _is_within(file: Path, folder: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve())
