from __future__ import annotations

import json
from pathlib import Path

import pytest

from compiler_tests.bench import cases
from compiler_tests.bench.cases import Bench
from compiler_tests.bench.measure import Measured


def backend(name: str, precision: str, times: float) -> dict[str, object]:
    points = [
        {"batch": batch, "p50_ms": 10.0 * batch / times, "rounds": [times, 2 * times, 3 * times]}
        for batch in (1, 8)
    ]
    return {"backend": name, "precision": precision, "points": points}


def test_int8_is_compared_by_batch_size_and_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "batches": [1, 8],
        "threads": 2,
        "backends": [
            backend("torchvision", "fp32", 1.0),
            backend("onnxruntime", "fp32", 1.5),
            backend("onnxruntime", "int8", 6.0),
        ],
    }
    monkeypatch.setattr(cases, "run", lambda _command: Measured(1.0, 1, json.dumps(told)))
    rows = list(cases.int8(Bench(tmp_path, True, lambda _text: None)))
    assert [row.ratio for row in rows] == [4.0, 6.0, 4.0, 6.0]
    assert [row.passed for row in rows] == [True] * 4
    assert [row.what.split(", ")[1] for row in rows] == ["batch 1"] * 2 + ["batch 8"] * 2
