"""What every test may use: a small spec, golden files, one thread a worker, and settings for hypothesis."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores. The libraries read this when they are imported, so it is set before any is.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

from compiler_tests.commands.running import SMALL

GOLDEN = Path(__file__).parent / "golden"
SHOWN = 200  # lines of a difference; the rest is counted

# Speed is no property of the code here: a run may share its machine. CI draws the same examples every time.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the golden files from what the code says today; runs only the tests that have one",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --update-golden, leave out every test that has no golden file."""
    if not config.getoption("--update-golden"):
        return
    kept = [item for item in items if "update_golden" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is not None:
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs an NVIDIA GPU")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A file with a network that every command takes, in a moment."""
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    return file


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether expected files are rewritten instead of compared; a test that asks for this runs under `just golden`."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def golden(update_golden: bool) -> Callable[[str | Path, str], None]:
    """`golden(path, text)` asserts that compiler_tests/golden/`path` holds `text`; a path may be absolute, too."""

    def compare(path: str | Path, text: str) -> None:
        __tracebackhide__ = True
        file = GOLDEN / path
        expected = file.read_text(encoding="utf-8") if file.exists() else None
        if text == expected:
            return
        if update_golden:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
            return
        shown = os.path.relpath(file, GOLDEN.parent.parent)
        found = "is not there" if expected is None else "is not what the code gives"
        difference = list(
            difflib.unified_diff(
                (expected or "").splitlines(),
                text.splitlines(),
                f"{shown} (expected)",
                "given",
                lineterm="",
            )
        ) or ["(they differ in line endings only)"]
        if len(difference) > SHOWN:
            difference[SHOWN:] = [f"… {len(difference) - SHOWN} more lines"]
        pytest.fail(
            "\n".join([f"{shown} {found}", *difference, "", "If the change is meant: just golden"]),
            pytrace=False,
        )

    return compare
