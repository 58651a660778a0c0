"""Running the training script: one process, or several on this machine that train together, as torchrun starts them.

What torchrun does besides (many machines, and new processes for those that have failed) is left to it: the script runs
under it too. It ends with a traceback of its own and status 1 whatever the script says; here a run ends as the script
does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from signal import SIGINT, SIGTERM
from typing import TypeAlias

Child: TypeAlias = subprocess.Popen[bytes]

PATIENCE_S = 30.0
"""How long processes may take to end when one of them has failed."""

KILLED = 128 + 9
"""The status of a script that was killed."""
INTERRUPTED = (128 + SIGINT, 128 + SIGTERM)
"""The statuses of a script that was asked to stop, and has saved."""

_LOOK_S = 0.1
_SIGNAL_WHEN_PARENT_ENDS = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
_HOST = "127.0.0.1"
_KEPT_BYTES = 100_000


def launch(
    command: Sequence[str],
    *,
    processes: int = 1,
    environment: Mapping[str, str] | None = None,
    quiet: bool = False,
    watch: Callable[[], bool] | None = None,
) -> int:
    """Run the script to its end; its exit status. A signal to us is the script's to answer.

    `environment` is added to ours. With `quiet` what it prints goes to standard error. `watch` is asked now and then,
    in a thread of its own, and once it says so the script is killed.
    """
    output = sys.stderr if quiet else None
    common = {**os.environ, **(environment or {})}
    if processes == 1:
        with (
            subprocess.Popen(
                command, stdout=output, env=common, preexec_fn=_ending_with_us()
            ) as child,
            _handed_on([child]),
            _watched([child], watch) as ended,
        ):
            status = child.wait()
        return KILLED if ended else _status(status)
    common |= {
        "MASTER_ADDR": _HOST,
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
    }
    common.setdefault("OMP_NUM_THREADS", str(max(_cores() // processes, 1)))
    children: list[Child] = []
    with _handed_on(children):
        try:
            for rank in range(processes):
                child = subprocess.Popen(
                    command,
                    stdout=output if rank == 0 else subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                    preexec_fn=_ending_with_us(),
                )
                children.append(child)
            with _watched(children, watch) as ended:
                return _together(children, ended)
        finally:
            for child in children:
                child.kill()
                child.wait()


def _together(children: Sequence[Child], ended: Sequence[Child]) -> int:
    """Wait for processes that train together; the status of the first that fails, which ends the others too.

    The first process says what there is to say; of another, only what it has failed by is shown.
    """
    said = [bytearray() for _ in children]
    readers = [
        threading.Thread(target=_read, args=(child, kept, child is children[0]), daemon=True)
        for child, kept in zip(children, said, strict=True)
    ]
    for reader in readers:
        reader.start()
    failed, end = None, float("inf")
    while any(child.poll() is None for child in children):
        time.sleep(_LOOK_S)
        if failed is None and (failed := _first_failed(children)) is not None:
            end = time.monotonic() + PATIENCE_S
            for child in children:
                _send(child, SIGTERM)
        if time.monotonic() > end:
            for child in children:
                child.kill()
    for reader in readers:
        reader.join()
    if failed is None:
        failed = _first_failed(children)
    if ended:
        return KILLED
    if failed is None:
        return max(child.returncode for child in children)  # 0, or interrupted and saved
    if said[failed] not in said[0]:
        print(f"process {failed} of {len(children)} failed:", file=sys.stderr)
        print(said[failed].decode(errors="replace"), end="", file=sys.stderr)
    return _status(children[failed].returncode)


def _first_failed(children: Sequence[Child]) -> int | None:
    """A process that has failed. One that was interrupted has not: all save then, and a signal would disturb that."""
    ended = (0, None, *INTERRUPTED)
    return next((rank for rank, child in enumerate(children) if child.poll() not in ended), None)


def _read(child: Child, kept: bytearray, shown: bool) -> None:
    """Keep the last of what a process says on standard error, and hand it on where it is to be shown."""
    assert child.stderr is not None
    with child.stderr as stream:
        while data := stream.read1():  # type: ignore[attr-defined]
            kept += data
            del kept[:-_KEPT_BYTES]
            if shown:
                with suppress(OSError, ValueError):
                    sys.stderr.write(data.decode(errors="replace"))
                    sys.stderr.flush()


def _status(status: int) -> int:
    """The exit status as a shell gives it; a script that a signal has ended could not say so itself."""
    if status >= 0:
        return status
    print(f"the training was ended by {signal.Signals(-status).name}", file=sys.stderr)
    return 128 - status


@contextmanager
def _watched(
    children: Sequence[Child], watch: Callable[[], bool] | None
) -> Iterator[Sequence[Child]]:
    """Kill all when `watch` says so; those that were killed for it, in a list that grows then."""
    killed: list[Child] = []
    if watch is None:
        yield killed
        return
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_S):
            if watch():
                killed.extend(children)
                for child in children:
                    child.kill()
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


@contextmanager
def _handed_on(children: Sequence[Child]) -> Iterator[None]:
    """Ctrl-C reaches the children through the terminal already; what else ends a process is passed on, as SIGTERM."""

    def ignore(_number: int, _frame: object) -> None:
        return

    def terminate(_number: int, _frame: object) -> None:
        for child in children:
            _send(child, SIGTERM)

    endings = [SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.signal(number, terminate) for number in endings}
    before[SIGINT] = signal.signal(SIGINT, ignore)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ending_with_us() -> Callable[[], None] | None:
    """What has a child asked to stop when we are killed; else two would write into one folder, it and the one that goes
    on in its place. Linux alone can do that, and asks at the end of each of our threads, all at once."""
    if sys.platform != "linux":
        return None
    try:
        control = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return None
    return lambda: control(_SIGNAL_WHEN_PARENT_ENDS, int(SIGTERM))


def _send(child: Child, number: int) -> None:
    with suppress(OSError):
        child.send_signal(number)


def _free_port() -> int:
    """A port that nobody listens on. Another may take it before the script does, and then that says so."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
