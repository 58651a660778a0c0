"""The folder of a run, `runs/ID`: what is trained in it, and how far that is.

spec.yaml                what is trained: `resnet-dsl train spec.yaml` repeats it
run.json                 which run this is, for people
NAME.py train.py run/    what `resnet-dsl train` writes
claim.1 claim.2 …        who is or was at it (`claims.py`)
log.txt                  what the training said
failed.json              why it failed, if it did
responses.json           the responses of its layers, if a study asked for them
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypeAlias

from resnet_dsl.artifacts import Artifacts
from resnet_dsl.studies.claims import Claims
from resnet_dsl.studies.plan import Run

State: TypeAlias = Literal["finished", "failed", "running", "interrupted", "waiting"]

_MOST_BYTES = 1 << 26
_STATES = ("state.pt", "state.previous.pt")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed. `from_state`: it was refused when it should have gone on, so it has to begin anew."""

    reason: str
    status: int
    from_state: bool


class RunFolder:
    """The folder of one run, which need not be there."""

    def __init__(self, runs: Path, run: Run) -> None:
        self.run = run
        self.path = runs / run.id
        self.claims = Claims(self.path)

    @property
    def output(self) -> Path:
        """Where the training writes."""
        return self.path / "run"

    @property
    def spec(self) -> Path:
        """What is trained."""
        return self.path / "spec.yaml"

    def prepare(self) -> None:
        """Write what is trained. Raises CompileError where the folder cannot be written."""
        run = self.run
        about = {"axes": dict(run.case.at), "seed": run.seed, "spec_sha256": run.spec_hash}
        files = Artifacts(self.path)
        files.text("spec.yaml", _json(run.spec))  # JSON is YAML
        files.text("run.json", _json(about))

    def result(self) -> dict[str, Any] | None:
        """The result of a finished training of just this spec; None where there is none that is whole."""
        found = read_json(self.output / "result.json")
        if found is None or found.get("spec") != self.run.spec_hash:
            return None
        accuracies = [found.get(key) for key in ("test_accuracy", "best_test_accuracy")]
        whole = all(isinstance(one, int | float) and isfinite(one) for one in accuracies)
        return found if whole else None

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl that can be read, an epoch each."""
        lines: list[dict[str, Any]] = []
        with suppress(OSError, UnicodeDecodeError):
            text = (self.output / "metrics.jsonl").read_text(encoding="utf-8")
            for line in text.splitlines():
                with suppress(ValueError, RecursionError):
                    found = json.loads(line)
                    lines += [found] if isinstance(found, dict) else []
        return lines

    def failure(self) -> Failure | None:
        """Why the run failed when it was last tried; None where it did not."""
        file = self.path / "failed.json"
        found = read_json(file)
        if found is None:
            return Failure("it is not told why", 1, False) if file.exists() else None
        return Failure(
            str(found.get("reason", "")), int(found.get("status", 1)), bool(found.get("from_state"))
        )

    def record(self, failure: Failure) -> None:
        """Write down that the run has failed. Raises CompileError where the folder cannot be written."""
        text = {
            "reason": failure.reason,
            "status": failure.status,
            "from_state": failure.from_state,
        }
        Artifacts(self.path).text("failed.json", _json(text))

    def forgive(self) -> None:
        """The run may be tried again."""
        (self.path / "failed.json").unlink(missing_ok=True)

    def has_state(self) -> bool:
        """Whether a training stopped here that can go on."""
        return any((self.output / name).exists() for name in _STATES)

    def state(self) -> State:
        """How far the run is."""
        if self.result() is not None:
            return "finished"
        if self.claims.holder() is not None:
            return "running"
        if self.failure() is not None:
            return "failed"
        return "interrupted" if self.has_state() else "waiting"


def read_json(file: Path) -> dict[str, Any] | None:
    """A mapping in a file; None where there is none that is whole."""
    try:
        with file.open(encoding="utf-8") as opened:
            found = json.loads(opened.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
