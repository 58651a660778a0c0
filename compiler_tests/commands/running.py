"""Running the command line as a process of its own, as users do, or in this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from typer.testing import CliRunner, Result

from resnet_dsl.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]

SMALL = """\
name: small
input: {channels: 1, size: 8}
classes: 10
stem: cifar
stages:
  - {block: basic, depth: 1, width: 8}
head: classifier
train: digits
"""
"""A network that every command takes, in a moment."""

# Written as `sitecustomize`, this makes the packages named in BLOCKED look as if they were not installed.
WITHOUT = """\
import os, sys
blocked = set(os.environ["BLOCKED"].split(","))
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            return None
        return self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = map(Without, sys.meta_path)
"""


def environment(**changes: str) -> dict[str, str]:
    """This environment, with the repository importable from any folder."""
    found = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **changes}
    for name in ("PYTHONIOENCODING", "COLUMNS", "NO_COLOR", "RESNET_DSL_TRACEBACK"):
        if name not in changes:
            found.pop(name, None)
    return found


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "resnet_dsl", *map(str, arguments)]


def call(*arguments: str | Path) -> Result:
    """The command line in this process, from which nothing but an exit escapes."""
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def run(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    shell: str = "",
    before: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `shell` are redirections, as `>&-`; the child begins with `before`."""
    words: str | Sequence[str] = command(*arguments)
    if shell:
        words = ["bash", "-c", f'"$@" {shell}', "bash", *words]
    return subprocess.run(
        words,
        cwd=cwd,
        env=environment() if env is None else env,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=120,
        check=False,
        preexec_fn=before,
    )


@contextmanager
def begin(*arguments: str | Path, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A command in a session of its own, in which signals act as by default; killed if it still runs at the end."""

    def defaults() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    with subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=defaults,
    ) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is so, and fail where it never is."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.005)


def without(packages: str, folder: Path) -> dict[str, str]:
    """An environment in which `packages` (with commas between) are not installed."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(WITHOUT)
    path = os.pathsep.join([str(folder), str(REPOSITORY)])
    return environment(PYTHONPATH=path, BLOCKED=packages)
