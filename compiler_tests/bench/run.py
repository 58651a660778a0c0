"""The benchmark: each number with its peer's beside it, measured in one run on one machine.

    just bench                        everything (about six minutes on two cores)
    just bench --quick                fewer runs, and without the export of ResNet-1202, which takes over a minute
    just bench --only latency         one case; may be given several times
    just bench --json FILE            the figures for a program
    just bench --markdown FILE        the page docs/benchmarks.md

The exit status tells whether every command ran, not whether a target was met: machines differ, the table says.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from compiler_tests.bench.cases import CASES, Bench
from compiler_tests.bench.measure import RunError
from compiler_tests.bench.rows import Row, table, to_json, to_markdown

PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "numpy")
NOTES = """
Written by `just bench --markdown docs/benchmarks.md`. Every peer was measured in the same run; times are medians, and
what counts is the ratio: absolute times move with the machine.

- *Whole process* is from the start of the command to its exit, so Python's start and every import are in it. The
  exporter is also given as *the call alone*, without its imports and without constructing the network: a comparison
  that favours it.
- torch.onnx is `torch.onnx.export(dynamo=True)` with a fixed batch, which is less work than a symbolic one. For
  resnet1202 and resnet50 it exports the module that `build --target torch` writes, for resnet152 torchvision's.
- *Peak memory* is the largest resident set of the process, interpreter and libraries included, divided by the bytes of
  the weights.
- Latencies are of the two graphs run in turn in ONNX Runtime, by threads that wait without spinning, and their ratio is
  the median over pairs; two equal graphs differ by less than 2 %.
- int8 is measured by `resnet-dsl bench` (docs/speed.md): each backend in a process of its own, in turn; the ratio is
  the median over rounds. Its scales are from noise, which changes no time. torchvision's network runs in the faster of
  the two layouts of images.
- Trainings run in turn on the same images, the time is that of the last epoch, without its test. Ours is the whole
  command `resnet-dsl train` with the recipe `fast-cifar` (a moving average of the weights is in it, and the decisions
  that a long run needs), the others are loops of thirty lines.
"""


def machine() -> dict[str, str]:
    """What the figures were measured on and with."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    found = {"processor": f"{processor}, {cores} cores", "Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def parse(arguments: list[str] | None) -> argparse.Namespace:
    description, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="just bench",
        description=description,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="fewer runs, no slow peers")
    parser.add_argument("--only", action="append", choices=list(CASES), metavar="CASE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    return parser.parse_args(arguments)


def other_sections(page: Path) -> str:
    """What other programs have written on the page: all from its first heading of the second level on."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    return text[text.index("\n## ") :] if "\n## " in text else ""


def measure(names: list[str], quick: bool) -> tuple[list[Row], dict[str, str]]:
    """The rows of the cases named, and for each case that failed, why."""
    rows: list[Row] = []
    failures: dict[str, str] = {}
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {text}", file=sys.stderr, flush=True)

    for name in names:
        with tempfile.TemporaryDirectory(prefix="resnet_dsl_bench_") as folder:
            try:
                rows.extend(CASES[name](Bench(Path(folder), quick, say)))
            except RunError as error:
                failures[name] = str(error)
                say(f"{name} failed: {error}")
    return rows, failures


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    rows, failures = measure(options.only or list(CASES), options.quick)
    if options.json:
        options.json.write_text(to_json(rows, machine(), failures), encoding="utf-8")
    if options.markdown and not failures:
        text = to_markdown(rows, machine(), NOTES) + other_sections(options.markdown)
        options.markdown.write_text(text, encoding="utf-8")

    # Imported only now: a child starts as a copy of this process, and that copy is counted as its memory.
    from rich.console import Console
    from rich.markup import escape

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table(rows))
    for name, why in failures.items():
        lines = why.splitlines()
        text = escape("\n  ".join([lines[0], *lines[-3:]] if len(lines) > 3 else lines))
        console.print(f"[bold red]{name} failed[/]: {text}")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
