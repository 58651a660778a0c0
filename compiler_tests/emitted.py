"""Helpers of tests that run and check what the compiler emits: import a source file, hand it to a tool."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SPECS = ROOT / "specs"
SETTINGS = str(ROOT / "pyproject.toml")


def all_specs() -> list[Path]:
    """Every spec of the repository."""
    return sorted(SPECS.rglob("*.yaml"))


def import_file(path: Path) -> ModuleType:
    """Import one source file under a name of its own."""
    name = f"emitted_{path.stem}_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def construct(path: Path, **arguments: Any) -> Any:
    """The network of an emitted file, by the factory that is named as the file."""
    return getattr(import_file(path), path.stem)(**arguments)


def tool(*arguments: str, cwd: Path = ROOT) -> None:
    """Run a tool of the project on emitted files; its complaints are the failure."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def is_clean(*paths: Path | str, cwd: Path = ROOT) -> None:
    """Formatted and lint-clean under the project's own settings."""
    settings = ("--no-cache", "--config", SETTINGS, *map(str, paths))
    tool("ruff", "format", "--check", "--diff", *settings, cwd=cwd)
    tool("ruff", "check", *settings, cwd=cwd)


def is_typed(*paths: Path | str, cwd: Path = ROOT) -> None:
    """Strictly typed under the project's own settings; with its cache, in which torch has been read before."""
    cache = str(ROOT / ".mypy_cache")
    tool("mypy", "--config-file", SETTINGS, "--cache-dir", cache, *map(str, paths), cwd=cwd)
