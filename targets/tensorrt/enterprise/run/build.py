"""Build the engine of this bundle with TensorRT, on the device that is to run it.

    python3 build.py [--output FILE] [--report FILE] [--check] [--trtexec]

Besides Python 3.10 it needs the packages `tensorrt`, in the version that build.json pins, and
`cuda-python`. It reads build.json, beside it, and ../manifest.json; it checks that model.onnx is
the one that was prepared and that library and GPU are those it was prepared for, builds, measures
the memory and holds it to the budget. Nothing in the bundle is written: the engine goes beside it.

It is written against the public API of TensorRT 10, and untested until it has run on such a device:
whoever prepared the bundle had neither the library nor the GPU.

The exit code is 0 when it is done, 2 when the command line is wrong, 3 when library or GPU do not
fit or TensorRT refuses the network, 4 when the engine misses the budget, 5 when a package is not
installed, and 6 when a file is not what was prepared.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import importlib
import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

UNTESTED = "This path is written against the public API and untested until it has run here."

#: Least, usual and greatest shape of an input.
Range = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

FIT, REFUSED, BUDGET, MISSING, DAMAGED = 0, 3, 4, 5, 6


class BuildError(RuntimeError):
    """Why there is no engine: the exit code, and every problem found."""

    def __init__(self, code: int, summary: str, problems: Iterable[str] = ()) -> None:
        self.code = code
        super().__init__("\n  ".join([summary, *problems]))


@dataclasses.dataclass(frozen=True)
class Order:
    """What to build, as build.json says.

    Attributes:
        version: of TensorRT; what is installed may have further parts.
        model: the network's file in the bundle, and its SHA-256.
        capabilities: compute capabilities of the GPUs that it was prepared for.
        tf32: whether products of float32 may be computed with 10 bits of mantissa.
        sparse: whether kernels for 2:4 sparse weights may be taken.
        workspace: bytes that a layer may use while it runs.
        interface: bytes of all inputs and outputs.
        profiles: optimization profiles, each with the range of every input that has one.
    """

    version: str
    model: str
    sha256: str
    capabilities: tuple[str, ...]
    tf32: bool
    sparse: bool
    workspace: int
    interface: int
    profiles: tuple[Mapping[str, Range], ...]

    def to_json(self) -> dict[str, Any]:
        """Return what `read` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def read(cls, path: Path) -> Order:
        """Read build.json; raises BuildError where it is missing or not what tapeout writes."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            model = str(data["model"])
            if Path(model).name != model:
                raise ValueError(f"the model {model!r} is not the name of a file in the bundle")
            return cls(
                version=str(data["version"]),
                model=model,
                sha256=str(data["sha256"]),
                capabilities=tuple(map(str, data["capabilities"])),
                tf32=bool(data["tf32"]),
                sparse=bool(data["sparse"]),
                workspace=int(data["workspace"]),
                interface=int(data["interface"]),
                profiles=tuple(
                    {str(name): _range(shapes) for name, shapes in profile.items()}
                    for profile in data["profiles"]
                ),
            )
        except OSError as error:
            raise BuildError(DAMAGED, f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BuildError(DAMAGED, f"{path} is not what tapeout writes: {error!r}") from error


def _range(shapes: Sequence[Sequence[int]]) -> Range:
    least, usual, greatest = (tuple(map(int, shape)) for shape in shapes)
    return least, usual, greatest


def trtexec(order: Order, engine: str) -> str:
    """Return the command line that builds the same engine, in the bundle's folder.

    It is quoted for a shell: the names of inputs are the model's author's.
    """
    line = ["trtexec", f"--onnx={order.model}", "--stronglyTyped"]
    line += [] if order.tf32 else ["--noTF32"]
    line += ["--sparsity=enable"] if order.sparse else []
    line += [f"--memPoolSize=workspace:{-(-order.workspace // 1024)}K"]
    for index, profile in enumerate(order.profiles):
        line += [f"--profile={index}"] if len(order.profiles) > 1 else []
        for position, option in enumerate(("--minShapes", "--optShapes", "--maxShapes")):
            shapes = [
                f"{_quoted(name)}:{'x'.join(map(str, shape[position]))}"
                for name, shape in profile.items()
            ]
            line.append(f"{option}={','.join(shapes)}")
    return shlex.join([*line, f"--saveEngine={engine}", "--skipInference"])


def _quoted(name: str) -> str:
    """Return the name of an input as trtexec takes it: in quotes where it has its separators."""
    return f"'{name}'" if ":" in name or "," in name else name


# ---- what was prepared


def digest(path: Path) -> str:
    """Return the SHA-256 of a file; raises BuildError where it cannot be read."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                found.update(block)
    except OSError as error:
        raise BuildError(DAMAGED, f"{path}: {error.strerror}") from error
    return found.hexdigest()


def listed(bundle: Path) -> tuple[dict[str, str], int | None]:
    """Return the SHA-256 of each file by the manifest, and the budget of memory in bytes.

    A bundle that is being made has no manifest yet: then there are none.
    """
    manifest = bundle / "manifest.json"
    if not manifest.exists():
        return {}, None
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        budget = content["budget"]["memory"]
        digests = {str(item["path"]): str(item["sha256"]) for item in content["artifacts"]}
        return digests, None if budget is None else int(budget)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BuildError(DAMAGED, f"{manifest} is not a bundle's: {error!r}") from error


def require_prepared(bundle: Path, order: Order) -> None:
    """Raise BuildError unless the network is the one that build.json and the manifest name."""
    digests, _ = listed(bundle)
    wanted = [(order.model, order.sha256)]
    if digests:
        wanted += [(name, digests.get(name, "")) for name in (order.model, "run/build.json")]
    problems = [
        f"{name} has the sha256 {found}, not {expected or 'any that the manifest lists'}"
        for name, expected in wanted
        for found in [digest(bundle / name)]
        if found != expected
    ]
    if problems:
        raise BuildError(DAMAGED, "the bundle is damaged: copy it again", problems)


# ---- library and GPU


#: Modules, of which one is needed, and how to get it. That of CUDA had another name before 12.6.
_TENSORRT = (("tensorrt",), "pip install tensorrt=={version}, or on a Jetson its JetPack")
_CUDA = (
    ("cuda.bindings.runtime", "cuda.cudart"),
    "pip install cuda-python, in the version of the driver's CUDA",
)


def libraries(order: Order) -> tuple[ModuleType, ModuleType]:
    """Return the modules of TensorRT and of the CUDA runtime; raises BuildError without them."""
    missing, found = [], []
    for names, fix in (_TENSORRT, _CUDA):
        try:
            found.append(_imported(names))
        except ImportError as error:
            missing.append(f"{error}: {fix.format(version=order.version)}")
    if missing:
        raise BuildError(MISSING, "packages are not installed", missing)
    return found[0], found[1]


def _imported(names: Sequence[str]) -> ModuleType:
    """Return the first module that there is; raises ImportError, that of the last, without any."""
    for name in names[:-1]:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return importlib.import_module(names[-1])


def cuda(runtime: ModuleType, name: str, *arguments: Any) -> Any:
    """Call a function of the CUDA runtime; raises BuildError naming it where it fails."""
    code, *values = getattr(runtime, name)(*arguments)
    if code != runtime.cudaError_t.cudaSuccess:
        raise BuildError(REFUSED, f"{name} failed: {code!s}")
    return values[0] if len(values) == 1 else tuple(values)


def wrong_version(wanted: str, installed: str) -> list[str]:
    """Return why an installed version is not the one that was prepared for; empty: it is."""
    parts = wanted.split(".")
    if installed.split(".")[: len(parts)] == parts:
        return []
    return [f"TensorRT {installed} is installed, the bundle is for {wanted}"]


def require_fit(order: Order, trt: ModuleType, runtime: ModuleType) -> str:
    """Raise BuildError unless library and GPU are those that were prepared for.

    Returns: what they are, in words.
    """
    properties = cuda(runtime, "cudaGetDeviceProperties", cuda(runtime, "cudaGetDevice"))
    capability = f"{properties.major}.{properties.minor}"
    name = properties.name
    title = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    problems = wrong_version(order.version, str(trt.__version__))
    if capability not in order.capabilities:
        served = ", ".join(order.capabilities)
        problems.append(f"{title} has compute capability {capability}, the bundle is for {served}")
    if problems:
        fix = "compile the model for this device: tapeout compile MODEL --device NAME -o BUNDLE"
        raise BuildError(REFUSED, f"the bundle is for another machine; {fix}", problems)
    return f"TensorRT {trt.__version__}, {title} (compute capability {capability})"


# ---- building


def build(order: Order, trt: ModuleType, content: bytes) -> bytes:
    """Return the engine of a network; raises BuildError with every reason of the parser."""
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(content):
        found = [parser.get_error(index) for index in range(parser.num_errors)]
        reasons = [f"node {e.node_name()!r} ({e.node_operator()}): {e.desc()}" for e in found]
        raise BuildError(REFUSED, "TensorRT does not take the network", reasons)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, order.workspace)
    for flag, wanted in (("TF32", order.tf32), ("SPARSE_WEIGHTS", order.sparse)):
        change = config.set_flag if wanted else config.clear_flag
        change(getattr(trt.BuilderFlag, flag))
    for ranges in order.profiles:
        profile = builder.create_optimization_profile()
        for name, shapes in ranges.items():
            profile.set_shape(name, *shapes)
        if config.add_optimization_profile(profile) < 0:
            raise BuildError(REFUSED, f"TensorRT does not take the profile {dict(ranges)}")
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BuildError(REFUSED, "TensorRT does not build the network: its messages are above")
    return bytes(engine)


def memory(order: Order, trt: ModuleType, runtime: ModuleType, content: bytes) -> dict[str, int]:
    """Return bytes on the device: the engine's figures, and what loading it took there."""
    before, _ = cuda(runtime, "cudaMemGetInfo")
    engine = trt.Runtime(trt.Logger(trt.Logger.WARNING)).deserialize_cuda_engine(content)
    if engine is None:
        raise BuildError(REFUSED, "TensorRT does not load the engine that it has built")
    context = engine.create_execution_context()
    if context is None:
        raise BuildError(REFUSED, "the engine does not get the memory that it needs")
    after, _ = cuda(runtime, "cudaMemGetInfo")
    del context
    return {
        "engine": len(content),
        "activations": int(engine.device_memory_size_v2),
        "interface": order.interface,
        "loaded": max(0, int(before) - int(after)),
    }


def require_budget(found: Mapping[str, int], budget: int | None) -> None:
    """Raise BuildError where weights, activations, inputs and outputs are over the budget."""
    needed = found["engine"] + found["activations"] + found["interface"]
    if budget is not None and needed > budget:
        parts = [f"{name}: {found[name]:,} B" for name in ("engine", "activations", "interface")]
        raise BuildError(BUDGET, f"the engine needs {needed:,} B, the budget is {budget:,}", parts)


# ---- the program


def write(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)


def make(bundle: Path, output: Path, report: Path | None) -> None:
    """Check, build, measure, and write the engine with what is known of it."""
    order = Order.read(bundle / "run" / "build.json")
    require_prepared(bundle, order)
    trt, runtime = libraries(order)
    where = require_fit(order, trt, runtime)
    print(f"building with {where}", flush=True)
    content = build(order, trt, (bundle / order.model).read_bytes())
    found = memory(order, trt, runtime, content)
    for name, value in found.items():
        print(f"{name}: {value:,} B (measured)")
    require_budget(found, listed(bundle)[1])
    known = {
        "model": order.sha256,
        "engine": hashlib.sha256(content).hexdigest(),
        "tensorrt": str(trt.__version__),
        "device": where,
        "memory": found,
    }
    write(output, content)
    text = json.dumps(known, indent=1, sort_keys=True) + "\n"
    write(report or report_of(output), text.encode())
    print(f"written to {output}")


def beside(bundle: Path) -> Path:
    """Return where the engine of a bundle is: the bundle itself is left as it is."""
    whole = bundle.resolve()
    return whole.with_name(whole.name + ".engine")


def report_of(engine: Path) -> Path:
    """Return where it stands what is known of an engine."""
    return engine.with_name(engine.name + ".json")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the engine of a bundle.")
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("--bundle", type=Path, default=here, help="the bundle's folder")
    parser.add_argument("--output", type=Path, help="the engine; by default BUNDLE.engine")
    parser.add_argument("--report", type=Path, help="what is known of it; by default ENGINE.json")
    parser.add_argument("--check", action="store_true", help="check library and GPU only")
    parser.add_argument("--trtexec", action="store_true", help="print the equal command line")
    options = parser.parse_args(arguments)
    bundle = options.bundle
    try:
        if options.trtexec:
            order = Order.read(bundle / "run" / "build.json")
            print(trtexec(order, f"../{beside(bundle).name}"))
        elif options.check:
            order = Order.read(bundle / "run" / "build.json")
            print(require_fit(order, *libraries(order)))
        else:
            print(UNTESTED)
            make(bundle, options.output or beside(bundle), options.report)
    except BuildError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"build.py: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
