"""The deployable artifact on disk: its manifest, its digests, how it is written and opened.

A bundle is a directory, or one uncompressed tar archive of it. It appears whole or not at all:
it is written beside its place and renamed. Every byte of it is covered: the manifest lists the
size and SHA-256 of every other file, is itself in canonical form, and carries its own digest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .budget import Usage
from .errors import Problem, UsageError, VerificationError

if TYPE_CHECKING:
    import onnx_ir as ir

MANIFEST = "manifest.json"
VECTORS = "test_vectors.npz"
GLUE = "run"

_MANIFEST_LIMIT = 64 << 20  # bytes; a manifest is some kilobytes for each hundred nodes
_ARCHIVE_LIMIT = 64 << 30  # bytes of all the members together
_ARCHIVE_MEMBERS = 10_000


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Data):
    """The model that was compiled."""

    file: str
    sha256: str
    opset: int


class Device(_Data):
    """The device: the whole profile, and the digest of it."""

    name: str
    digest: str
    profile: dict[str, Any]


class Runtime(_Data):
    """What loads the engine on the device."""

    name: str
    version: str


class PlanRecord(_Data):
    """The point of the search that was built."""

    runtime: str
    precision: str
    options: dict[str, int | str]


class ConversionRecord(_Data):
    """How the model came to fewer bits, or weights.

    Attributes:
        scheme: empty if the model file was quantized already.
        kept: the nodes that stayed in float, with the reason.
        dense: those whose weights stayed dense where others are sparse, with the reason.
    """

    scheme: str
    kept: dict[str, str]
    dense: dict[str, str] = Field(default_factory=dict)


class Quantization(_Data):
    """real = scale * (stored - zero_point); one entry, or one for each index of `axis`."""

    scale: tuple[float, ...] = Field(min_length=1)
    zero_point: tuple[int, ...] = Field(min_length=1)
    axis: int | None = None


class Tensor(_Data):
    """One input or output, in the engine's argument order."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str | None = None
    quantization: Quantization | None = None

    @classmethod
    def of(cls, value: ir.Value) -> Self:
        """Describe an input or output of an imported model, whose shape is static."""
        if value.name is None or value.shape is None or value.dtype is None:
            raise ValueError(f"the importer left {value} without name, shape or dtype")
        return cls(name=value.name, shape=value.shape.numpy(), dtype=value.dtype.numpy().name)


class RangeRecord(_Data):
    """The shapes that one input may have in one optimization profile."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


class ShapesRecord(_Data):
    """What varies in the shapes of an engine's inputs; what else is told holds at one shape.

    Attributes:
        inputs, outputs: by name, each dimension: its size, its name where it is one that varies,
            None where it follows from those that do.
        profiles: the optimization profiles, in the engine's order: the ranges of every input.
            Inputs and outputs of the manifest have the shapes that the first is tuned for.
        multiples: by dimension, what its sizes must be multiples of.
    """

    inputs: dict[str, tuple[int | str | None, ...]]
    outputs: dict[str, tuple[int | str | None, ...]]
    profiles: tuple[dict[str, RangeRecord], ...] = Field(min_length=1)
    multiples: dict[str, int]


class Artifact(_Data):
    """One file of the bundle; `path` is relative, with forward slashes."""

    path: str
    size: int
    sha256: str


class Manifest(_Data):
    """What a bundle is. `digest` is the SHA-256 of the canonical manifest with an empty digest."""

    format: Literal[1] = 1
    tapeout: str
    status: Literal["compiled", "deferred"]
    model: ModelFile
    device: Device
    runtime: Runtime
    plan: PlanRecord
    passes: str
    conversion: ConversionRecord | None = None
    usage: dict[str, Any]
    budget: dict[str, int | float | None]
    verdict: dict[str, Any]
    tolerance: float = Field(gt=0, description="relative to the largest absolute expected output")
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    shapes: ShapesRecord | None = None
    engine: str
    artifacts: tuple[Artifact, ...]
    toolchain: dict[str, str]
    report: dict[str, Any]
    digest: str = ""

    def canonical(self) -> bytes:
        """Return the one spelling of this manifest: sorted keys, UTF-8, a newline at the end."""
        data = self.model_dump(mode="json")
        if self.shapes is None:
            del data["shapes"]  # unknown to readers that are older than ranges of shapes
        text = json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
        return (text + "\n").encode()

    def sealed(self) -> Self:
        """Return this manifest with its digest filled in."""
        blank = self.model_copy(update={"digest": ""})
        return self.model_copy(update={"digest": hashlib.sha256(blank.canonical()).hexdigest()})


@dataclasses.dataclass(frozen=True)
class Bundle:
    """An opened bundle: a directory whose manifest could be read. Opening runs nothing of it."""

    directory: Path
    manifest: Manifest

    @property
    def engine(self) -> Path:
        return self.directory / self.manifest.engine

    @property
    def usage(self) -> Usage:
        return Usage.from_json(self.manifest.usage)

    def check_digests(self) -> list[Problem]:
        """Return every file that is missing, changed, or not listed."""
        problems = []
        stored = (self.directory / MANIFEST).read_bytes()
        if self.manifest.sealed().canonical() != stored:
            problems.append(Problem(MANIFEST, "its content does not have its digest"))
        listed = {artifact.path: artifact for artifact in self.manifest.artifacts}
        present = set(_files(self.directory)) - {MANIFEST}
        for path in sorted(present | listed.keys()):
            problem = self._check_file(path, listed.get(path), present)
            if problem is not None:
                problems.append(problem)
        return problems

    def _check_file(
        self, path: str, artifact: Artifact | None, present: set[str]
    ) -> Problem | None:
        if artifact is None:
            return Problem(path, "is not listed in the manifest")
        if path not in present:
            return Problem(path, "is missing")
        found = _artifact(self.directory, path)
        if found == artifact:
            return None
        return Problem(
            path,
            f"has {found.size} bytes and sha256 {found.sha256}, "
            f"the manifest says {artifact.size} and {artifact.sha256}",
        )

    def require_digests(self) -> None:
        """Raise VerificationError naming every file whose digest does not hold."""
        if problems := self.check_digests():
            raise VerificationError(f"{self.directory.name} is damaged", problems)


def describe_files(directory: Path) -> tuple[Artifact, ...]:
    """Return every file below a directory but the manifest, sorted by path."""
    paths = (path for path in _files(directory) if path != MANIFEST)
    return tuple(_artifact(directory, path) for path in paths)


def write_manifest(directory: Path, manifest: Manifest) -> Bundle:
    """Write a sealed manifest into a directory and return the bundle."""
    sealed = manifest.sealed()
    (directory / MANIFEST).write_bytes(sealed.canonical())
    return Bundle(directory, sealed)


@contextlib.contextmanager
def staged(output: Path, force: bool) -> Iterator[Path]:
    """Give a fresh directory that becomes `output` when the block ends, and vanishes if it fails.

    An `output` that ends in ``.tar`` becomes a deterministic archive of the directory.

    Raises:
        UsageError: `output` exists and `force` is not given, or it is no bundle.
    """
    if output.exists() or output.is_symlink():
        if not force:
            raise UsageError(f"{output} exists already (give --force to replace it)")
        if not _is_bundle(output):
            raise UsageError(f"{output} exists and is not a bundle: it is not replaced")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as scratch:
        directory = Path(scratch) / "bundle"
        directory.mkdir()
        yield directory
        ready = directory
        if output.suffix == ".tar":
            ready = Path(scratch) / "bundle.tar"
            _pack(directory, ready)
        _put(ready, output, Path(scratch) / "replaced")


def _put(ready: Path, output: Path, aside: Path) -> None:
    if not output.exists():
        ready.rename(output)
        return
    output.rename(aside)
    try:
        ready.rename(output)
    except OSError:
        aside.rename(output)
        raise


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Bundle]:
    """Open a bundle, directory or archive; an archive is unpacked for the time of the block.

    Raises:
        UsageError: there is no bundle at `path`.
        VerificationError: its manifest cannot be read, or the archive leaves its folder.
    """
    if path.is_dir():
        yield _open_directory(path)
    elif path.is_file():
        with tempfile.TemporaryDirectory(prefix="tapeout-") as scratch:
            _unpack(path, Path(scratch))
            yield _open_directory(Path(scratch))
    else:
        raise UsageError(f"there is no bundle at {path}")


def _open_directory(directory: Path) -> Bundle:
    file = directory / MANIFEST
    if not file.is_file():
        raise UsageError(f"{directory} is not a bundle: it has no {MANIFEST}")
    if file.is_symlink() or file.stat().st_size > _MANIFEST_LIMIT:
        raise VerificationError(f"{file} is not a manifest: a link, or over {_MANIFEST_LIMIT} B")
    try:
        manifest = Manifest.model_validate_json(file.read_bytes())
        Usage.from_json(manifest.usage)
    except ValidationError as error:
        raise VerificationError(
            f"the manifest of {directory.name} cannot be read",
            [
                Problem(f"{MANIFEST}: {'.'.join(map(str, item['loc']))}", item["msg"])
                for item in error.errors()
            ],
        ) from error
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise VerificationError(
            f"the manifest of {directory.name} cannot be read",
            [Problem(f"{MANIFEST}: usage", repr(error))],
        ) from error
    paths = [artifact.path for artifact in manifest.artifacts]
    outside = [path for path in [*paths, manifest.engine] if not _stays_inside(path)]
    if outside or manifest.engine not in paths:
        problems = [Problem(MANIFEST, f"{path!r} leaves the bundle") for path in outside]
        if manifest.engine not in paths:
            problems.append(Problem(MANIFEST, f"the engine {manifest.engine!r} is not listed"))
        raise VerificationError(f"the manifest of {directory.name} cannot be trusted", problems)
    return Bundle(directory, manifest)


def _stays_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts


def _is_bundle(path: Path) -> bool:
    if path.is_symlink():
        return False
    if path.is_dir():
        return (path / MANIFEST).is_file()
    with contextlib.suppress(OSError, tarfile.TarError), tarfile.open(path, "r:") as archive:
        return MANIFEST in archive.getnames()
    return False


def _files(directory: Path) -> list[str]:
    """Return every file (and link, which is never followed) below a directory, sorted."""
    found = []
    for folder, folders, names in os.walk(directory):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        found += [
            (Path(folder) / name).relative_to(directory).as_posix() for name in [*names, *links]
        ]
    return sorted(found)


def _artifact(directory: Path, path: str) -> Artifact:
    file = directory / path
    if file.is_symlink():
        return Artifact(path=path, size=0, sha256=f"a link to {str(file.readlink())!r}")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Artifact(path=path, size=file.stat().st_size, sha256=digest)


def _pack(directory: Path, output: Path) -> None:
    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        info.mode = 0o644
        return info

    with tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in _files(directory):
            archive.add(directory / path, path, filter=plain)


def _unpack(path: Path, directory: Path) -> None:
    """Unpack the regular files of an archive; anything else in it is refused."""
    try:
        with tarfile.open(path, "r:") as archive:
            members = []
            for member in archive:
                members.append(member)
                if len(members) > _ARCHIVE_MEMBERS or not member.isfile():
                    raise VerificationError(
                        f"{path.name} is not an archive of a bundle: member {member.name!r}"
                    )
            if sum(member.size for member in members) > min(_ARCHIVE_LIMIT, path.stat().st_size):
                raise VerificationError(f"{path.name} says it holds more than it does")
            archive.extractall(directory, members=members, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise VerificationError(f"{path.name} is not an archive of a bundle: {error}") from error
