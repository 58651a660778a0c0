"""A TensorRT, a torch and a cuda-python of a few lines, whose GPU is this machine's memory.

Kernels run when they are launched, or are kept where a stream is captured, and run when the graph is launched. An
address that was freed, or never given, is an error, and so are shapes outside a profile. The "network" gives each image
its sum times 1, 2, 3, …, one for each class.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = 3
Shape = tuple[int, ...]
Profile = tuple[Shape, Shape, Shape]


@dataclass
class Gpu:
    """What is known of the GPU, and everything that happened to it."""

    capability: tuple[int, int] = (8, 9)
    name: str = "NVIDIA GeForce RTX 4090"
    present: bool = True
    memory: dict[int, Any] = field(default_factory=dict)
    captured: list[Callable[[], None]] | None = None
    events: list[str] = field(default_factory=list)

    def allocate(self, size: int) -> int:
        block = (ctypes.c_uint8 * size)()
        address = ctypes.addressof(block)
        self.memory[address] = block
        self.events.append("allocate")
        return address

    def free(self, address: int) -> None:
        del self.memory[address]
        self.events.append("free")

    def view(self, address: int, count: int) -> NDArray[np.float32]:
        block = self.memory[address]
        assert count * 4 <= len(block), "beyond what was allocated"
        return np.frombuffer(block, np.float32, count)

    def launch(self, run: Callable[[], None]) -> None:
        if self.captured is None:
            run()
        else:
            self.captured.append(run)

    def begin(self) -> None:
        assert self.captured is None
        self.captured = []

    def end(self) -> list[Callable[[], None]]:
        graph, self.captured = self.captured, None
        assert graph is not None
        self.events.append("capture")
        return graph

    def replay(self, graph: list[Callable[[], None]]) -> None:
        assert graph, "an empty graph"
        self.events.append("replay")
        for run in graph:
            run()


# ---- cuda-python


def cuda_python(gpu: Gpu) -> SimpleNamespace:
    def done(result: object = None) -> tuple[Any, ...]:
        return (0,) if result is None else (0, result)

    def copy(into: int, source: int, size: int, kind: str, stream: int) -> tuple[Any, ...]:
        assert stream == 7
        assert {into, source} & set(gpu.memory)
        ctypes.memmove(into, source, size)
        return done()

    def free(address: int) -> tuple[Any, ...]:
        gpu.free(address)
        return done()

    def begin(stream: int, mode: str) -> tuple[Any, ...]:
        gpu.begin()
        return done()

    def launch(graph: Any, stream: int) -> tuple[Any, ...]:
        gpu.replay(graph)
        return done()

    major, minor = gpu.capability
    properties = SimpleNamespace(major=major, minor=minor, name=gpu.name.encode())
    return SimpleNamespace(
        cudaGetDeviceCount=lambda: (0, 1) if gpu.present else (35, None),
        cudaGetDeviceProperties=lambda device: done(properties),
        cudaStreamCreate=lambda: done(7),
        cudaStreamSynchronize=lambda stream: done(),
        cudaMallocHost=lambda size: done(gpu.allocate(size)),
        cudaMalloc=lambda size: done(gpu.allocate(size)),
        cudaFreeHost=free,
        cudaFree=free,
        cudaMemcpyKind=SimpleNamespace(cudaMemcpyHostToDevice="in", cudaMemcpyDeviceToHost="out"),
        cudaMemcpyAsync=copy,
        cudaStreamCaptureMode=SimpleNamespace(cudaStreamCaptureModeThreadLocal=1),
        cudaStreamBeginCapture=begin,
        cudaStreamEndCapture=lambda stream: done(gpu.end()),
        cudaGraphInstantiate=lambda graph, flags: done(graph),
        cudaGraphLaunch=launch,
    )


# ---- torch


class Tensor:
    """Bytes, as much of a tensor as memory is."""

    def __init__(self, array: NDArray[np.uint8], address: int) -> None:
        self.array, self.address = array, address

    def numpy(self) -> NDArray[np.uint8]:
        return self.array

    def data_ptr(self) -> int:
        return self.address

    def __getitem__(self, part: slice) -> Tensor:
        return Tensor(self.array[part], self.address)

    def copy_(self, other: Tensor, non_blocking: bool) -> None:
        assert non_blocking
        self.array[:] = other.array


def torch(gpu: Gpu) -> SimpleNamespace:
    def empty(size: int, dtype: str, pin_memory: bool = False, device: str | None = None) -> Tensor:
        assert dtype == "uint8"
        assert pin_memory != (device == "cuda")
        address = gpu.allocate(size)
        return Tensor(np.frombuffer(gpu.memory[address], np.uint8), address)

    class Stream:
        cuda_stream = 7

        def synchronize(self) -> None:
            pass

    class Graph:
        def __init__(self) -> None:
            self.launched: list[Callable[[], None]] = []

        def replay(self) -> None:
            gpu.replay(self.launched)

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        assert isinstance(stream, Stream)
        yield

    @contextmanager
    def capturing(graph: Graph, stream: Stream) -> Iterator[None]:
        assert isinstance(stream, Stream)
        gpu.begin()
        try:
            yield
        finally:
            graph.launched = gpu.end()

    return SimpleNamespace(
        uint8="uint8",
        empty=empty,
        cuda=SimpleNamespace(
            is_available=lambda: gpu.present,
            get_device_capability=lambda: gpu.capability,
            get_device_name=lambda: gpu.name,
            Stream=Stream,
            stream=on,
            CUDAGraph=Graph,
            graph=capturing,
        ),
    )


# ---- TensorRT, either product


@dataclass
class Trt:
    """What a product's module is asked for; `profiles` are the shapes (least, usual, greatest) of the input."""

    gpu: Gpu
    version: str
    profiles: list[Profile]
    loads: bool = True
    capturable: bool = True
    cache_fits: bool = True
    data_type: str = "FLOAT"
    settings: list[SimpleNamespace] = field(default_factory=list)

    def module(self) -> SimpleNamespace:
        return SimpleNamespace(
            __version__=self.version,
            Logger=_Logger,
            Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=self._engine),
            CudaGraphStrategy=SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole"),
            DynamicShapesKernelSpecializationStrategy=SimpleNamespace(EAGER="eager"),
        )

    def _engine(self, content: bytes) -> _Engine | None:
        return _Engine(self) if self.loads else None


class _Logger:
    WARNING = 2

    def __init__(self, severity: int) -> None:
        self.severity = severity


class _Engine:
    num_io_tensors = 2

    def __init__(self, trt: Trt) -> None:
        self.trt = trt
        self.num_optimization_profiles = len(trt.profiles)

    def get_tensor_name(self, index: int) -> str:
        return ("logits", "input")[index]

    def get_tensor_dtype(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=self.trt.data_type)

    def get_tensor_shape(self, name: str) -> Shape:
        least, _, most = self.trt.profiles[0]
        open_ = self.num_optimization_profiles > 1
        pairs = zip(least, most, strict=True)
        return tuple(-1 if open_ or low < high else low for low, high in pairs)

    def get_tensor_profile_shape(self, name: str, index: int) -> Profile:
        assert name == "input"
        assert min(self.get_tensor_shape(name)) < 0, "it has no profile"
        return self.trt.profiles[index]

    def create_runtime_config(self) -> SimpleNamespace:
        made = SimpleNamespace(
            create_runtime_cache=lambda: SimpleNamespace(
                deserialize=lambda content: self.trt.cache_fits and content == b"kernels",
                serialize=lambda: b"kernels",
            ),
            set_runtime_cache=lambda cache: True,
        )
        self.trt.settings.append(made)
        return made

    def create_execution_context(self, settings: object = None) -> _Context:
        self.trt.gpu.events.append("context")
        return _Context(self.trt)


class _Context:
    def __init__(self, trt: Trt) -> None:
        self.trt = trt
        self.addresses: dict[str, int] = {}
        self.profile: int | None = None
        self.shape: Shape | None = None

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        assert stream == 7
        self.profile = index
        return True

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        assert self.profile is not None
        least, _, most = self.trt.profiles[self.profile]
        self.shape = shape
        triples = zip(least, shape, most, strict=True)
        return all(low <= size <= high for low, size, high in triples)

    def get_tensor_shape(self, name: str) -> Shape:
        assert self.shape is not None
        return self.shape if name == "input" else (self.shape[0], CLASSES)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 7
        assert self.shape is not None
        gpu, shape = self.trt.gpu, self.shape
        if gpu.captured is not None and not self.trt.capturable:
            return False
        source, into = self.addresses["input"], self.addresses["logits"]

        def run() -> None:
            gpu.events.append("run")
            sums = gpu.view(source, int(np.prod(shape))).reshape(shape[0], -1).sum(1)
            scores = gpu.view(into, shape[0] * CLASSES).reshape(-1, CLASSES)
            scores[:] = sums[:, None] * np.arange(1, CLASSES + 1)

        gpu.launch(run)
        return True
