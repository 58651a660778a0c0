"""The library: every file reads, checks and says what it is."""

from __future__ import annotations

import pytest

from compiler_tests.spec_texts import FILE, changed
from resnet_dsl.language.definitions import MODELS
from resnet_dsl.language.library import LIBRARY, Definitions, from_package, names
from resnet_dsl.language.reading import read_spec
from resnet_dsl.language.source import parse_text

FILES = [(kind, name) for kind in MODELS for name in names(kind)]


def definitions(text: str) -> Definitions:
    source = parse_text(text, FILE)
    return Definitions(read_spec(source), source)


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_a_library_file_is_sound_and_says_what_it_is(kind, name: str) -> None:
    located = from_package(kind, name)
    assert located is not None
    assert located.source.data[kind] == name
    assert located.definition.doc.endswith((".", "))."))
    assert definitions(changed()).check_calls(located) == []


@pytest.mark.parametrize("file", sorted(LIBRARY.rglob("*.yaml")), ids=lambda file: file.stem)
def test_the_lines_of_a_library_file_fit_a_page(file) -> None:
    assert max(map(len, file.read_text(encoding="utf-8").splitlines())) <= 100


def test_a_name_cannot_lead_out_of_the_library() -> None:
    for name in ("../heads/classifier", "/etc/passwd", "basic.yaml", "", "a" * 65):
        assert from_package("block", name) is None


def test_what_a_spec_defines_is_found_first_and_known_beside_the_library() -> None:
    own = definitions(changed() + "blocks: {basic: {body: [relu]}, fresh: {body: [tanh]}}\n")
    basic = own.find("block", "basic")
    assert basic is not None
    assert basic.path == ("blocks", "basic")
    assert {"fresh", "bottleneck"} <= set(own.known("block"))


def test_the_library_finds_its_own_definitions_whatever_a_spec_defines() -> None:
    own = definitions(changed() + "blocks: {squeeze_excite: {body: [relu]}}\n")
    caller = from_package("block", "se_basic")
    assert caller is not None
    found = own.find("block", "squeeze_excite", caller.source)
    assert found is not None
    assert found.path == ()
