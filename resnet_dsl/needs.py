"""What a command needs besides the package itself."""

from __future__ import annotations

import importlib.util

from resnet_dsl.errors import CompileError, Diagnostic


def require(*packages: str) -> None:
    """Raise CompileError RD650 for packages that are not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise CompileError(
            Diagnostic(
                "RD650",
                f"this needs {', '.join(missing)}",
                why="only some of the package's extras are installed",
                hint="pip install 'resnet-dsl[all]'",
            )
        )
