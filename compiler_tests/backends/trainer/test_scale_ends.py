"""Several processes that cannot begin, are interrupted, killed, or diverge: they end together, one of them says why,
and what was saved goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from signal import SIGINT, SIGKILL, SIGTERM

import pytest

from compiler_tests.backends.trainer.conftest import lines, same
from compiler_tests.backends.trainer.crew import Crew, crew
from compiler_tests.backends.trainer.scripts import written
from compiler_tests.backends.trainer.test_scale import EXACT, GROUPS, told_alike, worst
from compiler_tests.runtime.data_trees import small_tree, write_tree

pytest.importorskip("torch")

pytestmark = pytest.mark.slow

# Chance is in it, too, so that each process has to find its own again. The average is kept of statistics that differ.
CHANCE = ("head={classifier: {dropout: 0.2}}", "train.ema=0.9", "train.epochs=3")


@pytest.fixture(scope="module")
def runs() -> Iterator[Crew]:
    with crew() as found:
        yield found


def test_what_cannot_begin_is_said_once_and_ends_all(runs, tmp_path):
    begun = written(tmp_path / "begun")
    runs.good(begun, "run", world=1)
    other = written(tmp_path / "other", "train.batch_size=15", "train.accumulate=3")
    tree = write_tree(tmp_path / "images", small_tree())
    files = written(tmp_path / "files", "train.data=folder", f"train.path={tree}")
    cases = [
        (begun, ("--resume", "--out", "nothing"), 2, "there is no nothing/state.pt"),
        (begun, ("--resume", "--out", "run", "--seed", "7"), 2, "that run has the seed 0"),
        (begun, ("--weights", "train.py"), 2, "train.py: no safetensors"),
        (begun, ("--out", "train.py/run"), 1, "Not a directory"),
        (other, ("--resume", "--out", "../begun/run"), 2, "of another network or another recipe"),
        (
            other,
            (),
            2,
            "a batch of 15 cannot be divided into 6 equal parts, as 2 processes need it",
        ),
        (files, (), 2, "the network tells 4 apart"),
        (files, ("--data", "nowhere"), 2, "nowhere"),
    ]
    for folder, arguments, status, message in cases:
        first, second = runs.run(folder, *arguments)
        assert (first.status, second.status) == (status, status), (arguments, first, second)
        assert message in first.stderr
        assert "Traceback" not in first.stderr
        assert (second.stdout, second.stderr) == ("", "")


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_what_is_interrupted_or_killed_goes_on_to_the_same_bits(runs, tmp_path, parallel):
    folder = written(tmp_path, *CHANCE, f"train.parallel={parallel}")
    whole = runs.good(folder, "whole")
    # A signal that one process gets, in the midst of the second epoch, stops and saves all.
    stopped = runs.run(folder, "--out", "stopped", stop={1: (SIGTERM, 5)})
    assert [done.status for done in stopped] == [128 + SIGTERM] * 2, stopped
    first, second = stopped
    assert "interrupted after iteration 5, and saved" in first.stdout
    assert (second.stdout, first.stderr, second.stderr) == ("", "", "")
    assert len(lines(folder / "stopped")) == 1
    assert same(runs.good(folder, "stopped", "--resume"), whole)
    # What one does not survive ends the other, too.
    killed = runs.run(folder, "--out", "killed", stop={1: (SIGKILL, 6)})
    assert [done.status for done in killed] == [1, 128 + SIGKILL]
    assert "another process has ended" in killed[0].stderr
    assert "Traceback" not in killed[0].stderr
    assert same(runs.good(folder, "killed", "--resume"), whole)


def test_another_number_of_processes_goes_on_and_says_so(runs, tmp_path):
    folder = written(tmp_path, EXACT, GROUPS, "train.momentum=0.9", "train.epochs=3")
    whole = runs.good(folder, "whole", double=True, world=1)
    for before, after in ((1, 2), (2, 1)):
        out, stop = f"from{before}", {0: (SIGINT, 5)}
        stopped = runs.run(folder, "--out", out, world=before, double=True, stop=stop)
        assert stopped[0].status == 128 + SIGINT, stopped
        resumed = runs.run(folder, "--resume", "--out", out, world=after, double=True)
        assert [done.status for done in resumed] == [0] * after, resumed
        share = "all in one process" if after == 1 else "8 in each of 2 processes"
        assert f"batches of 16 images, {share}; learning rate 0.05\n" in resumed[0].stdout
        assert f"until now the processes were {before}: the run goes on" in resumed[0].stdout
        assert worst(folder / out, whole) < 1e-12
        assert told_alike(folder / out, whole, 1e-6)


def test_numbers_that_explode_in_one_process_stop_all(runs, tmp_path):
    folder = written(tmp_path, "train.lr=1e20", "train.epochs=3")
    first, second = runs.run(folder, "--out", "run")
    assert (first.status, second.status) == (1, 1)
    assert "stopped: the loss of iteration 2 is" in first.stderr
    assert (second.stdout, second.stderr) == ("", "")


def test_what_the_first_cannot_write_ends_all(runs, tmp_path):
    folder = written(tmp_path)
    run = runs.good(folder, "run", "--epochs", "1")
    (run / "last.safetensors").unlink()
    (run / "last.safetensors").mkdir()  # which no file can take the place of
    first, second = runs.run(folder, "--resume", "--epochs", "2", "--out", "run")
    assert (first.status, second.status) == (1, 1)
    assert "last.safetensors" in first.stderr
    assert (second.stdout, second.stderr) == ("", "")
    shutil.rmtree(run / "last.safetensors")
    runs.good(folder, "run", "--resume", "--epochs", "2")


def test_processes_say_how_a_batch_is_divided(runs, tmp_path):
    folder = written(
        tmp_path,
        "train.accumulate=2",
        "train.lr=0.4",
        "train.lr_batch=64",
        "train.warmup_lr=0.04",
        "train.warmup=1",
    )
    script = (folder / "train.py").read_text()
    assert (
        "\nLR = 0.1  # the highest learning rate: 0.4 for a batch of 64, in proportion\n" in script
    )
    assert (
        "\nWARMUP_LR = 0.01  # the rate that it begins with: 0.04 for a batch of 64, in pro"
        in script
    )
    first, second = runs.run(folder, "--epochs", "1")
    said = "batches of 16 images, 8 in each of 2 processes, in 2 micro-batches; learning rate 0.1\n"
    assert first.stdout.startswith(said)
    assert second.stdout == ""
    (alone,) = runs.run(folder, "--epochs", "1", world=1)
    assert "batches of" not in alone.stdout
