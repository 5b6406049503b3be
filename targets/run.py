"""Run the engine of a bundle with nothing but numpy and the engine's own runtime.

    python run.py --input x.npz --output y.npz [--repeat N] [--stats stats.json] [--bundle DIR]

`x.npz` holds one array for each input, under its name; `y.npz` gets one for each output, as the
engine gives it. Real numbers for an int8 input are rounded as the manifest says. A leading
dimension that is a multiple of the compiled one is run in pieces, and the outputs are stacked.

The exit code is 0 when it is done, 2 when the command line or an input is wrong, 5 when the runtime
is not installed, 6 when the engine is not what the manifest says, or for another device, and 1 when
the bundle is broken or its engine fails. README.md, beside this file, says what to install;
engine.py loads the runtime.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import sys
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

HERE = Path(__file__).resolve().parent

#: Inferences before the first timed one: caches, page tables and the thread pool are warm then.
WARM_UP = 3


class RunError(Exception):
    """Why nothing was written: a summary, every problem found, and the exit code."""

    def __init__(self, code: int, summary: str, problems: Sequence[str] = ()) -> None:
        self.code = code
        super().__init__("\n  ".join([summary, *problems]))


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output of the engine, as the manifest declares it.

    Integers with a `scale` stand for real numbers: scale x (integer - zero point).
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float | None = None
    zero_point: int = 0

    @classmethod
    def read(cls, item: Mapping[str, Any]) -> Tensor:
        """Read an entry of the manifest."""
        shape = tuple(int(dim) for dim in item["shape"])
        plain = cls(str(item["name"]), shape, np.dtype(item["dtype"]))
        meaning = item.get("quantization")
        if not meaning:
            return plain
        scale, zero = float(meaning["scale"][0]), int(meaning["zero_point"][0])
        return dataclasses.replace(plain, scale=scale, zero_point=zero)

    def stored(self, array: np.ndarray) -> np.ndarray:
        """Return an array for an input, real numbers rounded to the integers that stand for them.

        As ONNX's QuantizeLinear does it: to the nearest, ties to even. Raises RunError for what is
        no number.
        """
        if self.scale is None or array.dtype == self.dtype or array.dtype.kind not in "iuf":
            return array
        if not np.isfinite(array).all():
            raise RunError(2, f"input {self} is given NaN or infinite values")
        limits = np.iinfo(self.dtype)
        steps = np.rint(array.astype(np.float32) / np.float32(self.scale)) + self.zero_point
        return np.asarray(np.clip(steps, limits.min, limits.max), self.dtype)

    def __str__(self) -> str:
        return f"{self.name!r} {self.dtype} {list(self.shape)}"


@dataclasses.dataclass(frozen=True)
class Varying:
    """What varies in the shapes of an engine, as the manifest declares it.

    Attributes:
        dims: of each tensor its sizes, a name where one varies, None where it follows from those.
        profiles: optimization profiles: the least and the largest shape of each input.
        multiples: what the size of a dimension must be a multiple of.
    """

    dims: Mapping[str, Sequence[int | str | None]]
    profiles: Sequence[Mapping[str, tuple[Sequence[int], Sequence[int]]]]
    multiples: Mapping[str, int]

    @classmethod
    def read(cls, item: Mapping[str, Any]) -> Varying:
        """Read the manifest's entry."""
        profiles = [
            {name: (limits["min"], limits["max"]) for name, limits in profile.items()}
            for profile in item["profiles"]
        ]
        return cls({**item["inputs"], **item["outputs"]}, profiles, item["multiples"])

    def problems(self, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
        """Return why the engine does not take inputs of these shapes, or give such outputs."""
        sizes: dict[str, int] = {}
        found = []
        for name, shape in shapes.items():
            dims = self.dims[name]
            if len(dims) != len(shape):
                found.append(f"{name!r} is given as {list(shape)}, it has {len(dims)} dimensions")
                continue
            for dim, size in zip(dims, shape, strict=True):
                known = sizes.setdefault(dim, size) if isinstance(dim, str) else dim
                if known not in (None, size):
                    found.append(f"{name!r} is given as {list(shape)}: {size} is not {known}")
        found += [
            f"{dim} is {sizes[dim]}, not a multiple of {step}"
            for dim, step in self.multiples.items()
            if sizes.get(dim, 0) % step
        ]
        return found

    def takes(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Return whether it takes inputs of these shapes, which are those of all inputs."""
        return not self.problems(shapes) and self.holds(shapes)

    def holds(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Return whether one optimization profile holds inputs of these shapes."""
        return any(
            all(
                low <= size <= high
                for name, limits in profile.items()
                for low, size, high in zip(limits[0], shapes[name], limits[1], strict=True)
            )
            for profile in self.profiles
        )

    def __str__(self) -> str:
        return "; ".join(
            ", ".join(f"{name!r} {low}..{high}" for name, (low, high) in profile.items())
            for profile in self.profiles
        )


@dataclasses.dataclass(frozen=True)
class Bundle:
    """What the manifest says about running the engine.

    `threads` is None where it says nothing, `varying` where all shapes are static. Where they are
    not, inputs and outputs have the usual ones.
    """

    engine: Path
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    threads: int | None
    varying: Varying | None = None

    @classmethod
    def read(cls, directory: Path) -> Bundle:
        """Read ``manifest.json``; raises RunError when it is missing or not what tapeout writes."""
        path = directory / "manifest.json"
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            engine = str(manifest["engine"])
            if Path(engine).name != engine:
                raise ValueError(f"the engine {engine!r} is not the name of a file in the bundle")
            sides = [
                tuple(Tensor.read(item) for item in manifest[side])
                for side in ("inputs", "outputs")
            ]
            threads = dict(manifest.get("plan", {}).get("options", {})).get("threads")
            return cls(
                directory.resolve() / engine,
                sides[0],
                sides[1],
                None if threads is None else int(threads),
                Varying.read(manifest["shapes"]) if manifest.get("shapes") else None,
            )
        except OSError as error:
            raise RunError(1, f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(1, f"{path} is not the manifest of a bundle: {error!r}") from error

    def stored(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return arrays by name, those for an input as it takes them."""
        inputs = {tensor.name: tensor for tensor in self.inputs}
        return {
            name: inputs[name].stored(array) if name in inputs else array
            for name, array in feeds.items()
        }


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return every array of a file; raises RunError when it is no .npz, or holds Python objects."""
    try:
        if path.exists() and not zipfile.is_zipfile(path):
            raise ValueError("no zip archive")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise RunError(2, f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(2, f"{path} is not an .npz file of arrays: {error}") from error


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays under any name, which `numpy.savez` cannot ("file"); no half-written file."""
    part = path.with_name(path.name + ".part")
    with zipfile.ZipFile(part, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(name + ".npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    part.replace(path)


def count_pieces(inputs: Sequence[Tensor], feeds: Mapping[str, np.ndarray]) -> int:
    """Return how many compiled batches the arrays hold; raises RunError listing all that is wrong.

    An array has the compiled shape, or a leading dimension that is a multiple of it; the multiple
    is the same for all inputs.
    """
    problems = [f"input {tensor} is missing" for tensor in inputs if tensor.name not in feeds]
    known = ", ".join(repr(tensor.name) for tensor in inputs)
    strangers = sorted(set(feeds) - {tensor.name for tensor in inputs})
    problems += [f"there is no input {name!r}: the inputs are {known}" for name in strangers]
    counts: dict[str, int] = {}
    for tensor in inputs:
        array = feeds.get(tensor.name)
        if array is None:
            continue
        if array.dtype != tensor.dtype:
            problems.append(f"input {tensor} is given as {array.dtype}: convert it")
        if array.shape == tensor.shape:
            counts[tensor.name] = 1
        elif (
            array.ndim == len(tensor.shape) > 0
            and array.shape[1:] == tensor.shape[1:]
            and 0 < tensor.shape[0] < array.shape[0]
            and array.shape[0] % tensor.shape[0] == 0
        ):
            counts[tensor.name] = array.shape[0] // tensor.shape[0]
        else:
            shape = list(array.shape)
            problems.append(
                f"input {tensor} is given as {shape}: "
                "only the first dimension may differ, by a whole factor"
            )
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} of {name!r}" for name, count in counts.items())
        problems.append(f"the inputs hold different numbers of compiled batches: {found}")
    if problems:
        raise RunError(2, "the inputs do not fit the engine", problems)
    return next(iter(counts.values()), 1)


def require_fit(bundle: Bundle, feeds: Mapping[str, np.ndarray]) -> int:
    """Return how many times the engine has to run; raises RunError listing all that is wrong.

    Where shapes vary, once if one optimization profile holds the arrays as they are.
    """
    varying = bundle.varying
    shapes = {
        tensor.name: feeds[tensor.name].shape for tensor in bundle.inputs if tensor.name in feeds
    }
    if varying is None or len(shapes) < len(bundle.inputs):
        return count_pieces(bundle.inputs, feeds)
    if varying.takes(shapes):
        asked = [dataclasses.replace(tensor, shape=shapes[tensor.name]) for tensor in bundle.inputs]
        return count_pieces(asked, feeds)
    try:
        return count_pieces(bundle.inputs, feeds)
    except RunError as error:
        told = varying.problems(shapes) or [f"no optimization profile holds them all: {varying}"]
        raise RunError(2, "the inputs do not fit the engine", told) from error


class Engine(Protocol):
    """A loaded engine; engine.py has one as ``Engine(file, inputs, outputs, threads)``.

    It raises ImportError where the runtime is not installed, and RuntimeError where the engine is
    broken or fails; such an error may have the attributes `code`, the exit code, and `problems`,
    lines that follow its text.
    """

    def infer(self) -> Any:
        """Run once more on what `run` was given last."""

    def run(self, piece: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run on one compiled batch and return copies of the outputs, in the manifest's order."""


@runtime_checkable
class Offloaded(Protocol):
    """An engine that runs on a device with its own clock and memory: a graphics card."""

    def time(self) -> Mapping[str, float]:
        """Run once more; return the seconds of each step by the device's clock.

        "latency" is from the first input's copy to the device to the last output's copy back.
        """

    def memory(self) -> Mapping[str, int]:
        """Return what the device's memory holds, in bytes."""


def load_engine(code: Path, bundle: Bundle) -> Engine:
    """Load the engine with the code of its runtime; raises RunError when that cannot be."""
    folder = [str(code.parent)]  # a package: what lies beside the file is "engine.NAME"
    specification = importlib.util.spec_from_file_location(
        "engine", code, submodule_search_locations=folder
    )
    if specification is None or specification.loader is None:
        raise RunError(1, f"{code} is no Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules["engine"] = module
    sys.dont_write_bytecode = True  # the bundle stays as its manifest says
    try:
        specification.loader.exec_module(module)
        engine: Engine = module.Engine(bundle.engine, bundle.inputs, bundle.outputs, bundle.threads)
    except ImportError as error:
        readme = HERE / "README.md"
        raise RunError(5, f"the runtime does not load: {error}; see {readme}") from error
    except RuntimeError as error:
        raise failure(f"{bundle.engine} does not load: {error}", error) from error
    return engine


def failure(summary: str, error: RuntimeError) -> RunError:
    """Return what an engine's error means: see `Engine`."""
    return RunError(getattr(error, "code", 1), summary, getattr(error, "problems", ()))


def run_engine(engine: Engine, bundle: Bundle, piece: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Run one compiled batch; raises RunError if the outputs are not those of the manifest."""
    arrays = engine.run(piece)
    if not is_declared(bundle, piece, arrays):
        given = [(array.shape, array.dtype) for array in arrays]
        wanted = ", ".join(map(str, bundle.outputs))
        raise RunError(1, f"the engine returned {given}, the manifest declares {wanted}")
    return arrays


def is_declared(
    bundle: Bundle, piece: Mapping[str, np.ndarray], arrays: Sequence[np.ndarray]
) -> bool:
    """Return whether outputs are those that the manifest declares for a piece."""
    if [array.dtype for array in arrays] != [tensor.dtype for tensor in bundle.outputs]:
        return False
    shapes = {
        tensor.name: array.shape for tensor, array in zip(bundle.outputs, arrays, strict=True)
    }
    if bundle.varying is None:
        return all(shapes[tensor.name] == tensor.shape for tensor in bundle.outputs)
    fed = {tensor.name: piece[tensor.name].shape for tensor in bundle.inputs}
    return not bundle.varying.problems({**fed, **shapes})


def time_once(engine: Engine) -> Mapping[str, float]:
    """Return the seconds of one inference, and of its steps where the device tells them."""
    if isinstance(engine, Offloaded):
        return engine.time()
    start = time.perf_counter()
    engine.infer()
    return {"latency": time.perf_counter() - start}


def time_engine(engine: Engine, repeat: int) -> dict[str, list[float]]:
    """Return the seconds of each of `repeat` inferences on what was run last, by step."""
    for _ in range(WARM_UP if repeat else 0):
        engine.infer()
    times = [time_once(engine) for _ in range(repeat)]
    steps = times[0] if times else ("latency",)
    return {step: [item[step] for item in times] for step in steps}


def run_pieces(
    engine: Engine, bundle: Bundle, feeds: Mapping[str, np.ndarray], count: int
) -> dict[str, np.ndarray]:
    """Run all pieces and stack the outputs; the first is run last, for `time_engine`."""

    def piece(index: int) -> dict[str, np.ndarray]:
        return {
            tensor.name: feeds[tensor.name][tensor.shape[0] * index :][: tensor.shape[0]]
            if tensor.shape
            else feeds[tensor.name]
            for tensor in bundle.inputs
        }

    pieces = [piece(index) for index in range(count)] if count > 1 else [feeds]
    results = [run_engine(engine, bundle, item) for item in reversed(pieces)][::-1]
    columns = zip(*results, strict=True)
    return {
        # A scalar has no first dimension to stack along: its pieces become one.
        tensor.name: column[0] if count == 1 else np.concatenate(np.atleast_1d(*column))
        for tensor, column in zip(bundle.outputs, columns, strict=True)
    }


def peak_memory() -> int | None:
    """Return the largest resident size of this process so far, in bytes; None without ``/proc``.

    ``VmHWM`` and not ``getrusage``: Linux hands the latter's maximum down from the process that
    started this one.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    for line in status.read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RunError(1, f"{status} does not tell the peak memory (VmHWM)")


def report(stats: Mapping[str, Any]) -> None:
    """Print what was measured."""

    def median(seconds: Sequence[float]) -> str:
        return f"{sorted(seconds)[len(seconds) // 2] * 1e3:.3f} ms"

    if stats["peak_memory"] is not None:
        print(f"peak memory {stats['peak_memory']:,} B")
    for what, size in stats.get("device_memory", {}).items():
        print(f"memory of the device, {what}: {size:,} B")
    if latencies := stats["latencies"]:
        steps = "".join(f", {step} {median(of)}" for step, of in stats.get("steps", {}).items())
        print(f"{len(latencies)} timed inferences, median {median(latencies)}{steps}")


def natural(text: str) -> int:
    """Parse a number that is not negative."""
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run the engine of a bundle.")
    parser.add_argument("--bundle", type=Path, default=HERE.parent, help="the bundle's folder")
    parser.add_argument("-i", "--input", type=Path, required=True, help=".npz, arrays by input")
    parser.add_argument("-o", "--output", type=Path, required=True, help=".npz to write")
    parser.add_argument("--repeat", type=natural, default=0, help="timed inferences afterwards")
    parser.add_argument("--stats", type=Path, help="write latencies (s) and peak memory (B), JSON")
    parser.add_argument("--engine-code", type=Path, default=HERE / "engine.py", help="the runtime")
    options = parser.parse_args(arguments)
    try:
        bundle = Bundle.read(options.bundle)
        feeds = bundle.stored(read_npz(options.input))
        count = require_fit(bundle, feeds)
        engine = load_engine(options.engine_code, bundle)
        try:
            outputs = run_pieces(engine, bundle, feeds, count)
            times = time_engine(engine, options.repeat)
        except RuntimeError as error:
            raise failure(f"{bundle.engine} fails: {error}", error) from error
        stats: dict[str, Any] = {"latencies": times.pop("latency"), "peak_memory": peak_memory()}
        if isinstance(engine, Offloaded):
            stats |= {"steps": times, "device_memory": dict(engine.memory())}
        try:
            write_npz(options.output, outputs)
            if options.stats:
                options.stats.write_text(json.dumps(stats), encoding="utf-8")
        except OSError as error:
            raise RunError(2, f"{error.filename}: {error.strerror}") from error
    except RunError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return error.code
    print(f"{count} compiled batch(es) run")
    report(stats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
