"""Runs are trained once, go on where they stopped, and are shared by workers, whatever ends any of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from compiler_tests.commands.running import environment, wait_for
from compiler_tests.studies.fakes import STUDY, calls, options, runs, write
from resnet_dsl.studies.folder import RunFolder
from resnet_dsl.studies.plan import Run
from resnet_dsl.studies.worker import Worker

ONE = STUDY.replace("[6, 10]", "[6]")


class Bench:
    """A folder with a study, and workers on it."""

    def __init__(self, folder: Path, study: str = STUDY, **chosen: str) -> None:
        self.folder, self.out = folder, folder / "out"
        self.file = write(folder, study)
        self.runs = runs(self.file, seeds=(), **chosen)
        self.said: list[str] = []

    def work(self, jobs: int = 1, *, retry: bool = False) -> None:
        Worker(self.out, options(self.folder, jobs, retry=retry), self.said.append).work(self.runs)

    def states(self) -> list[str]:
        return [self.of(run).state() for run in self.runs]

    def of(self, run: Run) -> RunFolder:
        return RunFolder(self.out / "runs", run)

    def calls(self) -> list[int]:
        return [len(calls(self.out, run)) for run in self.runs]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, ONE, net="plain")


def test_every_run_is_trained_once_and_never_again(bench: Bench) -> None:
    assert bench.states() == ["waiting"] * 2
    bench.work()
    assert bench.states() == ["finished"] * 2
    assert bench.calls() == [1] * 2
    bench.said.clear()
    bench.work()
    assert (bench.calls(), bench.said) == ([1] * 2, [])


def test_a_run_says_when_it_begins_what_its_training_says_and_how_it_ends(bench: Bench) -> None:
    bench.work()
    label = "net=plain depth=6 seed=1"
    folder = bench.of(bench.runs[1]).path
    said = [line.removeprefix(f"{label}: ") for line in bench.said if line.startswith(label)]
    assert said == [f"begins in {folder}", "epoch 1/3", "finished, test error 8.00 %"]
    assert (folder / "log.txt").read_text() == "epoch 1/3\n"


def test_the_trainer_gets_the_spec_as_it_was_planned(bench: Bench) -> None:
    bench.work()
    run = bench.runs[1]
    folder = bench.of(run)
    assert calls(bench.out, run) == [f"{folder.spec} --out {folder.path} --json"]
    assert json.loads(folder.spec.read_text()) == run.spec


def test_a_changed_study_trains_what_has_changed(bench: Bench) -> None:
    bench.work()
    bench.runs = runs(bench.file, "train.epochs=4", net="plain")
    assert bench.states() == ["waiting"] * 2


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("fail", "the data do not fit: 7 classes"),
        ("diverge", "epoch 1/3 / stopped: the loss is not finite at step 3"),
        ("die", "it was ended by SIGKILL, perhaps for want of memory"),
        ("lie", "the training ended well, and left no result of this spec"),
    ],
)
def test_a_failure_is_recorded_with_its_reason_and_tried_again_on_request_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, deed: str, reason: str
) -> None:
    monkeypatch.setenv("FAKE", f"1={deed}")
    bench.work()
    assert bench.states() == ["finished", "failed"]
    failure = bench.of(bench.runs[1]).failure()
    assert failure is not None
    assert failure.reason == reason
    assert f"net=plain depth=6 seed=1: failed: {reason}" in bench.said
    monkeypatch.setenv("FAKE", "")
    bench.work()
    assert bench.calls() == [1, 1]
    bench.work(retry=True)
    assert bench.calls() == [1, 2]
    assert bench.states() == ["finished"] * 2


def test_a_result_that_is_cut_off_or_of_another_spec_is_none(bench: Bench) -> None:
    bench.work()
    first, second = (bench.of(run).output / "result.json" for run in bench.runs[:2])
    first.write_text(first.read_text()[:-5])
    second.write_text(second.read_text().replace(bench.runs[1].spec_hash, "0" * 64))
    assert bench.states() == ["waiting", "waiting"]
    bench.work()
    assert bench.calls() == [2, 2]


def test_an_interrupted_worker_lets_its_trainings_save_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, ONE)
    monkeypatch.setenv("FAKE", "0=wait")
    waiting = [bench.of(run).output / "state.pt" for run in bench.runs if run.seed == 0]

    def interrupt() -> None:
        wait_for(lambda: all(state.exists() for state in waiting))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        bench.work(jobs=2)
    thread.join()
    assert bench.states() == ["interrupted", "finished", "interrupted", "waiting"]
    logs = [(bench.of(run).path / "log.txt").read_text() for run in bench.runs if run.seed == 0]
    assert logs == ["epoch 1/3\nsaved\n"] * 2
    bench.work()
    assert bench.states() == ["finished"] * 4
    assert calls(bench.out, bench.runs[0])[1].endswith("--json --resume")


def test_what_cannot_go_on_begins_anew_when_it_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE", "0=refuse")
    (bench.of(bench.runs[0]).output).mkdir(parents=True)
    (bench.of(bench.runs[0]).output / "state.pt").write_text("damaged")
    bench.work()
    assert bench.states()[0] == "failed"
    failure = bench.of(bench.runs[0]).failure()
    assert failure is not None
    assert "the state is damaged" in failure.reason
    monkeypatch.setenv("FAKE", "")
    bench.work(retry=True)
    assert bench.states()[0] == "finished"
    assert "--resume" not in calls(bench.out, bench.runs[0])[1]


WORKER = """\
import sys
from pathlib import Path
from compiler_tests.studies.fakes import options, runs
from resnet_dsl.studies.worker import Worker
folder = Path(sys.argv[1])
Worker(folder / "out", options(folder), print).work(runs(folder / "tiny.yaml"))
"""


def _worker(folder: Path, **fake: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder)],
        env=environment(**fake),
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_workers_that_share_a_folder_train_each_run_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    workers = [_worker(tmp_path, FAKE="0=meet,1=meet") for _ in range(3)]
    ended = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert bench.calls() == [1] * 8
    assert bench.states() == ["finished"] * 8
    begun = [said.count("begins in") for said in ended]
    assert sum(begun) == 8
    assert max(begun) < 8, "the first run ends after a second one has begun"


@pytest.mark.slow
def test_what_a_killed_worker_leaves_is_taken_up_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, ONE, net="plain")
    first = bench.of(bench.runs[0])
    worker = _worker(tmp_path, FAKE="0=wait")
    wait_for((first.output / "state.pt").exists)
    wait_for(lambda: json.loads((first.path / "claim.1").read_text() or "{}").get("child"))
    child = json.loads((first.path / "claim.1").read_text())["child"]
    worker.kill()
    worker.communicate()
    assert first.state() == "running", "the training outlives its worker"
    bench.work()
    assert first.state() == "running"
    assert bench.states()[1] == "finished"
    os.killpg(child, signal.SIGKILL)
    wait_for(lambda: first.state() == "interrupted")
    bench.work()
    assert bench.states() == ["finished"] * 2
    assert calls(bench.out, bench.runs[0])[1].endswith("--resume")
