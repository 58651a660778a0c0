"""Diagnostics: what is wrong, where, why, and what to write instead.

Every error that a user can cause is a `CompileError` holding one or more `Diagnostic`s; the command line prints
them (`render_all`) and exits with status 2. Anything else that escapes is a defect of the compiler.

    error[RD201]: there is no block `botleneck`
      --> specs/my.yaml:9:13
       |
     9 |   - {block: botleneck, depth: 3, width: 64}
       |             ^^^^^^^^^
       = hint: did you mean `bottleneck`?
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

CODES: dict[str, str] = {
    # RD0xx: reading files and YAML
    "RD001": "the file cannot be read",
    "RD002": "the file is not UTF-8 text",
    "RD003": "the file has characters that text may not have",
    "RD004": "the file is too large",
    "RD005": "the file is empty",
    "RD006": "this is not YAML",
    "RD007": "one file holds one document",
    "RD008": "a spec is a mapping",
    "RD009": "a key is given twice",
    "RD010": "a key is not text",
    "RD011": "YAML tags are not part of the language",
    "RD012": "merge keys are not part of the language",
    "RD013": "an alias without an anchor, or inside its own anchor",
    "RD014": "the file is nested too deeply",
    "RD015": "the file grows too large through its aliases",
    "RD016": "a number is too long",
    "RD020": "`extends` or `include` is malformed",
    "RD021": "a file that is extended or included cannot be found",
    "RD022": "a cycle of files",
    "RD023": "too many files in a row",
    "RD024": "an included file holds something besides definitions",
    "RD025": "a definition is given twice",
    "RD030": "an override is malformed",
    "RD031": "an override names a place that does not exist",
    # RD1xx: the schema
    "RD101": "an unknown key",
    "RD102": "something is missing",
    "RD103": "a value that is none of the choices",
    "RD104": "a name that is no identifier",
    "RD105": "a value of the wrong type",
    "RD106": "a value out of range",
    "RD107": "a section that does not hold together",
    "RD108": "a name that is taken",
    "RD109": "two modules of one name",
    # RD2xx: names and the library
    "RD201": "an unknown definition",
    "RD202": "an unknown recipe",
    "RD203": "an unknown parameter",
    "RD204": "a parameter without a value",
    "RD205": "a block that calls itself",
    "RD206": "an unknown spec",
    # RD3xx: expressions
    "RD301": "an expression that cannot be read",
    "RD302": "an unknown name in an expression",
    "RD303": "an expression of the wrong type",
    "RD304": "an expression without a value",
    # RD4xx: shapes
    "RD401": "an operation that its input does not allow",
    "RD402": "shapes that do not add up at a join",
    "RD403": "a block without operations",
    "RD404": "two paths where there is one",
    "RD405": "an output that is not what was declared",
    "RD406": "a network that is too large",
    # RD5xx: weights
    "RD501": "the weights file cannot be read",
    "RD502": "this is not a file of weights",
    "RD503": "the weights file is damaged",
    "RD504": "the checkpoint holds more than weights, and is not opened",
    "RD505": "torch is needed to read this file",
    "RD506": "no weights are found in the file",
    "RD507": "the weights do not fit the network",
    "RD508": "a tensor is of a type that the compiler does not take",
    "RD511": "a weight is beyond the type that it is written in",
    "RD512": "statistics that cannot be computed with",
    "RD513": "weights that are no numbers",
    # RD6xx: targets and the environment
    "RD601": "a name cannot be the name of an output",
    "RD602": "the output folder cannot be written",
    "RD603": "the disk is full",
    "RD604": "there is not enough memory",
    "RD610": "a module's name that the torch target cannot write",
    "RD620": "no TensorRT that can be used",
    "RD621": "a GPU is needed and there is none",
    "RD622": "a GPU has no such name",
    "RD623": "an engine cannot be built for that GPU",
    "RD624": "a precision that the target or the graph has not got",
    "RD625": "an optimisation profile or a limit that cannot be met",
    "RD626": "an ONNX file that TensorRT cannot read",
    "RD627": "a node that TensorRT refuses",
    "RD628": "the engine cannot be built",
    "RD629": "the engine builder crashed",
    "RD630": "the engine builder took too long",
    "RD631": "a file is not a whole engine",
    "RD633": "a file that is damaged or was altered",
    "RD634": "a manifest that cannot be read, or is another engine's",
    "RD635": "an engine of another product or version",
    "RD636": "an engine for other GPUs",
    "RD637": "nothing says which network is meant",
    "RD638": "something that the TensorRT product does not do",
    "RD639": "a TensorRT, or a driver for it, that is too old",
    "RD640": "an ONNX opset that cannot be written",
    "RD641": "a network whose image size must be known",
    "RD642": "an output that is no stage",
    "RD650": "a package is missing",
    "RD651": "training data that do not fit the network",
    "RD652": "training settings that do not hold together",
    "RD653": "the training script did not end well",
    "RD654": "a place without training data",
    "RD655": "a device that cannot be",
    "RD656": "a run that cannot be repeated",
    "RD657": "a run that was repeated and came out another",
    "RD660": "an unknown study",
    "RD661": "a study that does not hold together",
    "RD662": "a run of a study has failed",
    "RD670": "nothing to evaluate",
    "RD671": "it is not known how images are standardised",
    "RD672": "images that cannot be evaluated on",
    "RD673": "networks that cannot be evaluated together",
    "RD674": "views that the network or the images have not got",
    "RD675": "a graph that is no classifier of images, or cannot be run",
    "RD676": "scores that are no numbers",
    "RD680": "an .npy that holds no images for the network",
    "RD681": "an ONNX file whose inner values cannot be had",
    "RD682": "values that are no numbers, and have no range",
    "RD685": "a part of the network or a percentile that there is not",
    "RD686": "images or labels are needed, and there are none",
    "RD687": "a mix of precisions cannot be measured",
    "RD690": "a target that computes something else than the spec",
    "RD691": "an ONNX file that cannot be compared",
    "RD692": "a target that could not be executed",
    "RD693": "a network that is not known, or whose weights are not",
    "RD694": "values too large to be compared",
    "RD695": "an unknown backend",
    "RD696": "a measurement that cannot be made",
    "RD698": "a measurement that was interrupted",
    "RD699": "no backend could be measured",
    # RD7xx: the command line
    "RD701": "a command that cannot be read",
    "RD702": "options that do not go together",
    "RD799": "a defect of the compiler",
}
"""Every code and its short title, by family; a module that raises a new code adds it here."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a source text: 1-based line and column, and how many characters the caret underlines."""

    file: str
    line: int
    column: int
    width: int = 1


@dataclass(frozen=True, slots=True)
class Related:
    """A second place that a diagnostic points to, such as the first of two equal keys, and what it is."""

    position: Position
    line_text: str | None
    label: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `code` is a key of `CODES`; `line_text` is the source line the position points into."""

    code: str
    message: str
    position: Position | None = None
    line_text: str | None = None
    why: str | None = None
    hint: str | None = None
    related: tuple[Related, ...] = ()


class CompileError(Exception):
    """One or more diagnostics, reported together."""

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic]) -> None:
        found = (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        if not found:
            raise ValueError("a CompileError needs at least one diagnostic")
        self.diagnostics: tuple[Diagnostic, ...] = found
        super().__init__("\n".join(item.message for item in found))


def closest(word: str, candidates: Iterable[str], likeness: float = 0.6) -> str | None:
    """The candidate most like `word`, whatever its case and its `-` or `_`; None if none is near.

    `likeness` is the least share of letters in common, from 0 to 1.
    """
    import difflib  # only errors need it

    if len(word) > 100:  # the comparison is quadratic, and no name of ours is that long
        return None
    plain = {_plain(name): name for name in sorted(candidates, reverse=True)}
    near = difflib.get_close_matches(_plain(word), list(plain), n=1, cutoff=likeness)
    return plain[near[0]] if near else None


def suggest(word: str, candidates: Iterable[str]) -> str | None:
    """A hint, "did you mean `bottleneck`?", or None where no candidate is near."""
    found = closest(word, candidates)
    return None if found is None else f"did you mean `{found}`?"


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_")


def in_order(error: CompileError) -> list[Diagnostic]:
    """The diagnostics by file and position, those without a position last, each finding once."""
    found: dict[tuple[str, str, Position | None], Diagnostic] = {}
    for item in error.diagnostics:
        found.setdefault((item.code, item.message, item.position), item)
    last = Position("", 0, 0)
    return sorted(found.values(), key=lambda item: (item.position is None, item.position or last))


def as_json(error: CompileError) -> list[dict[str, Any]]:
    """The same findings for a program: plain dicts, in the order in which they are printed."""
    return [{**asdict(item), "title": CODES.get(item.code)} for item in in_order(error)]


def render(diagnostic: Diagnostic, color: bool = False) -> str:
    """One diagnostic as text, without a newline at its end. See `resnet_dsl.render` for how it is drawn."""
    from resnet_dsl.render import draw  # drawing is only needed once something is wrong

    return draw(diagnostic, color)


def render_all(error: CompileError, color: bool = False) -> str:
    """Every diagnostic in order, a blank line between them, and their number."""
    found = in_order(error)
    count = f"{len(found)} error" + ("s" if len(found) != 1 else "")
    return "\n\n".join([*(render(item, color) for item in found), count])
