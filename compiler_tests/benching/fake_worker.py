"""A process that answers as a measuring one does, at once, and fails as it is told by `Load.name`.

fast          times of 1 ms for each image
slow          twice that
crash@8       the process ends at batch 8
killed@8      the process is killed at batch 8
hang@8        no answer at batch 8
memory@8      batch 8 does not fit
broken        it cannot be loaded
unsupported   it is not for this machine
noise         lines that are no answers come in between
"""

from __future__ import annotations

import os
import signal
import sys
import time

from resnet_dsl.bench.messages import (
    Answer,
    Failed,
    Load,
    Loaded,
    Measure,
    Measured,
    Prepare,
    Prepared,
    asked,
    tell,
)


def answer(request: Load | Prepare | Measure, name: str) -> Answer:
    match request:
        case Load(name="broken"):
            return Failed("error", "the file is of another kind")
        case Load(name="unsupported"):
            return Failed("unsupported", "this processor has no such instructions")
        case Load():
            return Loaded(0.25, {"fake": "1.0"})
        case Prepare(batch=batch):
            fail(name, batch)
            if name == f"memory@{batch}":
                return Failed("memory", "not enough of it")
            return Prepared(0.5, 0.125, 7, name != "slow", 1000 * batch, [1.0, 2.0, float(batch)])
        case Measure(batch=batch):
            seconds = batch * (0.002 if name == "slow" else 0.001)
            return Measured([seconds] * 4, 1 / seconds)


def fail(name: str, batch: int) -> None:
    if name == f"crash@{batch}":
        print("a library's last words", file=sys.stderr, flush=True)
        os._exit(3)
    if name == f"killed@{batch}":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == f"hang@{batch}":
        time.sleep(600)


def main() -> None:
    name = ""
    for line in sys.stdin:
        request = asked(line)
        name = request.name if isinstance(request, Load) else name
        if name == "noise":
            print("[W] a library says something", flush=True)
            print('{"event": "unheard of"}', flush=True)
        sys.stdout.buffer.write(tell(answer(request, name)))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
