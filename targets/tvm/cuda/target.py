"""The target for cards that TensorRT for RTX has no kernels for; see `targets.tvm.target`.

Experimental: no engine of it has run on such a card yet, and everything it leaves says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import onnx_ir as ir

from ....budget import Figure, Usage
from ....errors import Problem, TapeoutError
from ....lowering.analysis import report
from ....lowering.analysis.fixes import Lever
from ....lowering.analysis.program import Sharing
from ....lowering.analysis.roofline import Machine, Offload, estimate
from ....lowering.pipeline import Pipeline
from ....profiles.schema import Profile
from ...base import Built, Execution, Plan, Precision, Progress, Target
from ...gpu import copies, with_copies
from ..build import ENGINE, Request, make_engine
from ..pipeline import pipeline
from . import cubin, nvrtc
from .build import CUDA
from .cost import machine_of
from .execute import cannot_run, execute
from .glue import write_glue

RUNTIME: Final = "tvm-cuda"

EXPERIMENTAL: Final = "experimental: has not run on such a card"

#: Precision -> scheme; None: the model's own numbers. The preferred first.
_SCHEMES: Final[dict[str, str | None]] = {"fp32": None, "fp16": "fp16"}

#: What an engine holds besides its weights: kernels and program, for each node. An estimate.
_CODE: Final = 8 << 10


class CudaTarget(Target):
    """NVIDIA GPUs through Apache TVM's Relax and NVRTC."""

    runtimes: ClassVar[tuple[str, ...]] = (RUNTIME,)
    packages: ClassVar[Mapping[str, str]] = {
        "tvm": "apache-tvm",
        "tvm_ffi": "apache-tvm-ffi",
        "ziglang": "ziglang",
        # These three share one folder without being modules: they go by their own names.
        **{package: package for package in nvrtc.PACKAGES},
    }
    install: ClassVar[str] = "pip install 'tapeout[cuda]'"
    levers: ClassVar[tuple[Lever, ...]] = ("batch",)
    sharing: ClassVar[Sharing] = Sharing(fusion="elementwise")
    only: ClassVar[str] = "TVM's kernels for GPUs compute in float32 and float16"

    def is_installed(self, module: str) -> bool:
        try:
            metadata.distribution(self.packages[module])
        except metadata.PackageNotFoundError:
            return False
        return True

    def plans(self, profile: Profile, precision: Precision) -> Sequence[Plan]:
        if profile.gpu is None or profile.gpu.also:
            return ()
        offered = set(_SCHEMES) if precision == "auto" else {precision}
        return tuple(Plan(RUNTIME, name) for name in _SCHEMES if name in offered)

    def scheme(self, profile: Profile, plan: Plan) -> str | None:
        return _SCHEMES[plan.precision]

    def pipeline(self, profile: Profile, plan: Plan) -> Pipeline:
        return pipeline()

    def check(self, model: ir.Model, profile: Profile, plan: Plan) -> list[Problem]:
        from ..constraints import check

        return check(model)

    def machine(self, profile: Profile, plan: Plan) -> Machine:
        return machine_of(profile)

    def offload(self, model: ir.Model, profile: Profile, plan: Plan) -> Offload | None:
        return copies(model, profile)

    def estimate(self, model: ir.Model, profile: Profile, plan: Plan) -> Usage:
        needed = report.explain_memory(model, None, self.sharing, levers=())
        seconds = estimate(model, self.machine(profile, plan), self.sharing).seconds
        size = needed.weights + _CODE * sum(1 for _ in model.graph)
        usage = Usage(
            memory=Figure(needed.needed, "B", "estimated", "weights and a static arena"),
            storage=Figure(size, "B", "estimated", "weights, and 8 KiB of code for each node"),
            latency=Figure(seconds, "s", "estimated", f"roofline; {EXPERIMENTAL}"),
            parts=(
                ("weights", Figure(needed.weights, "B", "estimated")),
                ("activations", Figure(needed.arena, "B", "estimated")),
            ),
        )
        return with_copies(usage, model, profile)

    def build(
        self, model: ir.Model, profile: Profile, plan: Plan, directory: Path, progress: Progress
    ) -> Built:
        progress(f"{RUNTIME} is {EXPERIMENTAL}")
        versions = self.versions()
        request = Request.of(profile)
        parts = make_engine(model, request, versions, directory, progress, CUDA).memory.parts
        content = (directory / ENGINE).read_bytes()
        require_binary(content, profile.toolchain.cpu)
        write_glue(directory)
        expected = self.estimate(model, profile, plan)
        usage = Usage(
            memory=Figure(
                sum(figure.value for _, figure in parts),
                "B",
                "exact",
                "TVM's memory plan, on the card",
            ),
            storage=Figure(len(content), "B", "exact", ENGINE),
            latency=expected.latency,
            parts=parts,
            latency_parts=expected.latency_parts,
        )
        return Built(ENGINE, usage, versions)

    def cannot_run(self, profile: Profile) -> Problem | None:
        return cannot_run(profile)

    def execute(
        self,
        bundle: Path,
        profile: Profile,
        feeds: Mapping[str, np.ndarray],
        repeat: int = 0,
    ) -> Execution:
        return execute(bundle, profile, feeds, repeat)

    def network(self, model: ir.Model, profile: Profile, plan: Plan) -> ir.Model:
        return model


def require_binary(engine: bytes, architecture: str) -> None:
    """Raise TapeoutError unless an engine holds one binary, with kernels, for the GPU."""
    found = cubin.find(engine)
    if not found:
        what = "it holds no GPU machine code: TVM left the source of the kernels in it"
    elif [item.architecture for item in found] != [architecture]:
        held = ", ".join(item.architecture or "an unknown GPU" for item in found)
        what = f"it holds machine code for {held}, and is for {architecture}"
    elif not found[0].kernels:
        what = f"its machine code for {architecture} has no kernels"
    else:
        return
    raise TapeoutError("the engine does not run on the card", [Problem(ENGINE, what)])
