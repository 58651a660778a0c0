"""What a short text can ask for is bounded, and depth costs no more than it has to."""

from __future__ import annotations

import sys
import tracemalloc

import pytest

from compiler_tests.spec_texts import changed, program, refusals, refused, with_block
from resnet_dsl.passes.inline import inline


def deep(blocks: int, block: str = "basic", width: str = "16", more: str = "") -> str:
    return (
        changed(
            (
                "block: basic, depth: 2, width: 16",
                f"block: {block}, depth: {blocks}, width: {width}",
            )
        )
        + more
    )


TOO_LARGE = {
    "channels": ("body:\n  - branches: «[[conv: {out: 1024 * 1024, kernel: 1}], [relu]]»\n", "RD406"),
    "out": ("body:\n  - conv: {out: «width * 1000 * 1000 * 1000», kernel: 1}\n", "RD106"),
    "out below one": ("body:\n  - conv: {out: «width - 16», kernel: 1}\n", "RD106"),
    "repeat": ("body:\n  - repeat: «4097»\n    body: [relu]\n", "RD106"),
    "statements": ("body:\n  - repeat: 3000\n    body: [«relu», tanh]\n", "RD406"),
    "extent": ("body:\n  - conv: «{kernel: 1, padding: 2000 * 1000 * 1000}»\n", "RD406"),
    "window": ("body:\n  - conv: «{kernel: 1, stride: 5000 * 1000 * 1000}»\n", "RD406"),
    "groups": ("body:\n  - conv: {kernel: 1, groups: «1024 * 1024 * 1024 * 1024»}\n", "RD401"),
    "kernel": ("body:\n  - conv: «{kernel: 40, padding: 0}»\n", "RD401"),
    "integers": ("body:\n  - conv: «{kernel: 4611686018427387904, dilation: 4}»\n", "RD304"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "code"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_numbers_beyond_reason_are_refused_where_they_stand(body: str, code: str) -> None:
    refused(with_block(body), code)


def test_nested_loops_that_do_nothing_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_dsl.lower.body.MAX_STEPS", 20_000)
    loop = "- repeat: 4096\n  body:\n"
    body = "body:\n" + "".join(
        "  " * (2 * level + 1) + line + "\n" for level in range(3) for line in loop.splitlines()
    )
    body += "  " * 7 + "- norm\n"
    (found,) = refusals(with_block(body, more="norm: none\n"))
    assert found.code == "RD406"
    assert "more than 20,000 entries" in found.message


def test_blocks_that_call_blocks_cannot_make_a_network_without_end() -> None:
    chain = "".join(
        f"  b{n}: {{body: [{{repeat: 4000, body: [b{n + 1}]}}]}}\n" for n in range(1, 9)
    )
    (found,) = refusals(with_block("body: [b1]\n", more=chain + "  b9: {body: [relu]}\n"))
    assert found.code == "RD406"
    assert "2,000,000 operations" in found.message


def test_more_than_32_blocks_that_call_one_another_are_refused() -> None:
    chain = "".join(f"  b{n}: {{body: [b{n + 1}]}}\n" for n in range(1, 40))
    (found,) = refusals(with_block("body: [b1]\n", more=chain + "  b40: {body: [relu]}\n"))
    assert found.code == "RD205"


def test_lets_that_double_an_expression_are_refused_in_time() -> None:
    lets = ", ".join(
        ["z0: in + 1", *(f"z{n}: z{n - 1} * z{n - 1} % 7 + z{n - 1}" for n in range(1, 40))]
    )
    (found,) = refusals(with_block(f"let: {{{lets}}}\nbody: [conv: {{out: z39, kernel: 1}}]\n"))
    assert found.code == "RD304"


def test_a_hundred_thousand_and_one_blocks_are_refused() -> None:
    (found,) = refusals(deep(100_001))
    assert (found.code, found.position.line) == ("RD106", 7)  # type: ignore[union-attr]


def test_the_stages_together_have_the_limit_too() -> None:
    (found,) = refusals(deep(99_999))
    assert found.code == "RD107"


@pytest.mark.slow
@pytest.mark.parametrize("more", ["", "drop_path: {rate: 0.5}\n"], ids=["residual", "dropped"])
def test_ten_thousand_layers_become_a_graph_in_little_memory(more: str) -> None:
    tracemalloc.start()
    graph = inline(program(deep(5000, more=more)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(graph.nodes) >= 35_000
    assert peak < 150e6


def test_the_work_grows_with_the_depth_and_no_faster() -> None:
    def lines(blocks: int) -> int:
        count = 0

        def tracer(frame: object, event: str, argument: object) -> None:
            nonlocal count
            count += event == "call"

        text = deep(blocks, width="16 + number")
        sys.setprofile(tracer)
        try:
            inline(program(text))
        finally:
            sys.setprofile(None)
        return count

    once, twice, four = lines(50), lines(100), lines(200)
    assert abs((four - twice) / (twice - once) - 2) < 0.1
