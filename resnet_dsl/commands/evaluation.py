"""`resnet-dsl eval`: how good networks are, alone and together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_dsl.artifacts import Artifacts
from resnet_dsl.commands.output import Outcome, shell_path
from resnet_dsl.commands.progress import bar
from resnet_dsl.evaluate.figure import draw_confusion
from resnet_dsl.evaluate.geometry import Crops, Geometry
from resnet_dsl.evaluate.report import (
    MOST_IN_DATA,
    Rate,
    Score,
    class_lines,
    class_rows,
    classes_csv,
    confusion_csv,
    confusion_lines,
    pairs,
    score_lines,
)
from resnet_dsl.evaluate.request import Request
from resnet_dsl.needs import require

if TYPE_CHECKING:
    from resnet_dsl.evaluate.pipeline import Evaluation, Part
    from resnet_dsl.evaluate.scoring import Counts

TOGETHER = "together"


def evaluate(request: Request, out: Path | None = None) -> Outcome:
    """Evaluate networks on images; with `out`, write the tables and the confusion matrix there too.

    Raises CompileError: RD621, RD650, RD670 to RD676 and RD702, and what specs and weights raise.
    """
    graphs = any(source.endswith(".onnx") for source in request.sources)
    require("torch", "torchvision", *["onnxruntime"] * graphs)
    from resnet_dsl.evaluate.pipeline import evaluate as run

    with bar("evaluating") as progress:
        found = run(request, progress.begin, progress.add)
    scores = _scores(found)
    rows = class_rows(found.classes, found.measured.confusion)
    report = _as_data(found, scores)
    outcome = Outcome(notes=_notes(found.parts))
    outcome.lines = [
        *_heading(found),
        "",
        *score_lines(scores),
        *_recorded(found.parts),
        f"speed     {_speed(found):,.0f} images/s on {found.device}",
        "",
        *class_lines(rows),
        *_if_any("", confusion_lines(found.classes, found.measured.confusion)),
    ]
    speed = {"seconds": round(found.measured.seconds, 3), "images_per_second": _speed(found)}
    outcome.data = report | speed | {"device": found.device}
    if out is not None:
        with Artifacts(out) as artifacts:
            artifacts.text("evaluation.json", json.dumps(report, indent=2) + "\n")
            artifacts.text("classes.csv", classes_csv(rows))
            artifacts.text("confusion.csv", confusion_csv(found.classes, found.measured.confusion))
            picture = draw_confusion(found.classes, found.measured.confusion)
            if picture is not None:
                artifacts.text("confusion.svg", picture.decode())
        outcome.written += artifacts.records
        if picture is None:
            outcome.notes.append(("figure", "not drawn: that needs matplotlib"))
    return outcome


def _scores(found: Evaluation) -> list[Score]:
    """Each network's score, and that of all together if there are several."""
    counted = [*found.measured.members]
    names = [shell_path(part.subject.file) for part in found.parts]
    if len(counted) > 1:
        counted.append(found.measured.together)
        names.append(TOGETHER)
    return [_score(name, counts, found.top) for name, counts in zip(names, counted, strict=True)]


def _score(name: str, counts: Counts, top: int | None) -> Score:
    within = Rate(counts.right_in_top, counts.images) if top is not None else None
    loss = counts.loss / counts.images
    return Score(name, loss, Rate(counts.right, counts.images), top or 0, within)


def _heading(found: Evaluation) -> list[str]:
    """What was evaluated, and on what; what all networks have in common is said once."""
    choice, several = found.choice, len(found.parts) > 1
    kinds = {"folder": "", "shards": "", "fake": "noise"}
    what = [kinds.get(choice.kind, choice.kind), str(choice.path) if choice.path else ""]
    images = f"images    {found.measured.together.images:,} of {' in '.join(filter(None, what))}"
    lines = [f"{images}, {choice.split} split, {len(found.classes)} classes"]
    about = [(_views(part), str(part.standard)) for part in found.parts]
    for part, (views, standard) in zip(found.parts, about, strict=True):
        lines.append(f"network   {part.subject.name}, {shell_path(part.subject.file)}")
        if len(set(about)) > 1 or part is found.parts[-1]:
            lines += [f"views     {views}", f"pixels    {standard}"]
    if several:
        lines.append(f"{TOGETHER}  the mean of the {len(found.parts)} softmaxes")
    return lines


def _views(part: Part) -> str:
    views = part.geometry
    if not isinstance(views, Crops):
        sides = ", ".join(map(str, views.sides))
        text = f"whole images, the shorter side scaled to {sides}"
    else:
        by = f"{views.size[0]}×{views.size[1]}"
        text = f"four corners and the centre, {by}" if views.corners else f"centre, {by}"
        if views.resize is not None:
            text += f" of images scaled to {views.resize}"
    return text + (", and their mirrors" if part.flip else "")


def _recorded(parts: Sequence[Part]) -> list[str]:
    return [
        f"training  {part.recorded:.2f} % is what it found itself"
        + (f" with {shell_path(part.subject.file)}" if len(parts) > 1 else "")
        for part in parts
        if part.recorded is not None
    ]


def _notes(parts: Sequence[Part]) -> list[tuple[str, str]]:
    several = len(parts) > 1
    return [
        ("weights", f"{shell_path(part.subject.file)}: {note}" if several else note)
        for part in parts
        for note in part.notes
    ]


def _speed(found: Evaluation) -> float:
    return found.measured.together.images / max(found.measured.seconds, 1e-9)


def _as_data(found: Evaluation, scores: Sequence[Score]) -> dict[str, Any]:
    """The report as data, the same for the same networks and images."""
    choice, matrix = found.choice, found.measured.confusion
    few = len(found.classes) <= MOST_IN_DATA
    return {
        "data": {
            "kind": choice.kind,
            "path": None if choice.path is None else str(choice.path),
            "split": choice.split,
            "images": found.measured.together.images,
            "classes": len(found.classes),
        },
        "networks": [
            _part_as_data(part) | score.as_dict()
            for part, score in zip(found.parts, scores, strict=False)
        ],
        "together": scores[-1].as_dict() if len(found.parts) > 1 else None,
        "classes": [row.as_dict() for row in class_rows(found.classes, matrix)],
        "confusion": matrix if few else None,
        "confused": pairs(found.classes, matrix),
    }


def _part_as_data(part: Part) -> dict[str, Any]:
    standard = part.standard
    return {
        "network": part.subject.name,
        "file": str(part.subject.file),
        "spec_sha256": part.spec_hash,
        "input": list(part.shape),
        "views": _geometry_as_data(part.geometry) | {"flip": part.flip},
        "mean": list(standard.mean) if standard.measured is None else None,
        "std": list(standard.std) if standard.measured is None else None,
        "standardised_by": standard.source,
        "recorded_accuracy": part.recorded,
    }


def _geometry_as_data(views: Geometry) -> dict[str, Any]:
    if not isinstance(views, Crops):
        return {"kind": "scales", "scales": list(views.sides)}
    kind = "ten" if views.corners else "center"
    return {"kind": kind, "size": list(views.size), "resize": views.resize}


def _if_any(before: str, lines: list[str]) -> list[str]:
    return [before, *lines] if lines else []
