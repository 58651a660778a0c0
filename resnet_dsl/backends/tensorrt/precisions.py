"""The precisions that a graph can be in, and on which compute capabilities each is computed.

Every pair below was built with TensorRT for RTX 1.7; for other capabilities the vendor's support matrix stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from resnet_dsl.errors import CompileError, Diagnostic, suggest

TARGETS = (75, 80, 86, 87, 89, 90, 100, 103, 110, 120, 121)
"""The capabilities that one product or the other builds for."""

Answer: TypeAlias = Literal["yes", "part", "no"]


@dataclass(frozen=True, slots=True)
class Precision:
    """A precision that a graph can be in, the oldest capability that computes in it, and why not before."""

    name: str
    data_type: str
    """The name in TensorRT's `DataType` that marks a graph of this precision."""
    minimum: int
    needs: str


PRECISIONS: Mapping[str, Precision] = {
    item.name: item
    for item in (
        Precision("fp32", "FLOAT", 75, "Turing or newer"),
        Precision("tf32", "FLOAT", 80, "Ampere or newer, whose tensor cores first had it"),
        Precision("fp16", "HALF", 75, "Turing or newer"),
        Precision("bf16", "BF16", 80, "Ampere or newer, whose tensor cores first had it"),
        Precision("int8", "INT8", 75, "Turing or newer"),
        Precision("fp8", "FP8", 89, "Ada or newer, whose tensor cores first had it"),
    )
}


@dataclass(frozen=True, slots=True)
class Support:
    """Whether a precision is computed on a target, and why not, or what of it is not."""

    precision: str
    target: int
    answer: Answer
    why: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """For `--json`."""
        return {
            "precision": self.precision,
            "target": f"sm{self.target}",
            "answer": self.answer,
            "why": self.why,
        }


def support(precision: str, target: int) -> Support:
    """One place of the matrix. `precision` is a key of `PRECISIONS`."""
    found = PRECISIONS[precision]
    if target < found.minimum:
        return Support(precision, target, "no", f"{precision} needs {found.needs}")
    if precision == "fp32" and target == 75:
        why = "TensorRT for RTX has no fp32 matrix product, which a classifier is, for Turing"
        return Support(precision, target, "part", why)
    return Support(precision, target, "yes")


def support_matrix(
    precisions: Iterable[str] | None = None, targets: Iterable[int] | None = None
) -> tuple[Support, ...]:
    """Precision by precision, whether each target computes in it; by default of all of both."""
    columns = tuple(TARGETS if targets is None else targets)
    rows = PRECISIONS if precisions is None else precisions
    return tuple(support(row, column) for row in rows for column in columns)


def matrix_lines(matrix: Sequence[Support]) -> list[str]:
    """The matrix as text, a column a target."""
    columns = list(dict.fromkeys(item.target for item in matrix))
    rows = list(dict.fromkeys(item.precision for item in matrix))
    cells = {(item.precision, item.target): item.answer for item in matrix}
    lines = ["      " + "".join(f"  sm{column:<3}" for column in columns)]
    lines += [
        f"{row:<6}" + "".join(f"  {cells[row, column]:<5}" for column in columns) for row in rows
    ]
    if "part" in cells.values():
        lines.append("part: everything but matrix products, such as a classifier's, in fp32")
    return [line.rstrip() for line in lines]


def check_precisions(precisions: Sequence[str], targets: Sequence[int]) -> None:
    """Check every pair: `precisions` are that of the engine and, where it quantises, that of the rest.

    Raises CompileError (RD624): for an unknown precision, or one finding with every pair that cannot be.
    """
    for name in precisions:
        if name not in PRECISIONS:
            hint = suggest(name, PRECISIONS) or "there are " + ", ".join(PRECISIONS)
            raise CompileError(Diagnostic("RD624", f"there is no precision `{name}`", hint=hint))
    wanted = sorted(set(targets))
    bad = [item for item in support_matrix(precisions, wanted) if item.answer == "no"]
    if not bad:
        return
    without = {
        name: [f"sm{item.target}" for item in bad if item.precision == name] for name in precisions
    }
    message = "; ".join(
        f"{name} cannot be computed on {', '.join(names)}"
        for name, names in without.items()
        if names
    )
    reasons = "; ".join(
        f"{name} needs {PRECISIONS[name].needs} (sm{PRECISIONS[name].minimum})"
        for name, names in without.items()
        if names
    )
    others = [name for name in PRECISIONS if name not in precisions and name != "tf32"]
    shown = support_matrix([*precisions, *others], wanted)
    hint = _instead(precisions, wanted, {item.target for item in bad})
    raise CompileError(
        Diagnostic("RD624", message, why="\n".join([reasons, *matrix_lines(shown)]), hint=hint)
    )


def _instead(precisions: Sequence[str], targets: Sequence[int], without: set[int]) -> str:
    """What to type: the precision where it can be, and fp16, which runs everywhere, for the rest."""
    if all(support(precisions[0], target).answer != "no" for target in targets):
        return f"write `--precision {precisions[0]} --rest fp16`: fp16 is computed on every target"
    kept = ",".join(f"sm{target}" for target in targets if target not in without)
    rest = ",".join(f"sm{target}" for target in targets if target in without)
    instead = f"`--precision fp16 --gpus {rest}`"
    if not kept:
        return f"build {instead}: fp16 is computed on every target"
    return f"build `--precision {precisions[0]} --gpus {kept}`, and {instead} for the others"
