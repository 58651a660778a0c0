"""Emitted scripts of small specs, as the compiler writes them, and commands that run them under torchrun."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from resnet_dsl.backends.trainer.emit import emit
from resnet_dsl.commands.settings import checked_settings
from resnet_dsl.compiler import compile_spec, torch_source

NET = """\
name: little
input: {channels: 3, size: 8}
classes: 4
stem: {cifar: {width: 8}}
stages:
  - {block: basic, depth: 2, width: 8}
  - {block: basic, depth: 2, width: 16, stride: 2}
head: classifier
train:
  data: fake
  memory: true
  batch_size: 16
  epochs: 2
  optimiser: sgd
  lr: 0.05
  threads: 1
"""


def written(folder: Path, *changes: str, text: str = NET) -> Path:
    """A folder with the network and the training script of a spec, with `changes` as `--set` takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = folder / "spec.yaml"
    spec.write_text(text, encoding="utf-8")
    compiled = compile_spec(spec, changes)
    name = compiled.program.name
    (folder / f"{name}.py").write_text(torch_source(compiled), encoding="utf-8")
    script = emit(checked_settings(compiled, str(spec), changes))
    (folder / "train.py").write_text(script, encoding="utf-8")
    return folder


def torchrun(*arguments: str, processes: int = 2) -> list[str]:
    """The command that starts train.py in several processes of this machine."""
    options = ["--standalone", f"--nproc-per-node={processes}"]
    given = [argument for argument in arguments if argument.startswith("--max-restarts")]
    rest = [argument for argument in arguments if argument not in given]
    return [sys.executable, "-m", "torch.distributed.run", *options, *given, "train.py", *rest]


@contextmanager
def started(folder: Path, command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A command that runs in a folder, in a group of its own, which is killed if it still runs at the end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
