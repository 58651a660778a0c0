"""Run the command line with the arguments given, then print as JSON which heavy packages it imported."""

from __future__ import annotations

import contextlib
import json
import sys

HEAVY = ("onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "torch", "torchvision")


def main() -> int:
    from resnet_dsl.cli import main as command_line

    status: object = 0
    with contextlib.redirect_stdout(sys.stderr):
        try:
            status = command_line()  # type: ignore[func-returns-value,unused-ignore]
        except SystemExit as stop:
            status = stop.code
    print(json.dumps([name for name in HEAVY if name in sys.modules]))
    return status if isinstance(status, int) else int(bool(status))


if __name__ == "__main__":
    sys.exit(main())
