"""The file in `generated` that says what was last built or trained: how it is written, and read with suspicion."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from resnet_dsl.commands.run import read_json

FORMAT = 1

What: TypeAlias = Literal["built", "trained"]

_HASH = re.compile("[0-9a-f]{64}")
_LONGEST, _MOST = 4096, 1000


@dataclass(frozen=True, slots=True)
class Record:
    """What the file says. Paths below the folder that holds `generated` are relative to it."""

    format: int
    what: What
    when: str
    spec: str
    overrides: tuple[str, ...]
    spec_sha256: str
    weights: str | None
    seed: int
    out: str


def read_record(file: Path) -> Record | None:
    """The record, or None where there is none that holds together."""
    if not os.path.isfile(file):
        return None
    raw = read_json(file)
    if raw is None or set(raw) != set(Record.__dataclass_fields__):
        return None
    texts = [raw["spec"], raw["out"], raw["when"], raw["spec_sha256"]]
    texts += [raw["weights"]] if raw["weights"] is not None else []
    overrides = raw["overrides"]
    if not isinstance(overrides, list) or len(overrides) > _MOST:
        return None
    if not all(_is_text(item) for item in [*texts, *overrides]):
        return None
    seed: Any = raw["seed"]
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 1 << 64:
        return None
    if raw["format"] != FORMAT or raw["what"] not in ("built", "trained"):
        return None
    if not _HASH.fullmatch(raw["spec_sha256"]):
        return None
    return Record(**{**raw, "overrides": tuple(overrides)})


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and "\0" not in value


def stored(path: Path, root: Path) -> str:
    """A path that means the same from elsewhere: relative to the folder of `root`, where it is below that."""
    full = Path(os.path.abspath(path))
    return full.relative_to(_above(root)).as_posix() if is_below(path, root) else str(full)


def path_in(text: str, root: Path) -> Path:
    """The path that `stored` has made text of."""
    return root.parent / text


def is_below(path: Path, root: Path) -> bool:
    """Whether a path is in the folder that holds `root`, and does not lead out of it by a link."""
    named = Path(os.path.abspath(path)).is_relative_to(_above(root))
    return named and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(_above(root)))


def _above(root: Path) -> Path:
    return Path(os.path.abspath(root)).parent


def same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one place, which need not be there."""
    return os.path.realpath(one) == os.path.realpath(other)
