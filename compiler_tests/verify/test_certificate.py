"""What is written and shown of a verification."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf
from pathlib import Path

from resnet_dsl.verify.agreement import Agreement
from resnet_dsl.verify.certificate import Absent, Verified, certificate, first_finding
from resnet_dsl.verify.findings import Compared, Finding, Proof
from resnet_dsl.verify.measure import Measured
from resnet_dsl.verify.table import lines
from resnet_dsl.verify.targets import About

GOOD = About("torch", "fp32", "torch 2.12")
BAD = About("onnx", "fp16", "ONNX Runtime 1.31", Path("somewhere/net.fp16.onnx"), "ab" * 32)
ABSENT = About("onnx", "bf16", "ONNX Runtime 1.31")
STEP = Measured("conv1", "", "stem", 12, 1.0, 2e-7, 4e-6, 1e-7, 2e-6, 0.05, 0.1, 3)
END = Compared("relu", "stem", 2.0, 2e-7, 4e-6, 1e-7, 2e-6)
RESULT = Compared("fc", "head", 1.0, 2e-7, 4e-6, 1e-7, 2e-6, deployed=True)


def finding(question: str, name: str) -> Finding:
    return Finding(question, "layer1.0", name, inf, f"`{name}` is wrong")  # type: ignore[arg-type]


def verified() -> Verified:
    wrong = replace(RESULT, rms=inf, largest=inf)
    return Verified(
        name="net",
        spec_sha256="cd" * 32,
        weights={"from": "seed 0", "settled": True, "sha256": "ef" * 32},
        images={"about": "9 images", "sha256": "01" * 32, "count": 9},
        probed=2,
        proofs=[
            Proof(GOOD, "", [STEP], [END, RESULT], []),
            Proof(
                BAD,
                "",
                [STEP, replace(STEP, of_rms=inf)],
                [END, wrong],
                [finding("result", "fc"), finding("arithmetic", "conv1")],
            ),
            Proof(ABSENT, "there are no kernels"),
        ],
        agreements=[Agreement(9, 7, 2, 8, 8), Agreement(9, 1, 0, None, None, 3.0), Agreement()],
        absent=[Absent("onnx bf16", "there are no kernels"), Absent("engine", "there is no GPU")],
        sections=["stem", "layer1.0", "head"],
        notes=["weights: some"],
    )


def test_the_certificate_is_json_whatever_the_errors_are() -> None:
    text = json.dumps(certificate(verified()), allow_nan=False)
    found = json.loads(text)
    assert not found["holds"]
    torch, onnx, bf16 = found["targets"]
    assert torch["holds"]
    assert torch["values"][0]["holds"]
    assert torch["steps"][0]["of_rms"] == 0.1
    assert onnx["file"] == "net.fp16.onnx"
    assert onnx["steps"][1]["of_rms"] is None
    assert not onnx["steps"][1]["holds"]
    assert onnx["values"][1]["rms"] is None
    assert onnx["findings"][0]["ratio"] is None
    assert (bf16["executed"], bf16["why_not"], bf16["agreement"]) == (
        False,
        "there are no kernels",
        None,
    )
    assert found["not_executed"][1] == {"name": "engine", "why": "there is no GPU"}
    assert found["reference"]["seeds"] == 8


def test_where_something_is_made_wrong_comes_before_where_it_shows() -> None:
    good, bad, _ = verified().proofs
    found = first_finding(bad)
    assert found is not None
    assert found.question == "arithmetic"
    assert first_finding(good) is None


def test_people_see_targets_values_departures_and_what_was_not_executed() -> None:
    shown = lines(verified())
    assert shown == [
        "target      executed by        values  holds  result off by  may be   top-1",
        "torch fp32  torch 2.12         1       yes    2.0e-07        4.0e-06  "
        "7 of 9, 2 too near to tell; 88.89 % right",
        "onnx fp16   ONNX Runtime 1.31  2       NO     inf            4.0e-06  1 of 9",
        "",
        "off, of the value  torch fp32         onnx fp16",
        "stem               5.0e-08 < 1.0e-06  5.0e-08 < 1.0e-06",
        "layer1.0           –                  –",
        "head               –                  –",
        "",
        "departs   onnx fp16, first in `layer1.0`",
        "          `conv1` is wrong",
        "",
        "not executed",
        "  onnx bf16  there are no kernels",
        "  engine     there is no GPU",
    ]


def test_of_many_blocks_a_dozen_are_shown_the_last_among_them() -> None:
    many = [f"layer1.{number}" for number in range(600)]
    shown = lines(replace(verified(), sections=many))
    rows = [line.split()[0] for line in shown if line.startswith("layer1.")]
    assert len(rows) == 12
    assert (rows[0], rows[-1]) == ("layer1.0", "layer1.599")
