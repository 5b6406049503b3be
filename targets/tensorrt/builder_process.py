"""The process that TensorRT-RTX works in: reads a network from its folder, writes an engine there.

A program of its own, which imports nothing of ours: see `builder`. A network that is refused is an
answer, not a failure. The library prints to the standard output, which nobody reads.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tensorrt_rtx as trt


class Recorder(trt.ILogger):  # type: ignore[misc]  # the package has no types
    """Keeps what the library says: all findings and figures, and of the rest what is wanted."""

    def __init__(self, wanted: tuple[str, ...]) -> None:
        super().__init__()
        self.entries: list[tuple[str, str]] = []
        self._wanted = wanted

    def log(self, severity: Any, text: str) -> None:
        if severity != trt.ILogger.Severity.VERBOSE or text.startswith(self._wanted):
            self.entries.append((severity.name, text))


def main(folder: Path) -> None:
    """Do what ``request.json`` asks for and write ``answer.json``, and ``engine.trt`` if made."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    logger = Recorder(tuple(request["wanted"]))
    builder = trt.Builder(logger)
    content = (folder / "network.onnx").read_bytes()
    findings = _check(builder, logger, content)
    if not findings and request["build"]:
        findings = _build(builder, logger, content, request, folder / "engine.trt")
    answer = {"findings": findings, "log": logger.entries}
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


def _check(builder: Any, logger: Recorder, content: bytes) -> list[dict[str, str]]:
    """Return every node that the parser does not take, by its own check of the whole network."""
    network = builder.create_network(0)  # the parser does not keep it alive
    parser = trt.OnnxParser(network, logger)
    return [] if parser.supports_model_v2(content) else _findings(parser)


def _build(
    builder: Any, logger: Recorder, content: bytes, request: dict[str, Any], output: Path
) -> list[dict[str, str]]:
    """Write the engine, if it can be built; return what the parser finds wrong."""
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(content):
        return _findings(parser)
    engine = builder.build_serialized_network(network, _config(builder, request))
    if engine is not None:
        output.write_bytes(engine)
    return []


def _findings(parser: Any) -> list[dict[str, str]]:
    return [_finding(parser.get_error(index)) for index in range(parser.num_errors)]


def _finding(error: Any) -> dict[str, str]:
    return {
        "node": error.node_name(),
        "operator": error.node_operator(),
        "code": error.code().name,
        "text": error.desc(),
        "function": error.func(),
    }


def _config(builder: Any, request: dict[str, Any]) -> Any:
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    for name, wanted in request["flags"].items():
        flag = getattr(trt.BuilderFlag, name)
        (config.set_flag if wanted else config.clear_flag)(flag)
    config.num_compute_capabilities = len(request["capabilities"])
    for index, name in enumerate(request["capabilities"]):
        config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    for ranges in request["profiles"]:
        profile = builder.create_optimization_profile()
        for name, (least, usual, most) in ranges:
            profile.set_shape(name, least, usual, most)
        config.add_optimization_profile(profile)
    return config


if __name__ == "__main__":
    main(Path(sys.argv[1]))
