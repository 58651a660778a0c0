"""What goes between the process that asks and those that measure: JSON, one message a line.

    asked                                             answered
    {"do": "load", …}             (once, first)       {"event": "loaded", …}
    {"do": "prepare", "batch": 8, …}                  {"event": "prepared", …}
    {"do": "measure", "batch": 8, "seconds": 0.5}     {"event": "measured", …}

Each is answered by its event, or by `{"event": "failed", "kind": …, "why": …}`, after which the process can still be
asked for other batch sizes. Standard library only: the worker reads it before it measures its memory.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

Device: TypeAlias = Literal["cpu", "cuda"]
FailureKind: TypeAlias = Literal["memory", "compiler", "unsupported", "error"]


@dataclass(frozen=True, slots=True)
class Message:
    """A message that is a mapping of its fields."""

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The message that `data` holds; other keys are left. Raises TypeError where one is missing."""
        names = {item.name for item in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in names})


@dataclass(frozen=True, slots=True)
class Load(Message):
    """What a process is to measure, with so many threads. `shape` is one image's, (C, H, W). `file` is what the backend
    reads (source, ONNX graph or engine; None for torchvision's network), and `weights` its weights where it holds none.
    """

    runner: str
    precision: str
    device: Device
    threads: int
    name: str
    shape: list[int]
    file: str | None = None
    weights: str | None = None


@dataclass(frozen=True, slots=True)
class Prepare(Message):
    """Get ready for a batch size, and warm up for at most so many seconds."""

    batch: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Measure(Message):
    """Measure for about so many seconds, at least one call."""

    batch: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Loaded(Message):
    """The backend is ready to be given a batch size. `seconds` were for its file, without imports; `about` is what
    there is to say of it, such as versions."""

    seconds: float
    about: dict[str, str]


@dataclass(frozen=True, slots=True)
class Prepared(Message):
    """Warm: `compile_s` went into compiling or capturing, `first_s` is the first call after that, `warm_up` the calls
    until the time was `steady` (None: too few to tell), `memory` the most bytes held for this (process or GPU) beyond
    the libraries, None where the system does not say, `output` the first numbers that came out, and `about` what was
    chosen."""

    compile_s: float
    first_s: float
    warm_up: int
    steady: bool | None
    memory: int | None
    output: list[float]
    about: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured(Message):
    """`times` is of each call that was waited for, in seconds; `rate` the calls in a second when they follow one
    another without a wait. The two are measured apart on a GPU, and from the same calls on a CPU."""

    times: list[float]
    rate: float


@dataclass(frozen=True, slots=True)
class Failed(Message):
    """Why there is no answer."""

    kind: FailureKind
    why: str


Answer: TypeAlias = Loaded | Prepared | Measured | Failed

_ANSWERS: dict[str, type[Loaded] | type[Prepared] | type[Measured] | type[Failed]] = {
    "loaded": Loaded,
    "prepared": Prepared,
    "measured": Measured,
    "failed": Failed,
}
_ASKED: dict[str, type[Load] | type[Prepare] | type[Measure]] = {
    "load": Load,
    "prepare": Prepare,
    "measure": Measure,
}


def ask(request: Load | Prepare | Measure) -> bytes:
    """The line that asks."""
    word = next(word for word, kind in _ASKED.items() if isinstance(request, kind))
    return json.dumps({"do": word, **request.as_dict()}).encode() + b"\n"


def asked(line: str) -> Load | Prepare | Measure:
    """What a line asks for."""
    data = json.loads(line)
    return _ASKED[data["do"]].from_dict(data)


def tell(answer: Answer) -> bytes:
    """The line that answers."""
    word = next(word for word, kind in _ANSWERS.items() if isinstance(answer, kind))
    return json.dumps({"event": word, **answer.as_dict()}).encode() + b"\n"


def told(line: bytes) -> Answer | None:
    """The answer in a line; None for what a library has printed."""
    try:
        data = json.loads(line)
        return _ANSWERS[data["event"]].from_dict(data)
    except (ValueError, KeyError, TypeError):
        return None
