"""What never varies in a network is written into its functions, and the network stays the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from compiler_tests import programs
from compiler_tests.effort import grows_linearly
from compiler_tests.programs import IN, RELU, arguments, block, chain, conv, norm
from resnet_dsl.ir import ops
from resnet_dsl.ir.calls import callers_first
from resnet_dsl.ir.expr import Binary, Conditional, Expr, Name, literal, mul
from resnet_dsl.ir.program import (
    Apply,
    Arguments,
    Call,
    Chain,
    Function,
    Parameter,
    Program,
    Reference,
    Statement,
    UseSlot,
)
from resnet_dsl.passes.inline import inline
from resnet_dsl.passes.specialise import specialise


def program(calls: Sequence[Call], *functions: Function) -> Program:
    """A network that is one chain of calls."""
    main: list[Statement] = [Chain("layer1", tuple(calls), 0, "layer1"), *programs.head(4, 1)]
    return programs.program("net", "", main, functions, [])


def called(name: str, *given: Arguments) -> list[Call]:
    return [Call(str(place), name, each, 0) for place, each in enumerate(given)]


def calls_of(found: Program) -> list[dict[str, Expr]]:
    stage = found.main.body[0]
    assert isinstance(stage, Chain)
    return [dict(item.arguments) for item in stage.members if isinstance(item, Call)]


def layer(*parameters: str, out: Expr | int = 4) -> Function:
    into: Expr | int = IN if "in" in parameters else 4
    return block("layer", "", parameters, [Apply("conv1", conv(into, out, 1), (0,))])


def first_op(found: Program, name: str) -> ops.Conv[Expr]:
    item = found.functions[name].body[0]
    assert isinstance(item, Apply)
    assert isinstance(item.op, ops.Conv)
    return item.op


def test_a_parameter_that_never_varies_is_substituted() -> None:
    found = specialise(program(called("layer", *[arguments(into=4)] * 3), layer("in")))
    assert found.functions["layer"].parameters == ()
    assert first_op(found, "layer").in_channels == literal(4)
    assert calls_of(found) == [{}, {}, {}]


def test_what_is_substituted_is_simplified() -> None:
    """A stride that a parameter places disappears where it places it elsewhere."""
    test = Binary("==", Name("place"), literal("conv2"))
    stride = Conditional(Name("stride"), test, literal(1))
    function = Function(
        "layer", "", "block", (Parameter("stride", "int"), Parameter("place", "str")), (),
        (Apply("conv1", conv(4, 4, 1, stride), (0,)),), 1,
    )  # fmt: skip
    here, there = (
        specialise(
            program(
                called("layer", *(arguments(stride=step, place=place) for step in (1, 2))), function
            )
        )
        for place in ("conv2", "conv1")
    )
    assert first_op(here, "layer").stride == (Name("stride"), Name("stride"))
    assert first_op(there, "layer").stride == (literal(1), literal(1))
    assert there.functions["layer"].parameters == ()


def test_a_parameter_that_varies_stays() -> None:
    found = specialise(program(called("layer", arguments(into=4), arguments(into=8)), layer("in")))
    assert calls_of(found) == [{"in": literal(4)}, {"in": literal(8)}]


def test_an_integer_and_a_float_are_not_the_same_value() -> None:
    rate = Function(
        "layer", "", "block", (Parameter("rate", "float"),), (),
        (Apply("drop", ops.Dropout(Name("rate")), (0,)),), 1,
    )  # fmt: skip
    found = specialise(program(called("layer", arguments(rate=1), arguments(rate=1.0)), rate))
    assert [item.name for item in found.functions["layer"].parameters] == ["rate"]


def test_parameters_that_are_equal_at_every_call_are_one() -> None:
    given = [arguments(into=width, width=width) for width in (4, 8)]
    found = specialise(program(called("layer", *given), layer("in", "width", out=Name("width"))))
    assert [item.name for item in found.functions["layer"].parameters] == ["width"]
    assert first_op(found, "layer").in_channels == Name("width")


def test_constants_reach_functions_that_are_called_from_functions() -> None:
    inner = block("inner", "", ("in",), [Apply("conv1", conv(IN, 4, 1), (0,))])
    outer = block(
        "outer", "", ("in",), [Call("inner", "inner", arguments(into=mul(IN, literal(1))), 0)]
    )
    found = specialise(program(called("outer", arguments(into=4), arguments(into=4)), outer, inner))
    assert first_op(found, "inner").in_channels == literal(4)
    assert all(not function.parameters for function in found.functions.values())


def test_a_parameter_that_only_unused_parameters_read_is_dropped() -> None:
    inner = block("inner", "", ("unused",), [Apply("conv1", conv(4, 4, 1), (0,))])
    body = [Call("inner", "inner", arguments(unused=Name("passed")), 0)]
    outer = block("outer", "", ("passed",), body)
    given = [arguments(passed=value) for value in (1, 2, 3)]
    found = specialise(program(called("outer", *given), outer, inner))
    assert all(not function.parameters for function in found.functions.values())
    assert calls_of(found) == [{}, {}, {}]


def test_functions_that_nothing_calls_are_dropped_and_callees_stand_first() -> None:
    inner = block("inner", "", (), [Apply("conv1", conv(4, 4, 1), (0,))])
    outer = block("outer", "", (), [Call("inner", "inner", (), 0)])
    unused = block("unused", "", (), [Apply("conv1", conv(4, 4, 1), (0,))])
    found = specialise(program(called("outer", ()), outer, inner, unused))
    assert list(found.functions) == ["inner", "outer"]


def slotted(*filled: Reference | None) -> Program:
    body: list[Statement] = [
        Apply("conv1", conv(4, 4, 1), (0,)),
        UseSlot("shortcut", 0),
        Apply("add", ops.Add(), (1, 2)),
        Apply("relu", RELU, (3,)),
    ]
    function = block("layer", "", (), body, ["shortcut"])
    shortcut = chain("projection", "", ("stride",), (conv(4, 4, 1, Name("stride")), norm(4)))
    calls = [
        Call(str(place), "layer", (), 0, (("shortcut", each),)) for place, each in enumerate(filled)
    ]
    return program(calls, function, shortcut)


def test_a_slot_that_is_never_filled_is_the_identity() -> None:
    function = specialise(slotted(None, None)).functions["layer"]
    assert function.slots == ()
    assert [item.name for item in function.body] == ["conv1", "add", "relu"]
    assert function.body[1] == Apply("add", ops.Add(), (1, 0))
    assert function.result == 3


def test_a_slot_that_is_always_filled_is_required() -> None:
    reference = Reference("projection", arguments(stride=1))
    assert specialise(slotted(reference, reference)).functions["layer"].required_slots == (
        "shortcut",
    )
    mixed = specialise(slotted(reference, None)).functions["layer"]
    assert (mixed.slots, mixed.required_slots) == (("shortcut",), ())


def test_functions_in_slots_are_specialised_too() -> None:
    reference = Reference("projection", arguments(stride=2))
    found = specialise(slotted(reference, None, reference))
    assert found.functions["projection"].parameters == ()
    assert first_op(found, "projection").stride == (literal(2), literal(2))


def test_a_plain_value_that_most_calls_give_is_the_default() -> None:
    function = block(
        "layer", "", ("first", "in"), [Apply("conv1", conv(IN, Name("first"), 1), (0,))]
    )
    given = [arguments(first=first, into=into) for first, into in ((1, 4), (1, 8), (5, 8))]
    found = specialise(program(called("layer", *given), function))
    assert found.functions["layer"].parameters == (
        Parameter("in", "int"),
        Parameter("first", "int", 1),
    )
    assert calls_of(found) == [
        {"in": literal(4)},
        {"in": literal(8)},
        {"in": literal(8), "first": literal(5)},
    ]


def test_a_stride_has_the_default_one_however_seldom() -> None:
    function = block(
        "layer", "", ("stride",), [Apply("conv1", conv(4, 4, 1, Name("stride")), (0,))]
    )
    given = [arguments(stride=stride) for stride in (1, 2, 2, 2)]
    found = specialise(program(called("layer", *given), function))
    assert found.functions["layer"].parameters == (Parameter("stride", "int", 1),)


def test_a_common_number_of_channels_is_no_default() -> None:
    given = [arguments(into=into) for into in (4, 4, 4, 8)]
    found = specialise(program(called("layer", *given), layer("in")))
    assert found.functions["layer"].parameters == (Parameter("in", "int"),)


def test_arguments_left_out_are_the_defaults() -> None:
    function = replace(layer("in"), parameters=(Parameter("in", "int", 4),))
    found = specialise(program(called("layer", (), arguments(into=4)), function))
    assert first_op(found, "layer").in_channels == literal(4)


@pytest.mark.parametrize("builder", programs.EVERY, ids=lambda builder: builder.__name__)
def test_the_network_stays_the_same(builder: Callable[[], Program]) -> None:
    before = builder()
    after = specialise(before)
    assert inline(after) == inline(before)


@pytest.mark.parametrize("builder", programs.EVERY, ids=lambda builder: builder.__name__)
def test_specialising_twice_changes_nothing_more(builder: Callable[[], Program]) -> None:
    once = specialise(builder())
    assert specialise(once) == once


def test_callers_stand_before_what_they_call() -> None:
    order = callers_first(programs.squeeze_excite())
    assert order.index("se_basic") < order.index("squeeze_excite")
    assert set(order) == {"se_basic", "squeeze_excite", "projection"}


def test_a_long_chain_of_functions_is_no_recursion() -> None:
    functions = [
        block(f"f{i}", "", ("in",), [Call("next", f"f{i + 1}", arguments(into=IN), 0)])
        for i in range(3_000)
    ]
    functions.append(block("f3000", "", ("in",), [Apply("conv1", conv(IN, 4, 1), (0,))]))
    found = specialise(program(called("f0", arguments(into=4)), *functions))
    assert first_op(found, "f3000").in_channels == literal(4)


def test_time_is_linear_in_the_number_of_calls() -> None:
    def prepare(depth: int) -> Callable[[], object]:
        long = programs.stochastic(depth)
        return lambda: specialise(long)

    assert grows_linearly(prepare, 2_000)
