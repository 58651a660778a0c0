"""Reading text files: every way in which that fails, said plainly."""

from __future__ import annotations

import codecs
import os
import shlex
from pathlib import Path

from resnet_dsl.errors import CompileError, Diagnostic, Position, closest

MAX_BYTES = 4 * 1024 * 1024
_BINARY = {
    b"vtrt": "a TensorRT engine",
    b"ftrt": "a TensorRT engine",
    b"\x08": "an ONNX graph",
    b"PK\x03\x04": "a checkpoint or an archive",
    b"\x93NUMPY": "a file of images",
}
"""What is given by mistake for a spec, by how it begins."""


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Raises:
        CompileError: the file is missing, a folder, unreadable, larger than 4 MiB, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise missing(path) from None
    except IsADirectoryError:
        hint = _listing(path) or "name a file"
        raise _refusal("RD001", f"`{path}` is a folder, not a file", hint=hint) from None
    except NotADirectoryError:
        raise _refusal(
            "RD001", f"there is no file `{path}`", why="part of its path is a file"
        ) from None
    except PermissionError:
        hint = f"allow it with `chmod u+r {shlex.quote(str(path))}`"
        raise _refusal("RD001", f"`{path}` may not be read", hint=hint) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise _refusal("RD001", f"`{path}` cannot be read", why=why) from None
    if what := next((what for start, what in _BINARY.items() if content.startswith(start)), None):
        raise _refusal(
            "RD002",
            f"`{path}` is {what}, and no spec",
            hint="give the spec that it was made from; "
            f"`resnet-dsl inspect {shlex.quote(str(path))}` says what the file is",
        )
    if len(content) > MAX_BYTES:
        raise _refusal(
            "RD004",
            f"`{path}` is larger than {MAX_BYTES // 1024**2} MiB",
            why="a spec is text that a person writes",
            hint="is this a checkpoint? weights are given with `--weights`",
        )
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _refusal("RD002", f"`{path}` is UTF-16", hint="save it as UTF-8")
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8").splitlines(keepends=True)
        complete = not before or before[-1].endswith(("\n", "\r"))
        line = len(before) + 1 if complete else len(before)
        column = 1 if complete else len(before[-1]) + 1
        raise CompileError(
            Diagnostic(
                "RD002",
                f"the byte 0x{content[error.start]:02x} is not UTF-8 text",
                Position(str(path), line, column),
                None if complete else before[-1],
                hint="save the file as UTF-8",
            )
        ) from None


def missing(path: Path, code: str = "RD001", written: str | None = None) -> CompileError:
    """The error for a file that is not there, with the nearest name in its folder.

    `written` is how the file was named, where that is not `path`: the suggestion is to be written in its place.
    """
    folder, message = path.parent, f"there is no file `{path}`"
    if not folder.is_dir():
        return _refusal(code, message, why=f"there is no folder `{folder}`")
    stems = {name.rsplit(".", 1)[0]: name for name in _names(folder)}
    near = closest(path.name.removesuffix(".yaml"), stems)
    hint = (
        f"did you mean `{Path(written or path).parent / stems[near]}`?"
        if near
        else _listing(folder)
    )
    return _refusal(code, message, hint=hint)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith((".yaml", ".yml")))
    except OSError:
        return []


def _listing(folder: Path) -> str | None:
    names = _names(folder)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (
        f"in `{folder}` there is {', '.join(f'`{name}`' for name in names[:5])}{more}"
        if names
        else None
    )


def _refusal(
    code: str, message: str, why: str | None = None, hint: str | None = None
) -> CompileError:
    return CompileError(Diagnostic(code, message, why=why, hint=hint))
