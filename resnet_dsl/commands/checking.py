"""`resnet-dsl check`, `describe` and `list`: what a spec says, without writing anything."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from resnet_dsl.analysis.summary import Summary
from resnet_dsl.analysis.summary import describe as summarise
from resnet_dsl.catalogue import bundled, find_spec
from resnet_dsl.commands.output import Outcome
from resnet_dsl.compiler import compile_spec
from resnet_dsl.errors import CompileError
from resnet_dsl.language import library
from resnet_dsl.language.source import read

_NARROWEST = 30


def check(specs: Sequence[str], overrides: Sequence[str]) -> Outcome:
    """Compile specs up to their graphs; the findings of all of them are the outcome's."""
    outcome = Outcome()
    checked: list[dict[str, object]] = []
    for spec in specs:
        try:
            compilation = compile_spec(find_spec(spec), overrides)
            summary = summarise(compilation.graph)
            if compilation.spec.train is not None:
                from resnet_dsl.commands.settings import checked_settings

                checked_settings(compilation)
        except CompileError as error:
            outcome.refused += error.diagnostics
            continue
        totals = summary.as_dict()
        checked.append({"spec": spec, "name": compilation.spec.name, "summary": totals})
        outcome.lines.append(
            f"ok  {compilation.spec.name}: {summary.total.layers} layers, "
            f"{summary.total.parameters:,} parameters, {summary.total.macs:,} multiply-adds"
        )
    outcome.data["checked"] = checked
    return outcome


def describe(spec: str, overrides: Sequence[str], *, as_data: bool) -> Outcome:
    """The table of a spec, a row a stage. Raises CompileError."""
    compilation = compile_spec(find_spec(spec), overrides)
    summary = summarise(compilation.graph)
    outcome = Outcome(data={"name": compilation.spec.name, **summary.as_dict()})
    if not as_data:
        outcome.styled = _drawn(summary)
    return outcome


def _drawn(summary: Summary) -> str:
    """The table as this terminal shows it."""
    from rich.console import Console

    from resnet_dsl.report import table

    terminal, encoding = Console(), sys.stdout.encoding
    kept = io.BytesIO()
    file = io.TextIOWrapper(kept, encoding, errors="backslashreplace", write_through=True)
    width = max(terminal.width, _NARROWEST)  # COLUMNS=0 is no width
    Console(file=file, force_terminal=terminal.is_terminal, width=width).print(table(summary))
    return kept.getvalue().decode(encoding)


def listing() -> Outcome:
    """The bundled specs and the library, each with what its file says of itself."""
    files = {"specs": bundled()}
    for kind in ("block", "shortcut", "stem", "head", "recipe"):
        folder = library.LIBRARY / f"{kind}s"
        files[f"{kind}s"] = {name: folder / f"{name}.yaml" for name in library.names(kind)}
    outcome = Outcome()
    for kind, group in files.items():
        docs = {name: str(read(file).data.get("doc", "")) for name, file in group.items()}
        width = max(map(len, docs))
        outcome.lines += ["", kind, *(f"  {name:<{width}}  {doc}" for name, doc in docs.items())]
        outcome.data[kind] = [{"name": name, "doc": doc} for name, doc in docs.items()]
    del outcome.lines[0]
    return outcome
