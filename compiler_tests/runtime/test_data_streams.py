"""Streamed batches are the same for any number of workers and wherever one begins, and end cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from compiler_tests.runtime.data_trees import photograph, small_tree, write_tree
from resnet_dsl.runtime.data import DataError
from resnet_dsl.runtime.data_files import open_folder
from resnet_dsl.runtime.data_streams import Streamed, sample_seed


def drawn(index: int, bad: int = -1) -> tuple[Image.Image, int]:
    if index == bad:
        raise DataError("set: 3.jpg is damaged\nreplace it, or take it away")
    return photograph(index), index


def killed(index: int) -> tuple[Image.Image, int]:
    if index == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return drawn(index)


RANDOM = v2.Compose([v2.RandomCrop(8, padding=2), v2.RandomHorizontalFlip(), v2.PILToTensor()])
PLAIN = v2.PILToTensor()


def collected(
    source: Streamed, epoch: int, first: int = 0, count: int = 12
) -> list[tuple[Tensor, Tensor]]:
    """The batches of three of an epoch from one on, in an order that turns the images around."""
    order = torch.arange(count).flip(0)
    return list(source.batches(epoch, order, torch.split(torch.arange(count), 3)[first:]))


def same(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(one, other, strict=True)
    )


def test_batches_are_the_images_at_the_positions_of_the_order():
    found = collected(Streamed(drawn, PLAIN, 0, 0), 0)
    assert [labels.tolist() for _, labels in found] == [
        [11, 10, 9],
        [8, 7, 6],
        [5, 4, 3],
        [2, 1, 0],
    ]
    assert torch.equal(found[2][0][1], PLAIN(photograph(4)))
    assert found[0][0].shape == (3, 3, 8, 8)


@pytest.mark.slow
def test_batches_are_the_same_for_any_number_of_workers_in_every_epoch():
    sources = [Streamed(drawn, RANDOM, 7, workers) for workers in (0, 1, 2)]
    epochs = [[collected(source, epoch) for source in sources] for epoch in range(3)]
    for batches in epochs:
        assert same(batches[0], batches[1])
        assert same(batches[0], batches[2])
    assert not same(epochs[0][0], epochs[1][0])
    assert not same(epochs[0][0], collected(Streamed(drawn, RANDOM, 8, 0), 0))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_that_is_resumed_or_left_goes_on_as_if_it_had_not(workers):
    source = Streamed(drawn, RANDOM, 7, workers)
    whole = collected(source, 4)
    assert same(whole[2:], collected(source, 4, first=2))
    next(iter(source.batches(4, torch.arange(12), torch.split(torch.arange(12), 3))))
    assert same(whole, collected(source, 4))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_others_draw_is_not_changed(workers):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    collected(Streamed(drawn, RANDOM, 7, workers), 0)
    assert torch.equal(torch.rand(3), expected)


def test_every_sample_has_a_seed_of_its_own():
    seeds = {
        sample_seed(*each)
        for each in ((s, e, p) for s in range(8) for e in range(8) for p in range(64))
    }
    assert len({seed % 2**32 for seed in seeds}) == 8 * 8 * 64  # torch's generator takes 32 bits
    assert sample_seed(1, 23, 4) != sample_seed(12, 3, 4)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_wrong_with_the_data_is_said_as_it_is(workers):
    source = Streamed(partial(drawn, bad=4), PLAIN, 0, workers)
    assert refusal(source) == "set: 3.jpg is damaged\nreplace it, or take it away"
    assert len(collected(source, 0, count=3)) == 1


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told():
    said = refusal(Streamed(killed, PLAIN, 0, 1))
    assert said.startswith("a process that decodes images has been ended from outside")


def refusal(source: Streamed) -> str:
    """What is raised; not by `pytest.raises`, whose cycle of references would keep the workers."""
    try:
        collected(source, 0)
    except DataError as error:
        return str(error)
    raise AssertionError("nothing is refused")


@pytest.mark.slow
def test_files_are_streamed_by_workers(tmp_path):
    data = open_folder(write_tree(tmp_path, small_tree()), "train", channels=3)
    order = torch.tensor([5, 2, 7, 0])
    ((images, labels),) = Streamed(data.sample, PLAIN, 0, 2).batches(0, order, [torch.arange(4)])
    assert torch.equal(labels, data.labels[order])
    assert torch.equal(images[1], PLAIN(data.sample(2)[0]))


SCRIPT = """
import os, signal, sys, torch
from compiler_tests.runtime.test_data_streams import PLAIN, Streamed, drawn

stopped = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: stopped.append(number))

def main():
    source = Streamed(drawn, PLAIN, 0, 2)
    batches = source.batches(0, torch.arange(100_000), torch.arange(100_000).split(10))
    for count, _ in enumerate(batches):
        if count == 3:
            print("begun", *(worker.pid for worker in source.loader._iterator._workers), flush=True)
        if count == 3 and sys.argv[1] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if len(stopped) == 2:
            break
    after = sum(1 for _ in zip(range(20), batches))
    print("stopped", sorted(map(int, stopped)), after, flush=True)

main()
"""


def running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="asks Linux what runs")
@pytest.mark.parametrize("what", ["stop", "die"])
def test_signals_to_all_processes_are_for_the_training_and_no_worker_outlives_it(what):
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, what],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert run.stdout is not None
        begun, *pids = run.stdout.readline().split()
        assert (begun, len(pids)) == ("begun", 2)
        if what == "stop":
            os.killpg(run.pid, signal.SIGINT)
            os.killpg(run.pid, signal.SIGTERM)
        said, wrong = run.communicate(timeout=60)
    finally:
        run.kill()
        run.wait()
    if what == "stop":
        assert (said, wrong, run.returncode) == ("stopped [2, 15] 20\n", "", 0)
    until = time.monotonic() + 20
    while any(map(running, map(int, pids))) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(running, map(int, pids)))
