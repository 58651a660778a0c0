"""A study of small nets, and a trainer that takes a moment; FAKE says by seed what else it does: `1=fail,2=wait`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from resnet_dsl.studies.folder import RunFolder
from resnet_dsl.studies.plan import Choice, Run, plan
from resnet_dsl.studies.schema import read_study
from resnet_dsl.studies.worker import Options

SPEC = """\
name: small
input: {channels: 1, size: 8}
classes: 10
stem: cifar
stages:
  - {block: basic, depth: 1, width: 8}
  - {block: basic, depth: 1, width: 16, stride: 2}
head: classifier
train: {recipe: digits, epochs: 3}
"""

STUDY = """\
name: tiny
doc: A study of small nets.
spec: small.yaml
axes:
  net:
    values:
      plain: {set: {shortcut: none}}
      residual:
  depth:
    values: [6, 10]
    set: {stages.*.depth: (depth - 2) / 4}
seeds: [0, 1]
table: {columns: net}
figure: {kind: curves, groups: net, lines: depth}
"""

TRAINER = """\
import json, os, signal, sys, time
from pathlib import Path

spec, out = Path(sys.argv[1]), Path(sys.argv[sys.argv.index("--out") + 1])
about = json.loads((out / "run.json").read_text())
deed = dict(item.split("=") for item in os.environ.get("FAKE", "").split(",") if item)
deed = deed.get(str(about["seed"]), "")
resumed = "--resume" in sys.argv
run = out / "run"
run.mkdir(exist_ok=True)
with (out / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
print("epoch 1/3", file=sys.stderr, flush=True)
if deed == "fail":
    error = {"code": "RD651", "message": "the data do not fit", "why": "7 classes", "hint": None}
    print(json.dumps({"errors": [error]}))
    sys.exit(2)
if deed == "refuse" and resumed:
    print("train.py: the state is damaged", file=sys.stderr)
    sys.exit(2)
if deed == "diverge":
    print("stopped: the loss is not finite at step 3", file=sys.stderr)
    print(json.dumps({"errors": [{"code": "RD653", "message": "the script ended", "why": "x"}]}))
    sys.exit(1)
if deed == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if deed == "lie":
    sys.exit(0)
if deed in ("wait", "refuse") and not resumed:
    def save(*_):
        print("saved", file=sys.stderr, flush=True)
        os._exit(143)
    signal.signal(signal.SIGTERM, save)
    (run / "state.pt").write_text("state")
    for _ in range(600):
        time.sleep(0.05)
if deed == "meet":  # go on once a second run has begun, as only another worker can begin it
    while len(list(out.parent.glob("*/calls"))) < 2:
        time.sleep(0.01)
depth = float(about["axes"]["depth"])
plain = about["axes"]["net"] == "plain"
with (run / "metrics.jsonl").open("w") as file:
    for epoch in range(1, 4):
        error = depth / epoch + about["seed"] + 5 * plain
        line = {"epoch": epoch, "iteration": 100 * epoch, "train_error": error / 2, "test_error": error}
        file.write(json.dumps(line) + "\\n")
result = {
    "spec": about["spec_sha256"], "seed": about["seed"], "test_accuracy": 100 - error,
    "best_test_accuracy": 100 - error + 0.5, "seconds": 2.0 + about["seed"], "device": "cpu",
}
(run / "result.json").write_text(json.dumps(result))
print(json.dumps({"result": result}))
"""


def write(folder: Path, study: str = STUDY, spec: str = SPEC) -> Path:
    """The study's file, with its spec and the trainer beside it."""
    (folder / "small.yaml").write_text(spec)
    (folder / "trainer.py").write_text(TRAINER)
    file = folder / "tiny.yaml"
    file.write_text(study)
    return file


def runs(file: Path, *overrides: str, seeds: tuple[int, ...] = (), **axes: str) -> list[Run]:
    """The runs of a study's file; `depth="6,10"` chooses values."""
    chosen = {axis: tuple(values.split(",")) for axis, values in axes.items()}
    return plan(*read_study(file), Choice(chosen, seeds, overrides), lambda _: None)


def options(folder: Path, jobs: int = 1, *, retry: bool = False) -> Options:
    """Options with the trainer above, and a fast heart."""
    return Options(jobs, None, retry, trainer(folder), beat_s=0.05, stale_s=600)


def trainer(folder: Path) -> tuple[str, ...]:
    """The command of the trainer that `write` has written."""
    return (sys.executable, str(folder / "trainer.py"))


def calls(out: Path, run: Run) -> list[str]:
    """How the trainer was called for a run."""
    file = RunFolder(out / "runs", run).path / "calls"
    return file.read_text().splitlines() if file.exists() else []


def finish(out: Path, run: Run, **measures: object) -> None:
    """Make a run look finished."""
    folder = RunFolder(out / "runs", run)
    folder.output.mkdir(parents=True, exist_ok=True)
    folder.prepare()
    accuracies = {"test_accuracy": 90.0, "best_test_accuracy": 91.0, "seconds": 3.0}
    result = {"spec": run.spec_hash, **accuracies, **measures}
    (folder.output / "result.json").write_text(json.dumps(result))
