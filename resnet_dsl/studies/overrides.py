"""A study's settings as overrides of a spec: `{stages.*.depth: (depth - 2) / 6}` becomes `stages.0.depth=3`, ….

A `*` stands for every entry of a list of the spec, as its file has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.expr import ExprError, Value, evaluate
from resnet_dsl.language.expression import parse
from resnet_dsl.language.misreadings import syntax_problem
from resnet_dsl.language.scalars import resolve
from resnet_dsl.language.source import Source
from resnet_dsl.language.tokens import ExpressionSyntaxError

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)

Place: TypeAlias = tuple[str | int, ...]


class Overrides:
    """Collects the overrides of one run, in order: a later one wins."""

    def __init__(self, study: Source, spec: Mapping[str, Any]) -> None:
        self.study = study
        self.spec = spec
        self.lines: list[str] = []

    def add(self, settings: Mapping[str, Any], place: Place) -> None:
        """Values as they stand at `place` of the study. Raises CompileError."""
        for key, value in settings.items():
            self._put(key, value, (*place, key))

    def compute(self, settings: Mapping[str, Any], place: Place, axis: str, label: str) -> None:
        """Values of which text is an expression of the axis's name. Raises CompileError."""
        here = _number(label)
        for key, value in settings.items():
            at = (*place, key)
            self._put(
                key, self._value(value, at, axis, here) if isinstance(value, str) else value, at
            )

    def given(self, texts: Sequence[str]) -> None:
        """What the command line has after `--set`. Raises CompileError."""
        for text in texts:
            key, equals, value = text.partition("=")
            refusal = _refused(key)
            if refusal is not None:
                raise CompileError(
                    Diagnostic("RD661", f"--set {text[:80]}: {refusal[0]}", hint=refusal[1])
                )
            for one in self._each(key):
                self.lines.append(f"{one}{equals}{value}")

    def _put(self, key: str, value: Any, place: Place) -> None:
        refusal = _refused(key)
        if refusal is not None:
            raise CompileError(
                self.study.diagnostic("RD661", refusal[0], place, key=True, hint=refusal[1])
            )
        self.lines += [f"{one}={_flow(value)}" for one in self._each(key)]

    def _value(self, text: str, place: Place, axis: str, value: Value) -> Value:
        try:
            found = evaluate(parse(text), {axis: value})
        except ExpressionSyntaxError as error:
            raise CompileError(syntax_problem(error, self.study, place)) from None
        except ExprError as error:
            raise CompileError(
                self.study.diagnostic(
                    "RD304",
                    f"{axis}={value}: {error.message}",
                    place,
                    why=f"text in the `set` of a list of values is an expression of `{axis}`",
                    hint=error.hint,
                )
            ) from None
        return int(found) if isinstance(found, float) and found.is_integer() else found

    def _each(self, key: str) -> Iterator[str]:
        """The keys that one with stars stands for."""
        before, star, after = key.partition("*")
        if not star:
            yield key
            return
        here: Any = self.spec
        for step in filter(None, before.split(".")):
            if isinstance(here, list) and step.isdigit() and int(step) < len(here):
                here = here[int(step)]
            else:
                here = here.get(step) if isinstance(here, Mapping) else None
        if not isinstance(here, list) or not before.endswith("."):
            raise CompileError(
                Diagnostic(
                    "RD661",
                    f"`{key[:80]}`: the `*` stands for the entries of a list, and there is none",
                    hint="write it after a list's name, as in `stages.*.depth`",
                )
            )
        for index in range(len(here)):
            yield from self._each(f"{before}{index}{after}")


def _refused(key: str) -> tuple[str, str] | None:
    """Why a place cannot be set, and what to write instead; None where it can."""
    if [part.strip() for part in key.split(".")] == ["train", "seed"]:
        return "a run has its seed from the study's seeds", "write `seeds: [0, 1]`, or --seeds 0,1"
    return None


def _number(label: str) -> Value:
    """What a value of a list is: a number where it reads as one."""
    found = resolve(label)
    return found if isinstance(found, int | float | str) else label


def _flow(value: Any) -> str:
    """A value as YAML has it on one line: text as it is, where it is read as that text."""
    plain = isinstance(value, str) and _PLAIN.fullmatch(value) and resolve(value) == value
    return str(value) if plain else json.dumps(value, ensure_ascii=False)
