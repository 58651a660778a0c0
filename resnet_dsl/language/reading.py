"""A source's data as a spec: the schema, and the names that are looked up in the library."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.language.definitions import Kind
from resnet_dsl.language.library import names, unknown_name
from resnet_dsl.language.schema import Spec
from resnet_dsl.language.source import Source
from resnet_dsl.language.validate import validate

Path = tuple[str | int, ...]


def read_spec(source: Source) -> Spec:
    """The spec that a source holds. Raises CompileError with every finding: where the schema
    refuses something, unknown blocks and the like are reported with it."""
    try:
        return validate(Spec, source.data, source)
    except CompileError as error:
        raise CompileError([*error.diagnostics, *_unknown_names(source)]) from None


def _unknown_names(source: Source) -> Iterator[Diagnostic]:
    """Names that neither the spec nor the library defines, as far as the data can be read."""
    for kind, path, value in _calls(source.data):
        name = value
        if isinstance(value, dict) and len(value) == 1:
            (name,) = value
            path = (*path, name)
        if isinstance(name, str):
            own = source.data.get(f"{kind}s")
            known = sorted({*names(kind), *(own if isinstance(own, dict) else ())})
            if name not in known:
                yield unknown_name(kind, name, known, source, path)


def _calls(data: dict[str, object]) -> Iterator[tuple[Kind, Path, object]]:
    ends: tuple[tuple[Kind, str], ...] = (
        ("stem", "stem"),
        ("head", "head"),
        ("shortcut", "shortcut"),
        ("shortcut", "skip"),
    )
    for kind, key in ends:
        yield kind, (key,), data.get(key)
    stages = data.get("stages")
    for index, stage in enumerate(stages if isinstance(stages, list) else ()):
        if not isinstance(stage, dict):
            continue
        path: Path = ("stages", index)
        for key in ("shortcut", "skip"):
            yield "shortcut", (*path, key), stage.get(key)
        block = stage.get("block")
        if isinstance(block, list):
            for position, item in enumerate(block):
                yield "block", (*path, "block", position), item
        else:
            yield "block", (*path, "block"), block
