"""docs/language.md says what the code says: its tables are generated, and its examples compile."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from compiler_tests.language_tables import TABLES, filled
from compiler_tests.spec_texts import graph, refusals
from resnet_dsl.language.body import FORMS, OPERATIONS
from resnet_dsl.language.definitions import MODELS
from resnet_dsl.language.library import names

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "language.md"


def example() -> str:
    """The tutorial's spec."""
    found = re.search(r"```yaml\n(name: mobile20\n.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_tables_are_what_the_code_says(golden: Callable[[str | Path, str], None]) -> None:
    golden(DOCUMENT, filled(DOCUMENT.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_its_place(name: str) -> None:
    assert DOCUMENT.read_text(encoding="utf-8").count(f"<!-- {name} -->") == 1


def test_every_operation_form_and_definition_is_in_the_tables() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for word in OPERATIONS | {name for kind in MODELS for name in names(kind)}:
        assert f"`{word}`" in text, word
    for word in FORMS:
        assert f"`{word}: " in text, word


def test_the_tutorial_s_block_compiles() -> None:
    flat = graph(example())
    names_ = {node.name for node in flat.nodes}
    assert "layer3.0.se.fc1" in names_
    assert "layer2.0.se.fc1" not in names_
    assert flat.nodes[flat.output - 1].shape == (10,)


def test_the_tutorial_s_error_is_what_the_compiler_prints() -> None:
    first, *_ = refusals(example().replace("stem: cifar", "stem: cifar\nshortcut: identity"))
    text = DOCUMENT.read_text(encoding="utf-8")
    assert f"error[{first.code}]: {first.message}" in text
    assert first.hint is not None
    assert "`A`, `B`, `C` or `D` would give 24 × 16 × 16" in first.hint


def test_the_tutorial_s_questions_can_be_asked() -> None:
    for shortcut in ("A", "gate", "none"):
        graph(example().replace("stem: cifar", f"stem: cifar\nshortcut: {shortcut}"))


def test_every_link_to_a_heading_leads_to_one() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^##+ (.*)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\(#([^)]*)\)", text)) <= headings
