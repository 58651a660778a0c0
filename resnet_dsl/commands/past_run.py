"""A run that has ended, as its manifest tells it, and the spec and the weights that stand beside its script."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, Literal, TypeGuard

from resnet_dsl.commands.output import shell_path
from resnet_dsl.commands.run import INITIAL, RESOLVED, read_json
from resnet_dsl.commands.settings import settings_of
from resnet_dsl.compiler import Compilation, compile_spec
from resnet_dsl.errors import CompileError, Diagnostic

MANIFEST = "manifest.json"
_VERSION = re.compile(r"^Written by resnet-dsl (\S+)", re.M)
_MOST = 1 << 31


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run that can be repeated: what its manifest says, and the network from the spec beside its script.

    `length` counts in `unit`. `initial` are the weights that it began with, if it was a fine-tuning.
    """

    manifest: Path
    spec: Path
    compilation: Compilation
    seed: int
    unit: Literal["epochs", "iterations"]
    length: int
    data: Mapping[str, Any]
    surroundings: Mapping[str, Any]
    weights_sha256: str
    initial: Path | None

    @property
    def home(self) -> Path:
        """The folder of the script."""
        return self.spec.parent

    @property
    def device(self) -> str | None:
        """The device as `--device` takes it: of several processes each has its own."""
        found = self.surroundings.get("device")
        if not isinstance(found, str):
            return None
        return found.partition(":")[0] if self.processes > 1 else found

    @property
    def threads(self) -> int | None:
        """How many threads torch had."""
        found = self.surroundings.get("threads")
        return found if _is_count(found) else None

    @property
    def processes(self) -> int:
        """How many trained together."""
        found = self.surroundings.get("processes")
        return found if _is_count(found) else 1


def past_run(place: Path) -> PastRun:
    """The run of a manifest, or of a folder: its own, or that of its script.

    Raises CompileError RD656, saying why it cannot be repeated.
    """
    manifest = _find(place)
    said = read_json(manifest)
    wanted = {"spec_sha256": str, "seed": int, "end": int, "data": dict, "surroundings": dict}
    for name, kind in wanted.items():
        if said is None or not isinstance(said.get(name), kind):
            lacks = "it cannot be read" if said is None else f"it does not say `{name}`"
            raise _refusal(
                f"`{manifest}` is no manifest of a training",
                lacks,
                "give the folder of a run, as generated/digits/run",
            )
    assert said is not None
    seed, length = said["seed"], said["end"]
    if not 0 <= seed < _MOST << 31 or not 0 < length < _MOST:
        raise _refusal(f"`{manifest}` is damaged", f"its seed is {seed}, and its end {length}")
    spec, compilation = _spec(manifest, said["spec_sha256"])
    return PastRun(
        manifest=manifest,
        spec=spec,
        compilation=compilation,
        seed=seed,
        unit="epochs" if settings_of(compilation).epochs else "iterations",
        length=length,
        data=said["data"],
        surroundings=said["surroundings"],
        weights_sha256=_weights(manifest, spec, said.get("weights_sha256")),
        initial=_initial(spec.parent / INITIAL, said.get("begun_from")),
    )


def sha256_of(file: Path) -> str | None:
    """The SHA-256 of a file in hexadecimal; None where it cannot be read."""
    try:
        with file.open("rb") as stream:
            return file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def version_of(script: Path) -> str | None:
    """The version of resnet-dsl that has written a script; None where it does not say."""
    try:
        found = _VERSION.search(script.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return found[1].rstrip(".") if found else None


def _find(place: Path) -> Path:
    if os.path.isfile(place):
        return place
    for file in (place / MANIFEST, place / "run" / MANIFEST):
        if os.path.isfile(file):
            return file
    if not os.path.exists(place):
        raise _refusal(
            f"there is no run at `{place}`", None, "give the folder of one, as generated/digits/run"
        )
    raise _refusal(
        f"`{place}` is no run that can be repeated",
        f"there is no `{place / MANIFEST}`, which a run writes when it begins",
        "give the folder of a run, as generated/digits/run",
    )


def _spec(manifest: Path, spec_hash: str) -> tuple[Path, Compilation]:
    """The spec that was trained: the resolved one, beside the script or in the folder of the run."""
    folder = manifest.parent
    wrong: list[str] = []
    for file in (folder.parent / RESOLVED, folder / RESOLVED):
        if not os.path.isfile(file):
            continue
        try:
            found = compile_spec(file)
        except CompileError as error:
            wrong += [f"`{file}`: {item.message}" for item in error.diagnostics]
            continue
        if found.program.spec_hash == spec_hash:
            return file, found
        wrong.append(
            f"`{file}` is another spec: its SHA-256 is {found.program.spec_hash[:12]}…, "
            f"and the manifest says {spec_hash[:12]}…"
        )
    raise _refusal(
        "the spec of the run is not there",
        "; ".join(wrong) or f"there is no `{folder.parent / RESOLVED}`",
        f"bring back the `{RESOLVED}` that `train` and `build --target train` write beside the script",
    )


def _weights(manifest: Path, spec: Path, said: object) -> str:
    """The SHA-256 of the last weights."""
    found = said.get("last") if isinstance(said, dict) else None
    if not isinstance(found, str):
        words = ["resnet-dsl", "train", shell_path(spec), "--out", shell_path(spec.parent)]
        raise _refusal(
            f"the run in `{manifest.parent}` has not ended",
            f"`{manifest}` does not say the SHA-256 of its weights, which a run writes down at its end",
            f"let it end first: {' '.join(words)} --resume",
        )
    return found


def _initial(file: Path, said: object) -> Path | None:
    """The weights that a fine-tuning began with."""
    if not isinstance(said, str):
        return None
    if sha256_of(file) != said:
        raise _refusal(
            "the weights that the run began with are not there",
            f"it began with a file of SHA-256 {said[:12]}…, and `{file}` is "
            + ("another" if file.exists() else "not there"),
            "bring that file back: `train --weights` writes it beside the script",
        )
    return file


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST


def _refusal(message: str, why: str | None, hint: str | None = None) -> CompileError:
    return CompileError(Diagnostic("RD656", message, why=why, hint=hint))
