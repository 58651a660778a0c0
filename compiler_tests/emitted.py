"""Helpers of tests that run what the compiler emits: import a source file, load weights into it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

SPECS = Path(__file__).resolve().parent.parent / "specs"


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
