"""Members of chains become loops, and the loops construct the same members."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from compiler_tests.programs import RELU, arguments, conv
from resnet_dsl.backends.torch.runs import Member, Run, runs
from resnet_dsl.ir.expr import Expr, evaluate
from resnet_dsl.ir.program import Apply, Arguments, Call, Reference


def block(width: int, number: int, *, filled: bool = False, name: str = "block") -> Member:
    slot = Reference("projection", arguments(out=width)) if filled else None
    given = arguments(width=width, number=number)
    return Member(Call("0", name, given, 0, (("downsample", slot),)))


def opened(found: Sequence[Run]) -> list[Member]:
    """The members that the loops would construct."""
    members: list[Member] = []
    for run in found:
        for turn in range(run.count):
            env = {} if run.variable is None else {run.variable: run.start + turn * run.step}
            members += [_at(member, env) for member in run.pattern]
    return members


def _at(member: Member, env: dict[str, int]) -> Member:
    call = member.item
    if isinstance(call, Apply):
        return member

    def known(given: Arguments) -> Arguments:
        return tuple((name, _literal(value, env)) for name, value in given)

    slots = tuple(
        (slot, filled and Reference(filled.function, known(filled.arguments)))
        for slot, filled in call.slots
    )
    return Member(Call("0", call.function, known(call.arguments), 0, slots), member.in_place)


def _literal(value: Expr, env: dict[str, int]) -> Expr:
    return arguments(value=evaluate(value, env))[0][1]


calls = st.builds(
    block,
    st.sampled_from([8, 16]),
    st.integers(0, 3),
    filled=st.booleans(),
    name=st.sampled_from(["block", "other"]),
)
counting = st.builds(
    lambda start, step, count: [block(8, start + step * turn) for turn in range(count)],
    st.integers(-3, 3),
    st.integers(-2, 2),
    st.integers(1, 9),
)
repeated = st.builds(
    lambda part, times: part * times, st.lists(calls, max_size=4), st.integers(1, 5)
)


@given(st.lists(st.one_of(calls.map(lambda call: [call]), counting, repeated), max_size=8))
def test_loops_construct_the_members_they_stand_for(parts: list[list[Member]]) -> None:
    members = [member for part in parts for member in part]
    assert opened(list(runs(members))) == members


def test_equal_calls_are_one_loop() -> None:
    (run,) = runs([block(8, 0)] * 1000)
    assert (run.count, run.variable) == (1000, None)


def test_integers_that_count_are_one_loop_over_the_parameter() -> None:
    (run,) = runs([block(8, number) for number in range(2, 1000)])
    assert (run.count, run.variable, run.start, run.step) == (998, "number", 2, 1)


def test_integers_that_count_together_share_a_variable() -> None:
    (run,) = runs([block(8 + 4 * turn, 3 + 4 * turn) for turn in range(5)])
    assert (run.variable, run.start, run.step) == ("width", 8, 4)
    assert opened([run]) == [block(8 + 4 * turn, 3 + 4 * turn) for turn in range(5)]


def test_integers_that_count_at_different_paces_are_written_over_an_index() -> None:
    members = [block(8 + 4 * turn, 3 - 3 * turn) for turn in range(5)]
    (run,) = runs(members)
    assert (run.variable, run.start, run.step) == ("index", 0, 1)
    assert opened([run]) == members


def test_short_patterns_repeat() -> None:
    (run,) = runs([block(8, 0), block(16, 0), block(16, 0)] * 4)
    assert (len(run.pattern), run.count) == (3, 4)


def test_two_different_calls_are_no_loop() -> None:
    assert [run.count for run in runs([block(8, 1), block(16, 2)])] == [1, 1]


def test_activations_that_write_in_place_and_that_do_not_are_kept_apart() -> None:
    layer = Member(Apply("0", conv(8, 8, 3), (0,)))
    act = Apply("1", RELU, (0,))
    members = [layer, Member(act), layer, Member(act, in_place=True)]
    assert opened(list(runs(members * 3))) == members * 3
