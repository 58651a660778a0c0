"""What was last built or trained here: the network that `compile`, `verify` and `bench` take where none is named.

`build` and `train` leave a line about it in `generated/latest.json`. A training is newer than that once it has written
better weights, so that one which still runs is taken too. The file may come from anyone: what does not hold together
in it is refused, and no path in it says where files are written outside this folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from resnet_dsl.artifacts import Artifacts
from resnet_dsl.catalogue import bundled, find_spec
from resnet_dsl.commands.output import shell_path
from resnet_dsl.commands.record import (
    FORMAT,
    Record,
    What,
    is_below,
    path_in,
    read_record,
    same,
    stored,
)
from resnet_dsl.commands.run import RESOLVED
from resnet_dsl.compiler import spec_hash
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.language.source import load

GENERATED = Path("generated")
FILE = "latest.json"
WEIGHTS = ("best.safetensors", "last.safetensors")


@dataclass(frozen=True, slots=True)
class Latest:
    """The network that is meant where none is named. `spec` is for `find_spec`, with `overrides`.

    `weights` are None where `seed` draws them, `out` is None where files go to `generated/NAME`. `about` is the line
    for people, `notes` are what they should know besides.
    """

    what: What
    spec: str
    overrides: tuple[str, ...]
    weights: Path | None
    seed: int
    out: Path | None
    about: str = ""
    notes: tuple[str, ...] = ()


def remember(
    what: What,
    *,
    spec: str,
    spec_sha256: str,
    out: Path,
    overrides: Sequence[str] = (),
    weights: Path | None = None,
    seed: int = 0,
    root: Path = GENERATED,
) -> None:
    """Note what was built or trained: a spec as the user named it, and the folder that its files are in.

    Only where there is a folder `generated`: none is made for it. It is no error where nothing can be noted.
    """
    if not os.path.isdir(root):
        return
    record = Record(
        format=FORMAT,
        what=what,
        when=datetime.now(UTC).isoformat(timespec="microseconds"),
        spec=stored(Path(spec), root) if os.path.isfile(spec) else spec,
        overrides=tuple(overrides),
        spec_sha256=spec_sha256,
        weights=None if weights is None else stored(weights, root),
        seed=seed,
        out=stored(out, root),
    )
    with suppress(CompileError, OSError):
        Artifacts(root).text(FILE, json.dumps(asdict(record), indent=2) + "\n")


def latest(root: Path = GENERATED) -> Latest:
    """What was last built or trained here.

    Raises CompileError: RD637 where that is nothing, or not there any more, and what its spec raises.
    """
    file = root / FILE
    record = read_record(file)
    weights = _newest_weights(root)
    if weights is None or (record is not None and _when(file) >= _when(weights)):
        if record is None:
            why = f"`{file}` is damaged" if os.path.exists(file) else f"there is no `{file}`"
            raise _nothing(f"{why}, and no {root}/*/run/{WEIGHTS[0]}")
        if record.what == "built":
            return _build(record, root)
        run = path_in(record.out, root) / "run"
        weights = next((run / name for name in WEIGHTS if os.path.isfile(run / name)), None)
        if weights is None:
            raise _nothing(f"what was trained last left no weights in `{run}`")
    return _training(weights, record, root)


def _build(record: Record, root: Path) -> Latest:
    spec, notes = _spec(record, root), []
    if _hash(find_spec(spec), record.overrides) != record.spec_sha256:
        notes = [f"`{spec}` has changed since it was built: it is taken as it is now"]
    weights = None if record.weights is None else path_in(record.weights, root)
    if weights is not None and not os.path.isfile(weights):
        raise _nothing(f"`{spec}` was built last with `{weights}`, which is not there any more")
    numbers = f"weights from seed {record.seed}" if weights is None else shell_path(weights)
    folder = path_in(record.out, root)
    about = f"`{folder.name}`, which was built last here: {spec}, {numbers}"
    out, where = _folder(folder, root)
    return Latest(
        "built", spec, record.overrides, weights, record.seed, out, about, (*notes, *where)
    )


def _training(weights: Path, record: Record | None, root: Path) -> Latest:
    """A training is taken with the spec that it kept: the one that it began with may be another by now."""
    from resnet_dsl.evaluate.runs import run_of

    folder, run = weights.parent.parent, run_of(weights)
    if record is not None and not same(path_in(record.out, root), folder):
        record = None  # it is about another network
    spec, overrides, notes = _spec_of_run(folder, run.spec_hash if run else None, record, root)
    done = run is not None and bool(run.result)
    about = f"`{folder.name}`, which was trained last here: {shell_path(weights)}"
    if not done:
        about += ", the best so far of a training that has not ended"
    out, where = _folder(folder, root)
    return Latest("trained", spec, overrides, weights, 0, out, about, (*notes, *where))


def _spec_of_run(
    folder: Path, trained: str | None, record: Record | None, root: Path
) -> tuple[str, tuple[str, ...], list[str]]:
    """The spec that a training kept, or else the one that it began with, with its overrides, or the bundled one of its
    name; `trained` is its hash, where the run says it. Raises CompileError RD637 where it is none of them."""
    kept = str(folder / RESOLVED)
    candidates: list[tuple[str, tuple[str, ...]]] = [(kept, ())]
    if record is not None:
        with suppress(CompileError):
            candidates.append((_spec(record, root), record.overrides))
    hashes = {item: _hash_or_none(*item) for item in (*candidates, (folder.name, ()))}
    fitting = [item for item, now in hashes.items() if now and trained in (None, now)]
    if not fitting:
        raise _nothing(f"the spec of `{folder / 'run'}` is not known: `{kept}` is gone, or another")
    notes = [
        f"`{spec}` has changed since: the network is taken as it was trained"
        for spec, overrides in candidates[1:]
        if trained and hashes[spec, overrides] not in (None, trained)
    ]
    return (*fitting[0], notes)


def _folder(folder: Path, root: Path) -> tuple[Path | None, list[str]]:
    """Where its other files are, None for `generated/NAME`; a record does not lead out of this folder."""
    if same(folder, root / folder.name):
        return None, []
    if is_below(folder, root):
        return folder, []
    return None, [
        f"its other files are in `{folder}`, and new ones go to `{root}`: --out says another place"
    ]


def _spec(record: Record, root: Path) -> str:
    """The spec for `find_spec`. Raises CompileError RD637 where its file is gone."""
    path = path_in(record.spec, root)
    if os.path.isfile(path):
        return str(path)
    if Path(record.spec).name in bundled():
        return record.spec
    raise _nothing(f"`{path}`, the spec of what was built or trained last, is gone")


def _hash_or_none(spec: str, overrides: Sequence[str]) -> str | None:
    try:
        return _hash(find_spec(spec), overrides)
    except CompileError:
        return None


def _newest_weights(root: Path) -> Path | None:
    """The newest of the best weights of all trainings in `root`."""
    from resnet_dsl.evaluate.runs import newest

    try:
        run = newest(root)
        return None if run is None else run.checkpoint()
    except (OSError, CompileError):  # it is being removed
        return None


def _hash(spec: Path, overrides: Sequence[str]) -> str:
    return spec_hash(load(spec, overrides, resolve=lambda name, _: bundled()[name]))


def _when(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _nothing(why: str) -> CompileError:
    return CompileError(
        Diagnostic(
            "RD637",
            "no SPEC is given, and nothing here says which network is meant",
            why=why,
            hint="name it, as in `resnet-dsl compile resnet50`; or build or train one first: "
            "`resnet-dsl train digits`",
        )
    )
