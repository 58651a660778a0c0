"""A network initialises itself as the graph says that its weights are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from compiler_tests import programs
from compiler_tests.emitted import construct
from resnet_dsl.backends.torch.emit import emit
from resnet_dsl.ir import ops
from resnet_dsl.ir.expr import Expr, Name, literal
from resnet_dsl.ir.graph import Stored
from resnet_dsl.ir.ops import Init
from resnet_dsl.ir.program import (
    Apply,
    Call,
    Chain,
    Feature,
    Function,
    Parameter,
    Program,
    Reference,
    Statement,
    UseSlot,
)
from resnet_dsl.passes.inline import inline
from resnet_dsl.weights.initialise import draw

CHANNELS = 32
ENOUGH = 500  # numbers from which a standard deviation says something

INITS = [
    Init("he_normal", "fan_out"), Init("he_normal", "fan_in"), Init("he_uniform", "fan_out"),
    Init("xavier_normal"), Init("xavier_uniform"), Init("normal", scale=0.5), Init("uniform"),
    Init("zeros"),
]  # fmt: skip


def is_initialised(program: Program, folder: Path) -> None:
    """Every number of the state dict is filled, or drawn with the spread, that the graph states."""
    path = programs.written(program, folder)
    torch.manual_seed(0)
    state = construct(path).state_dict()
    for node in inline(program).nodes:
        for constant in node.constants:
            source = constant.source
            assert isinstance(source, Stored)
            found = state[constant.name].numpy()
            expected = draw(constant.name, constant.shape, source.fill, 0)
            if isinstance(source.fill, Init) and found.size >= ENOUGH:
                assert found.std() == pytest.approx(expected.std(), rel=0.12), constant.name
                assert np.abs(found).max() == pytest.approx(np.abs(expected).max(), rel=0.5)
            elif isinstance(source.fill, float):
                assert np.array_equal(found, expected), constant.name


@pytest.mark.parametrize("builder", programs.EVERY, ids=lambda builder: builder.__name__)
def test_hand_built_networks_initialise_themselves(
    builder: Callable[[], Program], tmp_path: Path
) -> None:
    is_initialised(builder(), tmp_path)


def network(
    body: list[Statement], function: Function, *others: Function, head: Init = INITS[-2]
) -> Program:
    """A convolution to 32 channels, `body` over it, and a classifier of 100 classes."""
    stem: Statement = Apply("conv1", programs.conv(3, CHANNELS, 3), (0,), "stem")
    classes: Expr = Name("classes")
    fc = ops.Linear(literal(CHANNELS), classes, True, head)
    main: list[Statement] = [
        stem,
        *body,
        Apply("avgpool", programs.GLOBAL, (len(body) + 1,), "head"),
        Apply("flatten", ops.Flatten(), (len(body) + 2,), "head"),
        Apply("fc", fc, (len(body) + 3,), "head"),
    ]
    features = [Feature("layer1", len(body) + 1, CHANNELS, 1, 16, 16)]
    program = programs.program("drawn", "", main, [function, *others], features)
    main_function = replace(program.main, parameters=(Parameter("classes", "int", 100),))
    return replace(program, classes=100, main=main_function)


def every_way() -> list[Apply]:
    """Convolutions drawn in every way, with biases of every fill, and norms."""
    convs = [
        Apply(
            f"conv{i}",
            programs.conv(CHANNELS, CHANNELS, 1, bias=True, init=init, bias_fill=fill),
            (i,),
        )
        for i, (init, fill) in enumerate(zip(INITS * 2, [0.0] * 8 + [-2.0] * 8, strict=True))
    ]
    norms = [
        Apply("bn1", programs.norm(CHANNELS, 0.0), (16,)),
        Apply("bn2", programs.norm(CHANNELS), (17,)),
    ]
    return [*convs, *norms]


def test_exceptions_of_a_block_are_set_right(tmp_path: Path) -> None:
    function = programs.block("block", "", (), every_way())
    stage: list[Statement] = [
        Chain("layer1", tuple(Call(str(i), "block", (), 0) for i in range(2)), 1, "layer1")
    ]
    is_initialised(network(stage, function), tmp_path)


def test_exceptions_of_chains_are_set_right_wherever_they_are_called(tmp_path: Path) -> None:
    """As a member of the network, in a stage, spliced, in a slot, and inside of a block's chain."""
    ops_of_chain = [item.op for item in every_way()]
    chain = programs.chain("chained", "", (), ops_of_chain)
    spliced = programs.chain("spliced", "", (), ops_of_chain)
    inside: list[Statement] = [
        Chain("inner", tuple(Apply(str(i), op, ()) for i, op in enumerate(ops_of_chain)), 0),
        UseSlot("shortcut", 0),
        Apply("add", ops.Add(), (1, 2)),
    ]
    block = programs.block("block", "", (), inside, ["shortcut"])
    slot = (("shortcut", Reference("chained", ())),)
    length = len(ops_of_chain)
    body: list[Statement] = [
        Call("direct", "chained", (), 1, group="layer1"),
        Chain(
            "layer1", (Call("0", "chained", (), 0), Call("1", "block", (), 0, slot)), 2, "layer1"
        ),
        Chain(
            "flat",
            (
                Call("0", "spliced", (), 0, splice=True),
                Call(str(length), "spliced", (), 0, splice=True),
            ),
            3,
            "layer1",
        ),
    ]
    is_initialised(network(body, chain, spliced, block), tmp_path)


@pytest.mark.parametrize("init", INITS, ids=lambda init: f"{init.kind}-{init.mode}")
def test_the_general_rule_may_be_any(init: Init, tmp_path: Path) -> None:
    body = [
        Apply(f"conv{i}", programs.conv(CHANNELS, CHANNELS, 1, init=init), (i,)) for i in range(3)
    ]
    function = programs.block("block", "", (), body)
    stage: list[Statement] = [Call("layer1", "block", (), 1, group="layer1")]
    is_initialised(network(stage, function, head=init), tmp_path)


def test_linear_layers_drawn_differently_are_set_right(tmp_path: Path) -> None:
    linears = [
        Apply(str(i), ops.Linear(literal(CHANNELS), literal(CHANNELS), bias, init, fill), ())
        for i, (init, bias, fill) in enumerate(
            (init, bias, fill) for init in INITS for bias in (True, False) for fill in (0.0, 1.5)
        )
    ]
    function = programs.block(
        "block", "", (), [Apply("conv", programs.conv(CHANNELS, CHANNELS, 1), (0,))]
    )
    program = network([Call("layer1", "block", (), 1, group="layer1")], function)
    body = program.main.body
    hidden = Chain("hidden", tuple(linears), 4, "head")
    classes: Expr = Name("classes")
    for init in INITS:
        fc = ops.Linear(literal(CHANNELS), classes, True, init)
        last = Apply("fc", fc, (5,), "head")
        main = replace(program.main, body=(*body[:-1], hidden, last), result=6)
        is_initialised(replace(program, main=main), tmp_path)


def _with_general_rules(conv: Init, linear: Init) -> Program:
    """Convolutions and linear layers with biases and without."""
    convs = [
        Apply(f"conv{i}", programs.conv(CHANNELS, CHANNELS, 1, bias=bool(i), init=conv), (i,))
        for i in range(2)
    ]
    function = programs.block("block", "", (), convs)
    stage: list[Statement] = [Call("layer1", "block", (), 1, group="layer1")]
    program = network(stage, function, head=linear)
    hidden = Apply("hidden", ops.Linear(literal(CHANNELS), literal(CHANNELS), False, linear), (4,))
    *body, last = program.main.body
    assert isinstance(last, Apply)
    main = replace(program.main, body=(*body, hidden, replace(last, operands=(5,))), result=6)
    return replace(program, main=main)


@pytest.mark.parametrize(
    ("conv", "linear", "test"),
    [
        (Init("uniform"), Init("uniform"), "isinstance(module, nn.Conv2d) and module.bias is not"),
        (Init("uniform"), Init("normal"), "isinstance(module, nn.Conv2d) and module.bias is not"),
        (Init("normal"), Init("normal"), "isinstance(module, (nn.Conv2d, nn.Linear))"),
    ],
)
def test_rules_are_written_with_as_few_conditions_as_a_linter_asks_for(
    conv: Init, linear: Init, test: str, tmp_path: Path
) -> None:
    program = _with_general_rules(conv, linear)
    is_initialised(program, tmp_path)
    assert test in emit(program, programs.FACTS)


def test_more_exceptions_than_python_nests_are_set_right(tmp_path: Path) -> None:
    count = 1100
    functions = [
        programs.block(
            f"block{i}",
            "",
            (),
            [Apply("conv", programs.conv(8, 8, 1, bias=True, bias_fill=i), (0,))],
        )
        for i in range(count)
    ]
    calls = tuple(Call(str(i), function.name, (), 0) for i, function in enumerate(functions))
    first = Apply("first", programs.conv(CHANNELS, 8, 1), (1,), "layer1")
    last = Apply("last", programs.conv(8, CHANNELS, 1), (3,), "layer1")
    body: list[Statement] = [first, Chain("layer1", calls, 2, "layer1"), last]
    is_initialised(network(body, *functions), tmp_path)
