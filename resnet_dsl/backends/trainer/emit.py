"""Training settings to the text of train.py. Pure: only files of the package are read, and nothing is written.

The script is `runtime/train.py`, specialised to the settings and linked with what it then needs of the other modules
of `runtime`. What the settings say stands in one block of constants, each with the comment that it has there.
"""

from __future__ import annotations

import ast
import textwrap
from functools import cache
from importlib import resources

from resnet_dsl.backends.layout import LINE_LENGTH, Atom, Group, statement
from resnet_dsl.backends.templates import environment
from resnet_dsl.backends.trainer.check import problems
from resnet_dsl.backends.trainer.describe import data_title, needs, recipe_title
from resnet_dsl.backends.trainer.link import PACKAGE, Definition, library, link
from resnet_dsl.backends.trainer.settings import TrainSettings
from resnet_dsl.backends.trainer.specialise import specialise

LONGEST = 120  # of what cannot be wrapped
_FIRST, _LAST = "# -- settings\n", "# -- end of the settings\n"


def emit(settings: TrainSettings) -> str:
    """The script. Raises ValueError where the settings do not hold together: see `check.problems`."""
    if found := list(problems(settings)):
        raise ValueError("; ".join(problem.message for problem in found))
    if not settings.name.isidentifier():
        raise ValueError(f"not an identifier: {settings.name!r}")
    values = constants(settings)
    program = specialise(_source(), values)
    linked = link(program)
    quiet, repeatable, start = _statements(program)
    used = {definition.name for definition in linked.own}
    block, _ = program.split(_FIRST)[1].split(_LAST)
    end = program[: program.index(_LAST)].count("\n")
    return (
        environment("resnet_dsl.backends.trainer")
        .get_template("train.py.j2")
        .render(
            name=settings.name,
            version=settings.version,
            origin=f" from a spec with SHA-256\n{settings.spec_hash}" if settings.spec_hash else "",
            out=values["OUT"],
            length="epochs 5" if settings.epochs else "iterations 500",
            data_title=data_title(settings),
            recipe_title=recipe_title(settings),
            needs=needs([*linked.others, *(item.text for item in linked.definitions)]),
            pixel=settings.normalise == "pixel",
            standard=linked.standard,
            others=linked.others,
            quiet=quiet,
            repeatable=repeatable,
            settings=_settings(block.strip("\n").split("\n"), values, used, _notes(settings)),
            work=_laid_out([item for item in linked.own if item.first > end]),
            parts=_laid_out(linked.definitions, headings=True),
            start=start,
        )
    )


def constants(settings: TrainSettings) -> dict[str, object]:
    """The constants of the script by their names, which are those of the settings."""
    own: dict[str, object] = {
        "NETWORK": settings.name,
        "SPEC": settings.spec,
        "SPEC_SHA256": settings.spec_hash,
        "OVERRIDES": settings.overrides,
        "FOLDER": settings.folder or "",
        "SHAPE": settings.input,
        "TRAIN_SIZE": (settings.train_size,) * 2 if settings.train_size else settings.input[1:],
        "DATA_PATH": (settings.path or "") if settings.data not in ("digits", "fake") else "",
        "LR": settings.scaled_lr,
        "WARMUP_LR": settings.scaled_warmup_lr,
        "FREEZE": settings.frozen,
        "EPOCHS": settings.epochs or 0,
        "ITERATIONS": settings.iterations or 0,
        "OUT": f"runs/{settings.name}",
    }
    names = _names(_source())
    return {name: own[name] if name in own else getattr(settings, name.lower()) for name in names}


@cache
def _source() -> str:
    return resources.files(PACKAGE).joinpath("train.py").read_text(encoding="utf-8")


def _names(text: str) -> list[str]:
    """The names of the settings, as the block of them defines them."""
    found = [node.target for node in ast.parse(text).body if isinstance(node, ast.AnnAssign)]
    return [target.id for target in found if isinstance(target, ast.Name)]


def _statements(program: str) -> list[list[str]]:
    """The lines of what the program does when it is imported or run, besides imports and definitions."""
    lines = program.split("\n")
    return [
        lines[node.lineno - 1 : node.end_lineno]
        for node in ast.parse(program).body[1:]
        if isinstance(node, ast.If | ast.Expr)
    ]


def _notes(settings: TrainSettings) -> dict[str, str]:
    """What is said of a setting besides its comment: that the rate is scaled to the batch."""
    if settings.lr_batch in (None, settings.batch_size):
        return {}
    batch = f"for a batch of {settings.lr_batch}, in proportion"
    return {
        "LR": f": {settings.lr:g} {batch}",
        "WARMUP_LR": f": {settings.warmup_lr:g} {batch}" if settings.warmup_lr else "",
    }


def _settings(
    block: list[str], values: dict[str, object], used: set[str], notes: dict[str, str]
) -> list[str]:
    """The lines of the block with these values, without what the script does not use."""
    found: list[str] = []
    for line in block:
        name = line.split(":")[0]
        if name not in values:
            if not line and (not found or not found[-1] or found[-1].startswith("#")):
                continue
            if line.startswith("#") and found and found[-1].startswith("# "):
                found.pop()  # the title of a group without settings
            found.append(line)
        elif name in used:
            comment = line.partition("  # ")[2] + notes.get(name, "")
            found += _constant(name, values[name], f"  # {comment}" if comment else "")
    while found and (not found[-1] or found[-1].startswith("#")):
        found.pop()
    return found


def _laid_out(definitions: list[Definition], *, headings: bool = False) -> list[str]:
    """The lines of definitions, spaced as they were; with a heading over what comes from one module."""
    found: list[str] = []
    before: Definition | None = None
    for item in definitions:
        if before is None or before.module != item.module:
            if headings:
                found += ["", "", *_heading(item.module)]
            found += [""] if item.constant else ["", ""]
        elif not (before.constant and item.constant):
            found += ["", ""]
        elif before.last + 1 < item.first:
            found.append("")
        found += item.text.split("\n")
        before = item
    while found and not found[0]:
        del found[0]
    return found


def _heading(module: str) -> list[str]:
    """A module's name, and what it says of itself."""
    doc = library()[module].doc
    wrapped = textwrap.wrap(
        doc, LINE_LENGTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )
    return [f"# -- {module.replace('_', ' ')}", *wrapped]


def _constant(name: str, value: object, comment: str) -> list[str]:
    if isinstance(value, tuple):
        lines = statement(f"{name} = ", Group("(", tuple(Atom(_literal(item)) for item in value)))
    else:
        lines = [f"{name} = {_literal(value)}"]
    if len(lines) == 1 and len(lines[0]) + len(comment) <= LINE_LENGTH:
        return [lines[0] + comment]
    return [line if len(line) <= LONGEST else f"{line}  # noqa: E501" for line in lines]


def _literal(value: object) -> str:
    """A constant as `ruff format` writes it: strings in double quotes, unless single ones save escapes."""
    if not isinstance(value, str):
        return repr(value)
    quote = "'" if value.count('"') > value.count("'") else '"'
    inner = value.encode("unicode_escape").decode().replace(quote, f"\\{quote}")
    return f"{quote}{inner}{quote}"
