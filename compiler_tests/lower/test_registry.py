"""Names of the functions of a program: a definition with many structures has as many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from compiler_tests.effort import grows_linearly
from compiler_tests.spec_texts import BASE, FILE
from resnet_dsl.ir.program import UseSlot
from resnet_dsl.language.source import parse_text
from resnet_dsl.lower.place import Place
from resnet_dsl.lower.registry import Registry

PLACE = Place(parse_text(BASE, FILE), ())


def registry(variants: Iterable[tuple[str, Sequence[str]]]) -> Registry:
    """A registry of functions that differ in their bodies, given by base and conditions."""
    found = Registry()
    for index, (base, conditions) in enumerate(variants):
        body = (UseSlot("shortcut", index),)
        found.add(base, "", "block", body, 1, {}, conditions, PLACE)
    return found


def test_a_name_that_is_taken_is_counted_on_past_those_that_other_definitions_have() -> None:
    variants: list[tuple[str, Sequence[str]]] = [
        ("vgg_3", ()),
        ("vgg_last", ()),
        ("vgg", ()),
        ("vgg", ("last",)),
        ("vgg", ("width > 3", "first")),
        ("vgg", ()),
        ("vgg", ("first",)),
        ("vgg", ("last",)),
        ("vgg_first", ("first",)),
    ]
    functions, _ = registry(variants).settled(())
    assert [function.name for function in functions.values()] == list(functions)
    assert list(functions) == [
        "vgg_3",
        "vgg_last",
        "vgg",
        "vgg_2",
        "vgg_first",
        "vgg_4",
        "vgg_5",
        "vgg_6",
        "vgg_first_2",
    ]


def test_the_names_of_many_variants_take_linear_time() -> None:
    def prepare(count: int) -> Callable[[], object]:
        many = registry(("vgg", ("first",)) for _ in range(count))
        return lambda: many.settled(())

    assert grows_linearly(prepare, 1_000)
