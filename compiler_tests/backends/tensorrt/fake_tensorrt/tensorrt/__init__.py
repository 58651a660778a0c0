"""A stand-in for the `tensorrt` package, 10.12 to 11: the same classes, methods and enumerations, as far as building an
engine from an ONNX file goes, by the vendor's Python reference of 10.13 and 11.0.

What it builds is a file with an engine's header, and JSON in which everything stands that was set. Environment:

    FAKE_TENSORRT_VERSION      10.13.2.6, 11.0.0.114, …
    FAKE_TENSORRT_GPUS         the driver's GPUs, as in "NVIDIA A100:80,Tesla T4:75"
    FAKE_TENSORRT_ERROR        a line that the builder logs before it returns nothing
    FAKE_TENSORRT_DRIVER       a line that the builder logs instead of starting
    FAKE_TENSORRT_OLD_LEVELS   set: a release without SAME_COMPUTE_CAPABILITY
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from resnet_dsl.backends.tensorrt import device

from .enums import (
    STRONG_ONLY,
    VERSION,
    BuilderFlag,
    DataType,
    ErrorCode,
    HardwareCompatibilityLevel,
    LayerType,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    ProfilingVerbosity,
    Severity,
)
from .network import INetworkDefinition, OnnxParser, ParserError

__all__ = [
    "BuilderFlag",
    "DataType",
    "ErrorCode",
    "HardwareCompatibilityLevel",
    "INetworkDefinition",
    "LayerType",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "ProfilingVerbosity",
]
__version__ = VERSION
float32, float16 = DataType.FLOAT, DataType.HALF

_GPUS = tuple(
    device.Device(item.rpartition(":")[0], int(item.rpartition(":")[2]), index)
    for index, item in enumerate(os.environ.get("FAKE_TENSORRT_GPUS", "NVIDIA A100:80").split(","))
    if item
)
_current = [0]


def _use(chosen: device.Device) -> bool:
    _current[0] = chosen.index
    return True


device.local_gpus = lambda: _GPUS
device.use = _use


class ILogger:
    Severity = Severity

    def log(self, severity: Any, text: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def phase_start(self, name: str, parent: str | None, steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, name: str) -> None:
        raise NotImplementedError


class IHostMemory(bytearray):
    """Has the buffer protocol, as the real one has."""

    @property
    def nbytes(self) -> int:
        return len(self)


class ITimingCache:
    """Which tactics were timed, behind a header that names the release and the GPU."""

    def __init__(self, header: Sequence[object], entries: dict[str, float]) -> None:
        self.header = list(header)
        self.entries = entries

    def combine(self, input_cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if self.header != input_cache.header and not ignore_mismatch:
            return False
        self.entries = {**input_cache.entries, **self.entries}
        return True

    def serialize(self) -> IHostMemory:
        words = json.dumps({"header": self.header, "entries": self.entries}, sort_keys=True)
        return IHostMemory(b"TRTCACHE" + words.encode())


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(
        self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]
    ) -> None:
        if not all(a <= b <= c for a, b, c in zip(min, opt, max, strict=True)):
            raise ValueError("min <= opt <= max does not hold")
        self.shapes[input] = [tuple(min), tuple(opt), tuple(max)]


class IBuilderConfig:
    """Like the real one it has no other attributes than its own."""

    __slots__ = (
        "_cache",
        "_logger",
        "flags",
        "hardware_compatibility_level",
        "pools",
        "profiles",
        "profiling_verbosity",
        "progress_monitor",
    )

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger
        self._cache: ITimingCache | None = None
        self.flags = 1 << BuilderFlag.TF32  # on by default
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self.pools: dict[str, int] = {}
        self.profiles: list[IOptimizationProfile] = []
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.progress_monitor: IProgressMonitor | None = None

    def set_flag(self, flag: Any) -> None:
        self.flags |= 1 << flag

    def clear_flag(self, flag: Any) -> None:
        self.flags &= ~(1 << flag)

    def get_flag(self, flag: Any) -> bool:
        return bool(self.flags >> flag & 1)

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.pools[pool.name] = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1 if profile.shapes else -1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        if not serialized_timing_cache:
            return ITimingCache(_here(), {})
        try:
            found = json.loads(bytes(serialized_timing_cache).removeprefix(b"TRTCACHE"))
            return ITimingCache(found["header"], found["entries"])
        except (ValueError, KeyError, TypeError):
            self._logger.log(Severity.ERROR, "createTimingCache: Error Code 4: bad cache blob")
            return None

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache.header != _here() and not ignore_mismatch:
            self._logger.log(Severity.WARNING, "The timing cache header does not match")
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


def _here() -> list[object]:
    gpu = _GPUS[_current[0]]
    return [VERSION, gpu.name, gpu.capability]


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger
        if words := os.environ.get("FAKE_TENSORRT_DRIVER"):
            logger.log(Severity.ERROR, words)
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self.logger)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory | None:
        if words := os.environ.get("FAKE_TENSORRT_ERROR"):
            self.logger.log(Severity.ERROR, words)
            return None
        dynamic = any(min(tensor.shape) < 0 for tensor in network.inputs)
        if dynamic and not config.profiles:
            words = "Network has dynamic inputs, but no optimization profile has been defined"
            self.logger.log(Severity.ERROR, f"IBuilder::buildSerializedNetwork: {words}")
            return None
        timed = self._time(network, config)
        return _engine(self._settings(network, config, timed))

    def _time(self, network: INetworkDefinition, config: IBuilderConfig) -> list[str]:
        cache, monitor = config.get_timing_cache(), config.progress_monitor
        held = cache.entries if cache is not None else {}
        timed = [layer.name for layer in network.layers if layer.name not in held]
        held |= dict.fromkeys(timed, 0.5)
        if monitor is not None:
            monitor.phase_start("Building Engine", None, len(network.layers))
            for step in range(len(network.layers)):
                monitor.step_complete("Building Engine", step)
            monitor.phase_finish("Building Engine")
        return timed

    def _settings(
        self, network: INetworkDefinition, config: IBuilderConfig, timed: list[str]
    ) -> dict[str, Any]:
        return {
            "version": VERSION,
            "gpu": _GPUS[_current[0]].name,
            "strongly_typed": network.strongly_typed,
            "always_strongly_typed": STRONG_ONLY,
            "flags": [flag.name for flag in BuilderFlag if config.get_flag(flag)],
            "hardware": config.hardware_compatibility_level.name,
            "verbosity": config.profiling_verbosity.name,
            "pools": config.pools,
            "profiles": [profile.shapes for profile in config.profiles],
            "timed": len(timed),
        }


def _engine(settings: dict[str, Any]) -> IHostMemory:
    version = bytes(int(item) % 256 for item in VERSION.split("."))
    header = b"ftrt" + bytes(20) + version + bytes(4)
    return IHostMemory(header + json.dumps(settings).encode())
