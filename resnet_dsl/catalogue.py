"""Which specs there are: files that the user names, and the ones that come with the package."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from resnet_dsl.errors import CompileError, Diagnostic, suggest

_HERE = Path(__file__).resolve().parent


@cache
def bundled() -> dict[str, Path]:
    """The bundled specs by name, which is their file's: `resnet50`, `resnet110_preact`."""
    installed, checkout = _HERE / "specs", _HERE.parent / "specs"
    folder = installed if installed.is_dir() else checkout
    return {file.stem: file for file in sorted(folder.rglob("*.yaml"))}


def find_spec(text: str) -> Path:
    """The file of a spec given as a path or as the name of a bundled one.

    Raises CompileError RD206 where it is neither.
    """
    path = Path(text)
    if os.path.isfile(path):  # False, and no error, for a name that no system can have
        return path
    known = bundled()
    for name, file in known.items():
        if path in (Path(name), Path(file.parent.name, name)):
            return file
    is_path = path.suffix in (".yaml", ".yml") or len(path.parts) > 1
    if is_path and path.stem not in known:
        return path  # the reader says what is wrong with it
    raise CompileError(
        Diagnostic(
            "RD206",
            f"there is no spec `{text[:80]}`",
            why="it is neither a file nor the name of a bundled spec",
            hint=(f"`{path.stem}`, without a folder, is the bundled one" if is_path else None)
            or suggest(text, known)
            or "`resnet-dsl list` shows the bundled ones",
        )
    )
