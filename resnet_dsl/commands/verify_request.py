"""What `resnet-dsl verify` is asked for, as the command line says it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from resnet_dsl.errors import CompileError, Diagnostic


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What the command line asks for; None is for what is worked out."""

    sources: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    weights: Path | None = None
    seed: int | None = None
    onnx: tuple[Path, ...] = ()
    engines: tuple[Path, ...] = ()
    precisions: tuple[str, ...] = ()
    place: str | None = None
    images: int | None = None
    out: Path | None = None

    @property
    def files(self) -> bool:
        """Whether files are named that hold numbers already."""
        return bool(self.onnx or self.engines)


def sort_out(request: VerifyRequest) -> VerifyRequest:
    """The same request, with what stands without an option where it belongs. Raises CompileError RD702."""
    graphs = [source for source in request.sources if source.endswith(".onnx")]
    engines = [source for source in request.sources if source.endswith((".engine", ".plan"))]
    specs = tuple(source for source in request.sources if source not in (*graphs, *engines))
    for path in request.onnx:
        if path.name.endswith((".engine", ".plan")):
            raise clash(
                f"`{path}` is an engine, and --onnx takes ONNX files",
                "an engine is executed by another runtime",
                f"give it with --engine {path}",
            )
    if len(specs) > 1:
        raise clash(
            f"`{specs[1]}` is a second network",
            "a verification compares the targets of one",
            "verify one after another",
        )
    if request.weights is not None and request.seed is not None:
        raise clash(
            "--seed and --weights contradict each other",
            "weights are read or drawn",
            "leave one of them out",
        )
    return replace(
        request,
        sources=specs,
        onnx=(*map(Path, graphs), *request.onnx),
        engines=(*map(Path, engines), *request.engines),
    )


def clash(message: str, why: str, hint: str) -> CompileError:
    """Options that do not go together."""
    return CompileError(Diagnostic("RD702", message, why=why, hint=hint))
