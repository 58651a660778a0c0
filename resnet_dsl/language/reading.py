"""A source's data as a spec: the schema, and where it refuses something, what else is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.language.definitions import Kind
from resnet_dsl.language.library import Definitions
from resnet_dsl.language.parts import part
from resnet_dsl.language.recipes import with_drop_path
from resnet_dsl.language.schema import Spec
from resnet_dsl.language.source import Source
from resnet_dsl.language.validate import validate

_ENDS: tuple[tuple[Kind, str], ...] = (
    ("stem", "stem"),
    ("head", "head"),
    ("shortcut", "shortcut"),
    ("shortcut", "skip"),
)


def read_spec(source: Source) -> Spec:
    """The spec that a source holds, with the stochastic depth that its recipe asks for. Raises
    CompileError with every finding: where the schema refuses something, what is wrong with the parts
    that are whole is reported with it."""
    try:
        return with_drop_path(validate(Spec, source.data, source), source)
    except CompileError as error:
        raise CompileError([*error.diagnostics, *_beside(source)]) from None


def _beside(source: Source) -> Iterator[Diagnostic]:
    """Names, expressions and arguments of what is whole, in definitions and in calls of them."""
    spec = part(Spec, source.data)
    definitions = Definitions(spec, source)
    yield from definitions.problems()
    for kind, key in _ENDS:
        form = getattr(spec, key)
        if form is not None:
            yield from definitions.check_call(kind, form, {}, source, (key,))
    for index, stage in enumerate(spec.stages or ()):
        yield from definitions.check_stage(stage, ("stages", index))
