"""A stand-in for TensorRT: it has the names that are used of the public API, and builds nothing.

Every call is a line of the file that FAKE_LOG names. FAKE_TENSORRT is its version, FAKE_REFUSES the
node that its parser does not take.
"""

from __future__ import annotations

import enum
import json
import os
from pathlib import Path
from types import SimpleNamespace

__version__ = os.environ["FAKE_TENSORRT"]


def note(*words: object) -> None:
    with Path(os.environ["FAKE_LOG"]).open("a", encoding="utf-8") as log:
        log.write(json.dumps(words, default=str) + "\n")


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


BuilderFlag = enum.Enum("BuilderFlag", "TF32 SPARSE_WEIGHTS")
MemoryPoolType = enum.Enum("MemoryPoolType", "WORKSPACE")


class Logger:
    WARNING = "WARNING"

    def __init__(self, severity: str) -> None:
        self.severity = severity


class Profile:
    def set_shape(
        self, name: str, least: tuple[int, ...], usual: tuple[int, ...], greatest: tuple[int, ...]
    ) -> None:
        note("set_shape", name, least, usual, greatest)


class Config:
    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        note("set_memory_pool_limit", pool.name, size)

    def set_flag(self, flag: BuilderFlag) -> None:
        note("set_flag", flag.name)

    def clear_flag(self, flag: BuilderFlag) -> None:
        note("clear_flag", flag.name)

    def add_optimization_profile(self, profile: Profile) -> int:
        note("add_optimization_profile")
        return 0


class Builder:
    def __init__(self, logger: Logger) -> None:
        self.network = SimpleNamespace(content=b"")

    def create_network(self, flags: int) -> SimpleNamespace:
        note("create_network", flags)
        return self.network

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: SimpleNamespace, config: Config) -> bytes:
        note("build_serialized_network", len(network.content))
        return b"engine of " + network.content[:16]


class OnnxParser:
    def __init__(self, network: SimpleNamespace, logger: Logger) -> None:
        self.network = network
        self.num_errors = 1 if "FAKE_REFUSES" in os.environ else 0

    def parse(self, content: bytes) -> bool:
        note("parse", len(content))
        self.network.content = content
        return self.num_errors == 0

    def get_error(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(
            node_name=lambda: os.environ["FAKE_REFUSES"],
            node_operator=lambda: "Det",
            desc=lambda: "no importer",
        )


class Runtime:
    def __init__(self, logger: Logger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, content: bytes) -> SimpleNamespace:
        note("deserialize_cuda_engine", len(content))
        return SimpleNamespace(device_memory_size_v2=4096, create_execution_context=lambda: "one")
