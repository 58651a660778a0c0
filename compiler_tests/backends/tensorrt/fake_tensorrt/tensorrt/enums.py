"""The enumerations of TensorRT 10 and 11 that a builder needs; what went with weak typing is in 10 alone."""

from __future__ import annotations

import os
from enum import IntEnum
from typing import Any

VERSION = os.environ.get("FAKE_TENSORRT_VERSION", "10.13.2.6")
STRONG_ONLY = int(VERSION.split(".")[0]) >= 11


def _enumeration(name: str, members: dict[str, int]) -> Any:
    """One whose members depend on the release."""
    make: Any = IntEnum
    return make(name, members)


_SINCE_10 = {
    "DEBUG": 2, "GPU_FALLBACK": 3, "REFIT": 4, "DISABLE_TIMING_CACHE": 5, "TF32": 6, "SPARSE_WEIGHTS": 7,
    "SAFETY_SCOPE": 8, "DIRECT_IO": 11, "VERSION_COMPATIBLE": 13, "EXCLUDE_LEAN_RUNTIME": 14,
    "ERROR_ON_TIMING_CACHE_MISS": 16, "DISABLE_COMPILATION_CACHE": 18, "STRIP_PLAN": 19, "REFIT_IDENTICAL": 20,
    "WEIGHT_STREAMING": 21, "REFIT_INDIVIDUAL": 23, "STRICT_NANS": 24, "MONITOR_MEMORY": 25,
    "EDITABLE_TIMING_CACHE": 27, "DISTRIBUTIVE_INDEPENDENCE": 28,
}  # fmt: skip
_UNTIL_10 = {
    "FP16": 0, "INT8": 1, "OBEY_PRECISION_CONSTRAINTS": 9, "PREFER_PRECISION_CONSTRAINTS": 10,
    "REJECT_EMPTY_ALGORITHMS": 12, "FP8": 15, "BF16": 17, "INT4": 22, "FP4": 26,
}  # fmt: skip
BuilderFlag = _enumeration("BuilderFlag", _SINCE_10 if STRONG_ONLY else _UNTIL_10 | _SINCE_10)

_CREATION = {"STRONGLY_TYPED": 1, "PREFER_AOT_PYTHON_PLUGINS": 2, "PREFER_JIT_PYTHON_PLUGINS": 3}
NetworkDefinitionCreationFlag = _enumeration(
    "NetworkDefinitionCreationFlag", _CREATION if STRONG_ONLY else {"EXPLICIT_BATCH": 0} | _CREATION
)

_LEVELS = {"NONE": 0, "AMPERE_PLUS": 1, "SAME_COMPUTE_CAPABILITY": 2}
if "FAKE_TENSORRT_OLD_LEVELS" in os.environ:
    del _LEVELS["SAME_COMPUTE_CAPABILITY"]
HardwareCompatibilityLevel = _enumeration("HardwareCompatibilityLevel", _LEVELS)


class DataType(IntEnum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    FP8 = 6
    BF16 = 7
    INT64 = 8
    INT4 = 9
    FP4 = 10


class MemoryPoolType(IntEnum):
    WORKSPACE = 0
    DLA_MANAGED_SRAM = 1
    DLA_LOCAL_DRAM = 2
    DLA_GLOBAL_DRAM = 3
    TACTIC_DRAM = 4
    TACTIC_SHARED_MEMORY = 5


class ProfilingVerbosity(IntEnum):
    LAYER_NAMES_ONLY = 0
    NONE = 1
    DETAILED = 2


class ErrorCode(IntEnum):
    SUCCESS = 0
    INTERNAL_ERROR = 1
    MODEL_DESERIALIZE_FAILED = 4
    INVALID_NODE = 7
    UNSUPPORTED_NODE = 8


class Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class LayerType(IntEnum):
    CONVOLUTION = 0
    CAST = 1
    ACTIVATION = 2
    POOLING = 3
    SCALE = 5
    ELEMENTWISE = 10
    SHUFFLE = 13
    REDUCE = 14
    MATRIX_MULTIPLY = 17
    CONSTANT = 19
    IDENTITY = 21
    SLICE = 23
    QUANTIZE = 41
    DEQUANTIZE = 42
