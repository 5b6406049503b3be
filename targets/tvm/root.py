"""The roots that bundles for another architecture run in, under qemu's user-mode emulation.

    python -m tapeout.targets.tvm.root

prepares them: a minimal Debian with Python, whose packages are only unpacked (an emulated program
needs files, not a configured system), and of PyPI's wheels what ``run.py`` imports. Packages come
from the Debian mirror that apt is configured with, wheels from where pip is. No root rights are
needed. A root is kept below ``$TAPEOUT_ROOTS`` (by default ``$XDG_CACHE_HOME/tapeout/roots``) under
a name that ends in the digest of its recipe; it appears there whole or not at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from ...errors import MissingToolError, Problem

PREPARE: Final = "python -m tapeout.targets.tvm.root"

_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MIRROR: Final = "TAPEOUT_DEBIAN_MIRROR"

#: What is kept of a wheel of which less than all is needed: the compiler is 40 times the runtime.
_KEPT: Final = {"apache-tvm": ("tvm/lib/libtvm_runtime.so", ".dist-info/")}

#: Imports what run.py does, so that a root that cannot run it is not put in place.
_PROBE: Final = (
    "import argparse, json, zipfile, numpy, tvm_ffi.libinfo as info; "
    "info.load_lib_ctypes('apache-tvm', 'tvm_runtime', 'RTLD_GLOBAL')"
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a root is made of; `digest` changes with any of it.

    Attributes:
        emulator: the program of Debian's qemu-user-static.
        architecture: Debian's name of it.
        suite: the Debian release.
        packages: without their dependencies, which apt adds.
        python: the version, major and minor, that `packages` install.
        platform: the tag of the wheels.
        wheels: name and version; their dependencies are listed, too.
    """

    emulator: str
    architecture: str
    suite: str
    packages: tuple[str, ...]
    python: str
    platform: str
    wheels: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        text = json.dumps([dataclasses.asdict(self), _KEPT], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def path(self) -> Path:
        """Where the root is, or would be."""
        return _roots() / f"{self.architecture}-{self.suite}-{self.digest[:16]}"


#: By the architecture of the LLVM triple. PyPI has no runtime for armv7 and riscv64.
RECIPES: Final[Mapping[str, Recipe]] = {
    "aarch64": Recipe(
        emulator="qemu-aarch64-static",
        architecture="arm64",
        suite="bookworm",
        packages=("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6"),
        python="3.11",
        platform="manylinux_2_28_aarch64",
        wheels=(
            ("apache-tvm", "0.27.0.post1"),
            ("apache-tvm-ffi", "0.1.14.post1"),
            ("numpy", "2.4.6"),
            ("typing-extensions", "4.16.0"),
        ),
    )
}


def interpreter(architecture: str) -> list[str]:
    """Return the command that runs Python of an architecture in `RECIPES`, emulated.

    Raises:
        MissingToolError: the emulator or the root is missing; says the commands that install them.
    """
    recipe = RECIPES[architecture]
    if problems := missing(architecture):
        raise MissingToolError(f"{architecture} cannot be emulated here yet", problems)
    return _python(recipe, recipe.path)


def missing(architecture: str) -> list[Problem]:
    """Return what is not installed of what `interpreter` needs."""
    recipe = RECIPES[architecture]
    problems = [] if shutil.which(recipe.emulator) else [_no_emulator(recipe)]
    if not recipe.path.is_dir():
        what = f"there is no {architecture} root at {recipe.path}"
        problems.append(Problem("root", what, PREPARE))
    return problems


def prepare(recipe: Recipe) -> Path:
    """Return the root of a recipe, made first if it is not there; safe to call at the same time.

    Raises:
        MissingToolError: a program it takes is not installed, or a download failed.
    """
    if recipe.path.is_dir():
        return recipe.path
    _require_tools(recipe)
    recipe.path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(recipe.path.with_suffix(".lock")):
        if not recipe.path.is_dir():
            _make(recipe)
    return recipe.path


def _roots() -> Path:
    if chosen := os.environ.get("TAPEOUT_ROOTS"):
        return Path(chosen).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tapeout" / "roots"


def _python(recipe: Recipe, root: Path) -> list[str]:
    python = root / "usr" / "bin" / f"python{recipe.python}"
    return [recipe.emulator, "-L", str(root), "-cpu", "max", str(python)]


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(recipe: Recipe) -> None:
    prefix = f".{recipe.path.name}."
    for abandoned in recipe.path.parent.glob(prefix + "*"):  # by a run that was killed
        shutil.rmtree(abandoned)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=recipe.path.parent) as scratch:
        root = Path(scratch) / "root"
        root.mkdir()
        for package in _download_packages(recipe, Path(scratch) / "apt"):
            _call(["dpkg-deb", "--extract", str(package), str(root)])
        site = root / "usr/local/lib" / f"python{recipe.python}" / "dist-packages"
        for wheel in _download_wheels(recipe, Path(scratch) / "wheels"):
            _unpack_wheel(wheel, site)
        _call([*_python(recipe, root), "-I", "-c", _PROBE])
        root.rename(recipe.path)


def _download_packages(recipe: Recipe, directory: Path) -> list[Path]:
    """Let apt, with a state of its own, resolve, download and check the packages."""
    for part in ("lists/partial", "archives/partial"):
        (directory / part).mkdir(parents=True)
    (directory / "status").touch()
    source = f"deb [signed-by={_KEYRING}] {_mirror(recipe)} {recipe.suite} main\n"
    (directory / "sources.list").write_text(source)
    options = {
        "APT::Architecture": recipe.architecture,
        "APT::Architectures": recipe.architecture,
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
    _call([*apt, "install", "--yes", "--download-only", *recipe.packages])
    return sorted((directory / "archives").glob("*.deb"))


def _mirror(recipe: Recipe) -> str:
    """Return the URI of the Debian mirror that apt is configured with."""
    if chosen := os.environ.get(_MIRROR):
        return chosen
    # Without the release's information, so that no `apt-get update` must have been run before.
    list_sites = ["apt-get", "indextargets", "--no-release-info", "--format", "$(SITE)"]
    wanted = ["Created-By: Packages", f"Release: {recipe.suite}", "Component: main"]
    targets = _call([*list_sites, *wanted])
    if not targets.strip():
        raise MissingToolError(
            f"apt knows no mirror of Debian {recipe.suite}",
            [Problem("apt", "no source of it is configured", f"set {_MIRROR} to a mirror's URI")],
        )
    return targets.splitlines()[0]


def _download_wheels(recipe: Recipe, directory: Path) -> list[Path]:
    wanted = [f"{name}=={version}" for name, version in recipe.wheels]
    tags = ["--python-version", recipe.python, "--platform", recipe.platform]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    _call([*pip, "--no-deps", "--only-binary", ":all:", *tags, "--dest", str(directory), *wanted])
    return sorted(directory.glob("*.whl"))


def _unpack_wheel(wheel: Path, site: Path) -> None:
    kept = _KEPT.get(wheel.name.partition("-")[0].replace("_", "-"))
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if kept is None or any(part in name for part in kept):
                archive.extract(name, site)


def _require_tools(recipe: Recipe) -> None:
    problems = [] if shutil.which(recipe.emulator) else [_no_emulator(recipe)]
    for tool, package in (("apt-get", "apt"), ("dpkg-deb", "dpkg")):
        if shutil.which(tool) is None:
            what = "is not installed: a root is made on Debian or a system derived from it"
            problems.append(Problem(tool, what, f"install the package {package}"))
    if shutil.which("apt-get") and not _KEYRING.is_file():
        fix = "apt-get install debian-archive-keyring"
        problems.append(Problem(str(_KEYRING), "is missing", fix))
    if problems:
        raise MissingToolError(f"the {recipe.architecture} root cannot be made", problems)


def _no_emulator(recipe: Recipe) -> Problem:
    return Problem(recipe.emulator, "is not installed", "apt-get install qemu-user-static")


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


def main() -> int:
    """Prepare every root; prints where each one is."""
    try:
        for recipe in RECIPES.values():
            sys.stdout.write(f"{prepare(recipe)}\n")
    except MissingToolError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
