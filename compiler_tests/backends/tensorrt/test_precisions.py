"""Which precision is computed on which target, and what is said where one is not."""

from __future__ import annotations

import pytest

from resnet_dsl.backends.tensorrt.gpus import ARCHITECTURES
from resnet_dsl.backends.tensorrt.precisions import (
    PRECISIONS,
    TARGETS,
    check_precisions,
    matrix_lines,
)
from resnet_dsl.backends.tensorrt.products import RTX, support_matrix
from resnet_dsl.errors import CompileError, Diagnostic, render_all


def finding(*precisions: str, targets: tuple[int, ...]) -> Diagnostic:
    with pytest.raises(CompileError) as raised:
        check_precisions(precisions, targets)
    (found,) = raised.value.diagnostics
    assert found.code == "RD624"
    return found


def test_the_matrix_has_every_precision_on_every_target_of_both_products():
    matrix = support_matrix()
    assert len(matrix) == len(PRECISIONS) * len(TARGETS)
    assert set(RTX.since) <= set(TARGETS) <= set(ARCHITECTURES)
    assert all((item.answer == "yes") == (item.why is None) for item in matrix)
    assert matrix[0].as_dict() == {
        "precision": "fp32",
        "target": "sm75",
        "answer": "part",
        "why": "TensorRT for RTX has no fp32 matrix product, which a classifier is, for Turing",
    }


def test_the_matrix_is_text_with_a_column_a_target():
    assert matrix_lines(support_matrix(["fp16", "fp8"], [75, 120])) == [
        "        sm75   sm120",
        "fp16    yes    yes",
        "fp8     no     yes",
    ]
    lines = matrix_lines(support_matrix())
    assert len(lines) == len(PRECISIONS) + 2
    assert lines[-1].startswith("part: everything but matrix products")
    assert max(map(len, lines)) < 100


def test_one_finding_has_every_pair_that_cannot_be_and_what_to_type_instead():
    found = finding("fp8", targets=(120, 75, 86, 89))
    assert found.message == "fp8 cannot be computed on sm75, sm86"
    assert found.hint == (
        "build `--precision fp8 --gpus sm89,sm120`, and `--precision fp16 --gpus sm75,sm86` for the others"
    )
    shown = render_all(CompileError(found))
    assert "fp8     no     no     yes    yes" in shown
    assert "fp16    yes    yes    yes    yes" in shown


def test_what_the_rest_cannot_be_is_told_with_another_rest():
    found = finding("int8", "bf16", targets=(75, 86))
    assert found.message == "bf16 cannot be computed on sm75"
    assert (found.hint or "").startswith("write `--precision int8 --rest fp16`")
    found = finding("fp8", "bf16", targets=(75,))
    assert found.message == ("fp8 cannot be computed on sm75; bf16 cannot be computed on sm75")
    assert (found.hint or "").startswith("build `--precision fp16 --gpus sm75`")


def test_what_a_target_computes_in_part_is_not_refused_here():
    check_precisions(["fp32"], [75])
    check_precisions(["int8", "fp16"], list(TARGETS))
