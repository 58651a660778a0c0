"""What an evaluation refuses."""

from __future__ import annotations

from resnet_dsl.errors import CompileError, Diagnostic


def refusal(
    code: str, message: str, *, why: str | None = None, hint: str | None = None
) -> CompileError:
    """An error of one finding, to be raised."""
    return CompileError(Diagnostic(code, message, why=why, hint=hint))
