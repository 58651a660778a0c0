"""A progress bar on a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Bar:
    """A bar of one piece of work, which appears once it begins."""

    def __init__(self, what: str, unit: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        console = Console(stderr=True)
        self.progress = Progress(
            what,
            BarColumn(),
            MofNCompleteColumn(),
            unit,
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def begin(self, count: int) -> None:
        """So many there are."""
        self.progress.start()
        self.task = self.progress.add_task("", total=count)

    def add(self, count: int) -> None:
        """So many more are done."""
        self.progress.advance(self.task, count)


@contextmanager
def bar(what: str, unit: str = "images") -> Iterator[Bar]:
    """A bar, which is gone at the end of the block."""
    found = Bar(what, unit)
    try:
        yield found
    finally:
        found.progress.stop()
        sys.stderr.flush()
