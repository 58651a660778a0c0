"""A verification as people read it."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_dsl.verify.agreement import Agreement
from resnet_dsl.verify.certificate import Verified, first_finding
from resnet_dsl.verify.findings import Compared, Proof

_MOST_ROWS = 12


def lines(found: Verified) -> list[str]:
    """Targets, what each is off by at the ends of stages, what departs, and what was not executed."""
    shown = [*_targets(found), "", *_values(found)]
    for proof in found.proofs:
        finding = first_finding(proof)
        if finding is not None:
            shown += ["", f"departs   {proof.about.label}, first in `{finding.block}`"]
            shown += [f"          {finding.message}"]
    if found.absent:
        width = max(len(item.name) for item in found.absent)
        shown += ["", "not executed"]
        shown += [f"  {item.name:<{width}}  {item.why}" for item in found.absent]
    return shown


def _targets(found: Verified) -> list[str]:
    rows = [("target", "executed by", "values", "holds", "result off by", "may be", "top-1")]
    for proof, agreement in zip(found.proofs, found.agreements, strict=True):
        if not proof.executed:
            continue
        result = proof.compared[-1] if proof.compared else None
        rows.append(
            (
                proof.about.label,
                proof.about.runtime,
                f"{len(proof.steps) or len(proof.compared):,}",
                "yes" if proof.holds else "NO",
                f"{result.largest:.1e}" if result else "–",
                f"{result.largest_bound:.1e}" if result else "–",
                _agreement(agreement),
            )
        )
    return _aligned(rows)


def _agreement(agreement: Agreement) -> str:
    if not agreement.images:
        return "–"
    text = f"{agreement.agreed:,} of {agreement.images:,}"
    if agreement.excused:
        text += f", {agreement.excused:,} too near to tell"
    if agreement.right is not None:
        text += f"; {100 * agreement.right / agreement.images:.2f} % right"
    return text


def _values(found: Verified) -> list[str]:
    """Root mean square errors at the ends of a few sections, each as a part of the value, and what is explained."""
    sections = _some(found.sections)
    proofs = [proof for proof in found.proofs if proof.executed]
    rows = [("off, of the value", *(proof.about.label for proof in proofs))]
    for section in sections:
        rows.append((section, *(_cell(proof, section) for proof in proofs)))
    return _aligned(rows)


def _cell(proof: Proof, section: str) -> str:
    item: Compared | None = next(
        (item for item in proof.compared if item.block == section and not item.deployed), None
    )
    if item is None:
        return "–"
    scale = max(item.scale, 1e-300)
    return f"{item.rms / scale:.1e} < {item.rms_bound / scale:.1e}" + (
        "" if item.ratio <= 1 else " !"
    )


def _some(sections: Sequence[str]) -> list[str]:
    """At most a dozen of them, evenly spaced, the last among them."""
    if len(sections) <= _MOST_ROWS:
        return list(sections)
    step = (len(sections) - 1) / (_MOST_ROWS - 1)
    return [sections[round(place * step)] for place in range(_MOST_ROWS)]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
