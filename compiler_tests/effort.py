"""How the work of a call grows with its input, for tests.

Counted in processor time of this process alone, so that other work on the machine does not show, and compared
only with itself: what the compiler takes in seconds is for `just bench`.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def grows_linearly(prepare: Callable[[int], Callable[[], object]], size: int) -> bool:
    """Whether `prepare(10 * size)()` takes about ten times what `prepare(size)()` does.

    A factor of three, and half a second, are allowed for; a quadratic step shows as a factor of a hundred.
    """
    _seconds(prepare(size))  # what is done once, and then kept
    return _seconds(prepare(10 * size)) < 30 * _seconds(prepare(size)) + 0.5


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
