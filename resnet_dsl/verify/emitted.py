"""Files that the compiler has emitted, as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def import_emitted(path: Path) -> Any:
    """Import a file that the compiler has emitted; its neighbours can be imported by it."""
    spec = importlib.util.spec_from_file_location(f"resnet_dsl_emitted_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module: ModuleType = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    sys.modules[module.__name__] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module
