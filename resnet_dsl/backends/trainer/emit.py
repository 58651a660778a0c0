"""Training settings to the text of train.py. Pure: only files of the package are read, and nothing is written.

The script is `runtime/train.py`, specialised to the settings and linked with what it then needs of the other modules
of `runtime`. What the settings say stands in one block of constants, each with the comment that it has there.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib import resources

from resnet_dsl.backends.layout import Atom, Group, statement
from resnet_dsl.backends.templates import environment
from resnet_dsl.backends.trainer.check import problems
from resnet_dsl.backends.trainer.describe import data_title, needs, recipe_title
from resnet_dsl.backends.trainer.link import PACKAGE, Definition, link, names_in
from resnet_dsl.backends.trainer.settings import TrainSettings
from resnet_dsl.backends.trainer.specialise import specialise

_FIRST, _LAST = "# -- settings", "# -- end of the settings"
_START = "if __name__"


def emit(settings: TrainSettings) -> str:
    """The script. Raises ValueError where the settings do not hold together: see `check.problems`."""
    if found := list(problems(settings)):
        raise ValueError("; ".join(problem.message for problem in found))
    if not settings.name.isidentifier():
        raise ValueError(f"not an identifier: {settings.name!r}")
    values = constants(settings)
    program = specialise(_source(), values)
    head, block, body = _parts(program)
    linked = link(head + body)
    used = names_in(ast.parse(body)).union(*(item.uses for item in linked.definitions))
    work, start = body.strip("\n").split(f"\n{_START}")
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
            needs=needs(linked.imports),
            imports=linked.imports,
            settings=_settings(block, values, used),
            work=work.strip("\n").split("\n"),
            parts=_linked(linked.definitions),
            start=f"{_START}{start}".split("\n"),
        )
    )


def constants(settings: TrainSettings) -> dict[str, object]:
    """The constants of the script by their names, which are those of the settings."""
    own: dict[str, object] = {
        "NETWORK": settings.name,
        "SPEC": settings.spec,
        "SPEC_HASH": settings.spec_hash,
        "OVERRIDES": settings.overrides,
        "FOLDER": settings.folder or "",
        "SHAPE": settings.input,
        "DATA_PATH": settings.path or ("data" if settings.data.startswith("cifar") else ""),
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


def _parts(program: str) -> tuple[str, list[str], str]:
    """What is before the settings (but for the docstring), their lines, and what is after them."""
    head, rest = program.split(f"{_FIRST}\n")
    block, body = rest.split(f"{_LAST}\n")
    return head[head.index("from __future__") :], block.strip("\n").split("\n"), body


def _settings(block: list[str], values: dict[str, object], used: frozenset[str]) -> list[str]:
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
            comment = line.partition("  # ")[2]
            found += _constant(name, values[name], f"  # {comment}" if comment else "")
    while found and (not found[-1] or found[-1].startswith("#")):
        found.pop()
    return found


def _linked(definitions: list[Definition]) -> list[str]:
    """The lines of what is linked, a heading over what comes from one module."""
    found: list[str] = []
    module = ""
    for definition in definitions:
        close = definition.constant and found and found[-1] and module == definition.order[0]
        found += [""] if close else ["", ""]
        if definition.order[0] != module:
            module = definition.order[0]
            found += [f"# -- {module.replace('_', ' ')}", "" if definition.constant else "\n"]
        found += definition.text.split("\n")
    return found[2:]


def _constant(name: str, value: object, comment: str) -> list[str]:
    if isinstance(value, tuple):
        lines = statement(f"{name} = ", Group("(", tuple(Atom(_literal(item)) for item in value)))
    else:
        lines = [f"{name} = {_literal(value)}"]
    if len(lines) == 1 and len(lines[0]) + len(comment) <= 100:
        return [lines[0] + comment]
    return lines


def _literal(value: object) -> str:
    """A constant as `ruff format` writes it: strings in double quotes, unless single ones save escapes."""
    if not isinstance(value, str):
        return repr(value)
    quote = "'" if value.count('"') > value.count("'") else '"'
    inner = value.encode("unicode_escape").decode().replace(quote, f"\\{quote}")
    return f"{quote}{inner}{quote}"
