"""What builds keep on disk: what steps wrote, by their keys, and the machine code of tools."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: Entries that are kept; those longest unused go first.
KEPT: Final = 64

_KEY: Final = re.compile(r"[0-9a-f]{64}")
_DIGEST: Final = 32  # bytes of SHA-256, at the beginning of an entry


@dataclasses.dataclass(frozen=True)
class Cache:
    """A folder with one file for each key.

    Attributes:
        folder: None keeps nothing.
    """

    folder: Path | None

    def get(self, key: str) -> dict[str, bytes] | None:
        """Return what was put under a key, None if it is not there or was damaged."""
        if self.folder is None:
            return None
        path = self._path(self.folder, key)
        try:
            content = path.read_bytes()
            os.utime(path)  # used last
        except OSError:
            return None
        digest, packed = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(packed).digest() != digest:
            return None
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def put(self, key: str, files: dict[str, bytes]) -> None:
        """Keep files under a key; a folder that cannot be written keeps nothing."""
        if self.folder is None:
            return
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        content = packed.getvalue()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(self.folder, key, hashlib.sha256(content).digest() + content)
        except OSError:  # a home that is not there, read-only or full
            return

    def _write(self, folder: Path, key: str, content: bytes) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            whole = Path(scratch) / "entry"
            whole.write_bytes(content)
            whole.replace(self._path(folder, key))  # at once: others may be reading
        entries = sorted(folder.glob("*.step"), key=lambda path: path.stat().st_mtime)
        for path in entries[:-KEPT]:
            path.unlink(missing_ok=True)

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not a SHA-256")
        return folder / f"{key}.step"


def user_cache() -> Cache:
    """Return the cache of the user who runs this."""
    return Cache(_home() / "fpga")


def _home() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base / "tapeout"


@contextlib.contextmanager
def machine_code(tool: str) -> Iterator[Path]:
    """Yield the folder in which a tool of WebAssembly finds its machine code, or leaves it.

    It takes a minute to make; two that begin together would write to the same file. What a first
    run made is therefore moved to its place as a whole, when the run is over. `YOWASP_CACHE_DIR`
    names another folder.

    Args:
        tool: its package and version.
    """
    if chosen := os.environ.get("YOWASP_CACHE_DIR"):
        yield Path(chosen)
        return
    known = _home() / "tools" / tool
    if known.is_dir():
        yield known
        return
    with tempfile.TemporaryDirectory(dir=_writable(known.parent)) as scratch:
        made = Path(scratch) / tool
        yield made
        with contextlib.suppress(OSError):  # nothing was made, or another run was first
            made.rename(known)


def _writable(folder: Path) -> Path | None:
    """Return a folder that is there, None for the system's own if it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
