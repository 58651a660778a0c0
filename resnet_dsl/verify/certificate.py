"""The certificate: what was verified, on what, by what, and what was not executed; the same for the same inputs."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from typing import Any

import resnet_dsl
from resnet_dsl.verify.agreement import Agreement
from resnet_dsl.verify.findings import Compared, Finding, Proof
from resnet_dsl.verify.rounding import CHANCE, CHANNELS, ROUNDINGS, UNITS, certainty
from resnet_dsl.verify.spread import CHANCE as SPREAD_CHANCE
from resnet_dsl.verify.spread import SEEDS

FORMAT = 1
_PACKAGES = ("numpy", "torch", "onnxruntime", "onnx", "tensorrt", "tensorrt_rtx")


@dataclass(frozen=True, slots=True)
class Absent:
    """A target that was not executed, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Verified:
    """What came of a verification. `weights` and `images` say what was used; `probed` is the number of images for which
    every value was compared."""

    name: str
    spec_sha256: str
    weights: Mapping[str, Any]
    images: Mapping[str, Any]
    probed: int
    proofs: Sequence[Proof]
    agreements: Sequence[Agreement]
    absent: Sequence[Absent]
    sections: Sequence[str]
    notes: Sequence[str] = field(default=())

    @property
    def holds(self) -> bool:
        """Whether every target that was executed computes the network."""
        return all(proof.holds for proof in self.proofs)


def certificate(found: Verified) -> dict[str, Any]:
    """The certificate as JSON."""
    return {
        "format": FORMAT,
        "holds": found.holds,
        "network": found.name,
        "spec_sha256": found.spec_sha256,
        "weights": dict(found.weights),
        "images": dict(found.images) | {"probed": found.probed},
        "reference": {
            "computed": "the spec's graph in float64, nothing folded, rounded or quantised",
            "unit_roundoffs": {name: unit.roundoff for name, unit in UNITS.items()},
            "chance_of_a_false_alarm": CHANCE,
            "roundings": ROUNDINGS,
            "channels": CHANNELS,
            "lambda": certainty(),
            "seeds": SEEDS,
            "chance_of_a_value": SPREAD_CHANCE,
        },
        "versions": _versions(),
        "targets": [
            _target(proof, agreement)
            for proof, agreement in zip(found.proofs, found.agreements, strict=True)
        ],
        "not_executed": [asdict(item) for item in found.absent],
        "notes": list(found.notes),
    }


def _versions() -> dict[str, str]:
    found = {"resnet-dsl": resnet_dsl.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found | {"machine": platform.machine()}


def _target(proof: Proof, agreement: Agreement) -> dict[str, Any]:
    about = proof.about
    return {
        "name": about.name,
        "precision": about.precision,
        "runtime": about.runtime,
        "file": None if about.file is None else about.file.name,
        "sha256": about.sha256,
        "executed": proof.executed,
        "why_not": proof.why_not or None,
        "holds": proof.holds,
        "findings": [_finite(asdict(item)) for item in proof.findings],
        "agreement": asdict(agreement) if agreement.images else None,
        "values": [_compared(item) for item in proof.compared],
        "steps": [item.as_dict() for item in proof.steps],
    }


def _compared(item: Compared) -> dict[str, Any]:
    return _finite(asdict(item)) | {"holds": item.ratio <= 1}


def _finite(data: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: null is an error without end."""
    return {
        key: None if isinstance(item, float) and not isfinite(item) else item
        for key, item in data.items()
    }


def first_finding(proof: Proof) -> Finding | None:
    """What a target's findings come down to: where something is made wrong, rather than where it shows."""
    order = ("passes", "weights", "arithmetic", "values", "result", "agreement")
    return min(proof.findings, key=lambda item: order.index(item.question), default=None)
