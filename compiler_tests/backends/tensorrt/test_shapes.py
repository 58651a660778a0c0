"""How profiles and sizes are written, and what is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from resnet_dsl.backends.tensorrt.shapes import (
    MOST_PROFILES,
    Profile,
    Range,
    list_findings,
    parse_profile,
    parse_profiles,
    parse_size,
    profile_of,
    range_of,
)
from resnet_dsl.errors import CompileError, Diagnostic


def findings(action: Callable[[], object]) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as raised:
        action()
    assert {item.code for item in raised.value.diagnostics} == {"RD625"}
    return raised.value.diagnostics


@pytest.mark.parametrize(
    ("text", "size"),
    [("1/8/64", Range(1, 8, 64)), ("8", Range(8, 8, 8)), (" 2 / 2 / 3 ", Range(2, 2, 3))],
)
def test_a_range_is_three_numbers_or_one(text, size):
    assert range_of(text) == size


@pytest.mark.parametrize(
    "text", ["", "1/2", "1/2/3/4", "a", "-1", "1//2", "1.5", "٣", "1/8/64;", "9" * 30]
)
def test_what_is_no_range_is_refused_with_an_example(text):
    (found,) = findings(lambda: range_of(text, "height"))
    assert found.message == f"`{text[:40]}` is no range of heights"
    assert "192/224/256" in (found.hint or "")


def test_a_range_that_does_not_ascend_is_refused_with_the_nearest_that_does():
    (found,) = findings(lambda: range_of("64/8/1"))
    assert (found.message, found.hint) == ("the batch of a profile is 64/8/1", "write `1/8/64`")
    (found,) = findings(lambda: range_of("1/1/3000000000"))
    assert "≤ 2,147,483,647" in (found.why or "")


def test_a_profile_without_a_batch_has_the_usual_one():
    assert profile_of() == Profile()
    assert profile_of(height="32", width="16/32/64") == Profile(
        Range(1, 8, 64), Range(32, 32, 32), Range(16, 32, 64)
    )


def test_every_wrong_range_of_a_profile_is_told():
    found = findings(lambda: profile_of(batch="0", height="x", width="3/2/1"))
    assert [item.message for item in found] == [
        "the batch of a profile is 0/0/0",
        "`x` is no range of heights",
        "the width of a profile is 3/2/1",
    ]


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        ("batch=1/8/64", Profile()),
        ("batch=4, size=32", Profile(Range(4, 4, 4), Range(32, 32, 32), Range(32, 32, 32))),
        (
            "height=192/224/256,batch=1",
            Profile(Range(1, 1, 1), height=Range(192, 224, 256)),
        ),
    ],
)
def test_a_profile_is_written_in_one_word(text, profile):
    assert parse_profile(text) == profile


def test_what_is_no_part_of_a_profile_is_told_with_what_may_be_meant():
    found = findings(lambda: parse_profiles(["hight=3", "8", "batch=1,batch=2", "size=1,width=2"]))
    assert [item.message for item in found] == [
        "`hight=3` is no part of a profile",
        "`8` is no part of a profile",
        "a profile gives batch twice: `batch=1,batch=2`",
        "a profile gives width twice: `size=1,width=2`",
    ]
    assert found[0].hint == "did you mean `height`?"
    assert "--profile batch=1/8/64" in (found[1].hint or "")


def test_profiles_may_overlap_and_not_be_the_same():
    first, second = parse_profiles(["batch=1/1/8", "batch=4/8/64"])
    assert (first.batch.holds(4), second.batch.holds(4), second.batch.holds(1)) == (
        True,
        True,
        False,
    )
    (found,) = findings(lambda: parse_profiles(["batch=8", "batch=8/8/8"]))
    assert found.message == "two profiles are the same: batch 8/8/8"


def test_there_are_not_too_many_profiles_and_not_none():
    assert findings(lambda: parse_profiles([]))[0].message == "the list of profiles is empty"
    many = [Profile(Range(1, 1, size)) for size in range(1, MOST_PROFILES + 2)]
    (found,) = list_findings(many)
    assert found.message == "there are 65 profiles, and 64 at most"
    assert list_findings(many[1:]) == []


@pytest.mark.parametrize(
    ("text", "size"), [("224", (224, 224)), ("192x256", (192, 256)), (" 32 × 48 ", (32, 48))]
)
def test_an_image_size_is_one_number_or_height_and_width(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "0x3", "-3", "3x", "x3", "3x4x5", "a", "1e3", "9" * 12])
def test_what_is_no_image_size_is_refused(text):
    (found,) = findings(lambda: parse_size(text))
    assert found.message == f"`{text}` is no image size"
