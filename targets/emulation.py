"""The roots that bundles for another architecture run in, under qemu's user-mode emulation.

A root is a minimal Debian with Python, whose packages are only unpacked (an emulated program needs
files, not a configured system), and of PyPI's wheels what ``run.py`` and a target's ``engine.py``
import. Packages come from the Debian mirror that apt is configured with, wheels from where pip is.
No root rights are needed. A root is kept below ``$TAPEOUT_ROOTS`` (by default
``$XDG_CACHE_HOME/tapeout/roots``) under a name that ends in the digest of its recipe; it appears
there whole or not at all. The targets hold the recipes, and a command that prepares their roots.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from ..errors import MissingToolError, Problem

_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MIRROR: Final = "TAPEOUT_DEBIAN_MIRROR"

#: What ``run.py`` imports besides its engine's runtime.
_IMPORTS: Final = "import argparse, json, zipfile, numpy"


@dataclasses.dataclass(frozen=True)
class System:
    """The Debian of a root.

    Attributes:
        emulator: the program of Debian's qemu-user-static.
        architecture: Debian's name of it.
        suite: the Debian release.
        packages: without their dependencies, which apt adds.
        python: the version, major and minor, that `packages` install.
        platforms: the tags of the wheels that its C library takes.
    """

    emulator: str
    architecture: str
    suite: str
    packages: tuple[str, ...]
    python: str
    platforms: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where it is without any runtime, or would be."""
        return _roots() / f"{self.architecture}-{self.suite}-{_digest(self)}"


ARM64: Final = System(
    emulator="qemu-aarch64-static",
    architecture="arm64",
    suite="bookworm",
    packages=("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6"),
    python="3.11",
    platforms=("manylinux_2_34_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64"),
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a root is made of; its path changes with any of it.

    Attributes:
        runtime: what it is for.
        command: what prepares it.
        wheels: name and version; their dependencies are listed, too.
        probe: imports the runtime, so that a root that cannot run it is not put in place.
        kept: wheel -> parts of the names of its files, where less than all of them is needed.
    """

    system: System
    runtime: str
    command: str
    wheels: tuple[tuple[str, str], ...]
    probe: str
    kept: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def path(self) -> Path:
        """Where the root is, or would be."""
        system = self.system
        name = f"{self.runtime}-{system.architecture}-{system.suite}-{_digest(self)}"
        return _roots() / name


def interpreter(recipe: Recipe) -> list[str]:
    """Return the command that runs Python of a recipe's architecture, emulated.

    Raises:
        MissingToolError: the emulator or the root is missing; says the commands that install them.
    """
    if problems := missing(recipe):
        raise MissingToolError(
            f"{recipe.system.architecture} cannot be emulated here yet", problems
        )
    return _python(recipe.system, recipe.path)


def missing(recipe: Recipe) -> list[Problem]:
    """Return what is not installed of what `interpreter` needs."""
    problems = [] if shutil.which(recipe.system.emulator) else [_no_emulator(recipe.system)]
    if not recipe.path.is_dir():
        what = f"there is no {recipe.system.architecture} root at {recipe.path}"
        problems.append(Problem("root", what, recipe.command))
    return problems


def prepare(recipe: Recipe) -> Path:
    """Return the root of a recipe, made first if it is not there; safe to call at the same time.

    Raises:
        MissingToolError: a program it takes is not installed, or a download failed.
    """
    if not recipe.path.is_dir():
        _require_tools(recipe.system)
        _in_place(recipe.path, functools.partial(_make_root, recipe))
    return recipe.path


def _in_place(path: Path, make: Callable[[Path, Path], None]) -> None:
    """Let `make` fill a folder, given that and one for its scratch; it appears whole or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path.with_suffix(".lock")):
        if path.is_dir():
            return
        prefix = f".{path.name}."
        for abandoned in path.parent.glob(prefix + "*"):  # by a run that was killed
            shutil.rmtree(abandoned)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as scratch:
            root = Path(scratch) / "root"
            make(root, Path(scratch))
            root.rename(path)


def _digest(recipe: System | Recipe) -> str:
    text = json.dumps(dataclasses.asdict(recipe), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _roots() -> Path:
    if chosen := os.environ.get("TAPEOUT_ROOTS"):
        return Path(chosen).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tapeout" / "roots"


def _python(system: System, root: Path) -> list[str]:
    python = root / "usr" / "bin" / f"python{system.python}"
    return [system.emulator, "-L", str(root), "-cpu", "max", str(python)]


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_root(recipe: Recipe, root: Path, scratch: Path) -> None:
    system = recipe.system
    _in_place(system.path, functools.partial(_make_system, system))
    shutil.copytree(system.path, root, symlinks=True, copy_function=os.link)
    site = root / "usr/local/lib" / f"python{system.python}" / "dist-packages"
    for wheel in _download_wheels(recipe, scratch / "wheels"):
        _unpack_wheel(wheel, site, recipe)
    _call([*_python(system, root), "-I", "-c", f"{_IMPORTS}; {recipe.probe}"])


def _make_system(system: System, root: Path, scratch: Path) -> None:
    root.mkdir()
    for package in _download_packages(system, scratch / "apt"):
        _call(["dpkg-deb", "--extract", str(package), str(root)])


def _download_packages(system: System, directory: Path) -> list[Path]:
    """Let apt, with a state of its own, resolve, download and check the packages."""
    for part in ("lists/partial", "archives/partial"):
        (directory / part).mkdir(parents=True)
    (directory / "status").touch()
    source = f"deb [signed-by={_KEYRING}] {_mirror(system)} {system.suite} main\n"
    (directory / "sources.list").write_text(source)
    options = {
        "APT::Architecture": system.architecture,
        "APT::Architectures": system.architecture,
        "APT::Install-Recommends": "false",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "true",  # nobody else knows this directory
        "Dir::Cache": str(directory),
        "Dir::Cache::archives": str(directory / "archives"),
        "Dir::Etc::sourcelist": str(directory / "sources.list"),
        "Dir::Etc::sourceparts": "-",
        "Dir::State": str(directory),
        "Dir::State::status": str(directory / "status"),
    }
    lines = [f'{name} "{value}";' for name, value in options.items()]
    # What the machine's own apt does after an update is none of this one's business.
    lines += ["#clear APT::Update::Post-Invoke;", "#clear APT::Update::Post-Invoke-Success;"]
    configuration = directory / "apt.conf"
    configuration.write_text("\n".join([*lines, ""]))
    apt = ["apt-get", "--quiet", "--config-file", str(configuration)]
    _call([*apt, "update"])
    _call([*apt, "install", "--yes", "--download-only", *system.packages])
    return sorted((directory / "archives").glob("*.deb"))


def _mirror(system: System) -> str:
    """Return the URI of the Debian mirror that apt is configured with."""
    if chosen := os.environ.get(_MIRROR):
        return chosen
    # Without the release's information, so that no `apt-get update` must have been run before.
    list_sites = ["apt-get", "indextargets", "--no-release-info", "--format", "$(SITE)"]
    wanted = ["Created-By: Packages", f"Release: {system.suite}", "Component: main"]
    targets = _call([*list_sites, *wanted])
    if not targets.strip():
        raise MissingToolError(
            f"apt knows no mirror of Debian {system.suite}",
            [Problem("apt", "no source of it is configured", f"set {_MIRROR} to a mirror's URI")],
        )
    return targets.splitlines()[0]


def _download_wheels(recipe: Recipe, directory: Path) -> list[Path]:
    wanted = [f"{name}=={version}" for name, version in recipe.wheels]
    tags = ["--python-version", recipe.system.python]
    tags += [part for tag in recipe.system.platforms for part in ("--platform", tag)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    _call([*pip, "--no-deps", "--only-binary", ":all:", *tags, "--dest", str(directory), *wanted])
    return sorted(directory.glob("*.whl"))


def _unpack_wheel(wheel: Path, site: Path, recipe: Recipe) -> None:
    kept = dict(recipe.kept).get(wheel.name.partition("-")[0].replace("_", "-"))
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if kept is None or any(part in name for part in kept):
                archive.extract(name, site)


def _require_tools(system: System) -> None:
    problems = [] if shutil.which(system.emulator) else [_no_emulator(system)]
    for tool, package in (("apt-get", "apt"), ("dpkg-deb", "dpkg")):
        if shutil.which(tool) is None:
            what = "is not installed: a root is made on Debian or a system derived from it"
            problems.append(Problem(tool, what, f"install the package {package}"))
    if shutil.which("apt-get") and not _KEYRING.is_file():
        fix = "apt-get install debian-archive-keyring"
        problems.append(Problem(str(_KEYRING), "is missing", fix))
    if problems:
        raise MissingToolError(f"the {system.architecture} root cannot be made", problems)


def _no_emulator(system: System) -> Problem:
    return Problem(system.emulator, "is not installed", "apt-get install qemu-user-static")


def _call(command: Sequence[str]) -> str:
    """Run a program and return what it printed; raises MissingToolError with its complaint."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()[-20:]
        raise MissingToolError(
            f"a step of preparing a root failed with exit code {done.returncode}: "
            f"{' '.join(command)}",
            [Problem("", line) for line in lines],
        )
    return done.stdout


def main(recipes: Iterable[Recipe]) -> int:
    """Prepare the roots of a target; prints where each one is, and returns the exit code."""
    try:
        for recipe in recipes:
            sys.stdout.write(f"{prepare(recipe)}\n")
    except MissingToolError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0
