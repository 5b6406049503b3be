"""Arrays in ``.npz`` files: read without trust, matched to a model's inputs.

An ``.npz`` is a zip of ``.npy`` files: a header that declares a size may lie, and pickled objects
run code. Both are refused before anything is allocated.
"""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from .errors import Problem, UsageError

#: The key under which labelled data keeps its labels.
LABELS = "labels"

_LIMIT = 8 << 30  # bytes of all arrays of one file together


class Meaning(Protocol):
    """real = scale x (stored - zero_point); one of each."""

    @property
    def scale(self) -> tuple[float, ...]: ...
    @property
    def zero_point(self) -> tuple[int, ...]: ...


class InputSpec(Protocol):
    """What the data must match: a name, a static shape whose first dimension is the batch."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def quantization(self) -> Meaning | None: ...


#: Gives inputs their shapes, from those of the arrays that are there, by name.
Shaped = Callable[[Sequence[InputSpec], Mapping[str, tuple[int, ...]]], Sequence[InputSpec]]


@dataclasses.dataclass(frozen=True)
class Data:
    """Inputs by name, all with the same number of samples, and labels if the file has them."""

    feeds: dict[str, np.ndarray]
    labels: np.ndarray | None


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name; raises UsageError that names the file and the array."""
    try:
        with zipfile.ZipFile(path) as archive:
            problems = _check(archive)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except zipfile.BadZipFile as error:
        raise UsageError(f"{path} is not an .npz file: {error}") from error
    if problems:
        raise UsageError(f"{path} cannot be read", problems)
    with np.load(path, allow_pickle=False) as arrays:
        try:
            return {name: arrays[name] for name in arrays.files}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise UsageError(f"{path} is damaged: {error}") from error


def _check(archive: zipfile.ZipFile) -> list[Problem]:
    problems, total = [], 0
    for info in archive.infolist():
        total += info.file_size
        try:
            with archive.open(info) as stream:
                version = np.lib.format.read_magic(stream)
                read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                    version, np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(stream)
                header = stream.tell()
        except (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile) as error:
            problems.append(Problem(info.filename, f"is not an array: {error}"))
            continue
        declared = dtype.itemsize
        for dim in shape:
            declared *= dim
        if dtype.hasobject:
            problems.append(Problem(info.filename, "holds Python objects", "save plain arrays"))
        elif declared != info.file_size - header:
            problems.append(
                Problem(
                    info.filename, f"declares {declared} bytes but holds {info.file_size - header}"
                )
            )
    if total > _LIMIT:
        problems.append(Problem("", f"{total} bytes of arrays are over the limit of {_LIMIT}"))
    return problems


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays under any names; the same arrays give the same bytes (np.savez keeps a few)."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # has a fixed date
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)


def read_data(
    argument: str,
    inputs: Sequence[InputSpec],
    *,
    labelled: bool = True,
    shaped: Shaped = lambda inputs, shapes: inputs,
) -> Data:
    """Read ``FILE.npz`` or ``FILE.npz:KEY`` as data for a model.

    Without a key the arrays are named as the inputs; with one, the array of that name feeds the
    only input. Labels stand under ``labels``. Unsigned bytes and other numbers are converted to
    the input's floating-point dtype, never the other way; for an input of integers that stand for
    real numbers they are real numbers, which are rounded, unless they have its very dtype.

    Args:
        labelled: whether labels are wanted; else they are ignored, whatever they belong to.
        shaped: gives the inputs their shapes for a file, where these vary.

    Raises:
        UsageError: names every array that is missing, or has the wrong shape, dtype or values.
    """
    path, key = _split(argument)
    arrays = read_npz(path)
    labels = arrays.pop(LABELS, None)
    if not labelled:
        labels = None
    if key is not None:
        if key not in arrays:
            raise UsageError(f"{path} has no array {key!r}; it has: {', '.join(sorted(arrays))}")
        if len(inputs) != 1:
            raise UsageError(
                f"{argument!r} names one array, but the model has {len(inputs)} inputs: "
                f"{', '.join(item.name for item in inputs)}"
            )
        arrays = {inputs[0].name: arrays[key]}
    shapes = {name: array.shape for name, array in arrays.items()}
    feeds = match_inputs(arrays, shaped(inputs, shapes), path.name)
    samples = next(iter(feeds.values())).shape[0] if feeds else 0
    if labels is not None and labels.shape[:1] != (samples,):
        raise UsageError(
            f"{path}: {LABELS!r} has shape {labels.shape}, the inputs have {samples} samples"
        )
    return Data(feeds, labels)


def _split(argument: str) -> tuple[Path, str | None]:
    file, separator, key = argument.rpartition(":")
    if separator and not Path(argument).exists():
        return Path(file), key
    return Path(argument), None


def match_inputs(
    arrays: Mapping[str, np.ndarray], inputs: Sequence[InputSpec], source: str
) -> dict[str, np.ndarray]:
    """Return one array for each input, in its dtype; real numbers are rounded if it has a scale.

    Raises:
        UsageError: an array is missing or does not fit; every problem is named. Arrays that are
            no input are ignored if every input is there.
    """
    problems, feeds = [], {}
    for item in inputs:
        if item.name not in arrays:
            problems.append(Problem(item.name, f"is missing; there are: {sorted(arrays)}"))
            continue
        problem = _mismatch(arrays[item.name], item)
        if problem:
            problems.append(Problem(item.name, problem))
        else:
            feeds[item.name] = _stored(arrays[item.name], item)
    pieces = {
        feeds[item.name].shape[0] // item.shape[0]
        for item in inputs
        if item.name in feeds and item.shape
    }
    if len(pieces) > 1:
        problems.append(
            Problem(
                "",
                f"the inputs have different numbers of samples: "
                f"{ {name: feed.shape[0] for name, feed in feeds.items()} }",
            )
        )
    if problems:
        raise UsageError(f"{source} does not fit the model's inputs", problems)
    return feeds


def _mismatch(array: np.ndarray, item: InputSpec) -> str:
    wanted = np.dtype(item.dtype)
    if array.ndim != len(item.shape) or array.shape[1:] != item.shape[1:]:
        shape = "x".join(["N", *map(str, item.shape[1:])]) if item.shape else "a scalar"
        return f"has shape {array.shape}, the model takes {shape}"
    if item.shape and (array.shape[0] == 0 or array.shape[0] % item.shape[0]):
        return f"has {array.shape[0]} samples, not a multiple of the compiled {item.shape[0]}"
    takes_reals = wanted.kind == "f" or item.quantization is not None
    if array.dtype != wanted and not (takes_reals and array.dtype.kind in "iuf"):
        return f"has dtype {array.dtype}, the model takes {wanted}"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "holds NaN or infinite values"
    return ""


def _stored(array: np.ndarray, item: InputSpec) -> np.ndarray:
    """Return an array that fits in the input's dtype, rounded to its integers if it has such.

    Rounded as QuantizeLinear does it: x / scale in float32, to the nearest, ties to even.
    """
    found = item.quantization
    if found is not None and array.dtype != np.dtype(item.dtype):
        limits = np.iinfo(item.dtype)
        steps = np.rint(array.astype(np.float32) / np.float32(found.scale[0]))
        array = np.clip(steps + found.zero_point[0], limits.min, limits.max)
    return np.ascontiguousarray(array, dtype=item.dtype)


def real_numbers(
    arrays: Mapping[str, np.ndarray], tensors: Sequence[InputSpec]
) -> dict[str, np.ndarray]:
    """Return arrays, by name, with what integers of a scale stand for, in float32."""
    known = {item.name: item.quantization for item in tensors}
    found = {}
    for name, array in arrays.items():
        meaning = known.get(name)
        if meaning is not None:
            steps = array.astype(np.float32) - meaning.zero_point[0]
            array = np.asarray(steps * np.float32(meaning.scale[0]))
        found[name] = array
    return found


def pieces(
    feeds: Mapping[str, np.ndarray], inputs: Sequence[InputSpec]
) -> list[dict[str, np.ndarray]]:
    """Cut stacked inputs into the compiled batches, in order."""
    batch = {item.name: item.shape[0] if item.shape else 1 for item in inputs}
    count = min(
        (feeds[name].shape[0] // size for name, size in batch.items() if feeds[name].ndim),
        default=1,
    )
    return [
        {
            name: feeds[name][index * size : (index + 1) * size]
            if feeds[name].ndim
            else feeds[name]
            for name, size in batch.items()
        }
        for index in range(count)
    ]


def stack(outputs: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join the outputs of pieces along the first dimension, scalars to a vector; one stays."""
    if len(outputs) == 1:
        return dict(outputs[0])
    return {
        name: np.concatenate([np.atleast_1d(piece[name]) for piece in outputs])
        for name in outputs[0]
    }
