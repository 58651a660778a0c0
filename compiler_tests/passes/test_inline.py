"""Inlining: names are module paths, numbers are concrete, slots are filled or vanish."""

from __future__ import annotations

from compiler_tests.spec_texts import changed, graph, program, with_block
from resnet_dsl.ir.expr import Expr, Name, literal
from resnet_dsl.ir.graph import Stored
from resnet_dsl.ir.ops import Activation, Conv, Init
from resnet_dsl.ir.program import Apply, Call, Chain, Function, Parameter, Program
from resnet_dsl.ir.verify import verify
from resnet_dsl.passes.inline import inline

ONE = (literal(1), literal(1))


def conv(before: Expr, after: Expr) -> Conv[Expr]:
    none = (literal(0), literal(0))
    return Conv(before, after, ONE, ONE, none, ONE, literal(1), False, Init())


def test_names_are_paths_and_constants_are_keys_of_the_state_dict() -> None:
    nodes = {node.name: node for node in graph(changed()).nodes}
    first = nodes["layer2.0.downsample.0"]
    (weight,) = first.constants
    assert weight.name == "layer2.0.downsample.0.weight"
    assert weight.source == Stored("layer2.0.downsample.0.weight", Init())
    assert (first.group, first.block) == ("layer2", "layer2.0")


def test_a_slot_without_a_function_leaves_its_value_as_it_is() -> None:
    flat = graph(changed())
    nodes = {node.name: node for node in flat.nodes}
    index = {node.name: number for number, node in enumerate(flat.nodes, start=1)}
    join = nodes["layer1.0.add"]
    assert join.inputs == (index["layer1.0.bn2"], index["relu"])


def test_every_node_knows_its_stage_and_its_innermost_block() -> None:
    text = changed(("block: basic, depth: 2, width: 16", "block: se_basic, depth: 2, width: 16"))
    places = {node.name: (node.group, node.block) for node in graph(text).nodes}
    assert places["conv1"] == ("stem", "")
    assert places["layer1.1.conv1"] == ("layer1", "layer1.1")
    assert places["layer1.1.se.fc1"] == ("layer1", "layer1.1.se")
    assert places["fc"] == ("head", "")


def test_arguments_are_worked_out_call_by_call() -> None:
    body = "out: width * 2 + 4\nbody:\n  - repeat: 3\n    body:\n      - one: {n: width + i}\n"
    more = (
        "  one: {parameters: {n: {type: int}}, out: n * 2, body: [conv: {out: n * 2, kernel: 1}]}\n"
    )
    found = [
        node.shape[0]
        for node in graph(with_block(body, "block: mine, depth: 1, width: 8", more)).nodes
        if node.group == "layer1"
    ]
    assert found == [16, 18, 20]


def test_features_are_the_ends_of_stages_in_a_chain_too() -> None:
    text = changed(("shortcut: B", "shortcut: none\ntrunk: features"))
    flat = graph(text)
    ends = [(item.name, flat.nodes[item.value - 1].name) for item in flat.features]
    assert ends == [("layer1", "features.14"), ("layer2", "features.26")]


def test_a_block_in_a_flat_trunk_is_one_of_its_members() -> None:
    body = "body:\n  - conv: {out: width, kernel: 3}\n  - squeeze_excite: {reduction: 4}\n"
    text = with_block(body).replace("shortcut: B", "shortcut: none\ntrunk: features")
    found = [node.name for node in graph(text).nodes if node.group == "layer1"]
    assert found[:2] == ["features.3", "features.4.avgpool"]
    assert found[-1] == "features.6.mul"


def test_a_call_may_leave_out_what_has_a_default() -> None:
    block = Function(
        "block",
        "",
        "block",
        (Parameter("in", "int"), Parameter("out", "int", 5)),
        (),
        (Apply("conv", conv(Name("in"), Name("out")), (0,)),),
        1,
    )
    main = Function(
        "main",
        "",
        "block",
        (),
        (),
        (
            Chain("stage", (Call("0", "block", (("in", literal(3)),), 0),), 0),
            Apply("relu", Activation("relu"), (1,)),
        ),
        2,
    )
    flat = inline(Program("net", "", (3, 4, 4), 1, main, {"block": block}))
    verify(flat)
    assert [(node.name, node.shape) for node in flat.nodes] == [
        ("stage.0.conv", (5, 4, 4)),
        ("relu", (5, 4, 4)),
    ]


def test_operations_of_equal_calls_are_one_object() -> None:
    """So that what later passes and the verifier learn of one holds for all, and memory stays small."""
    flat = graph(changed(("depth: 2, width: 16", "depth: 9, width: 16")))
    ops = {id(node.op) for node in flat.nodes if node.name.startswith("layer1.")}
    assert len(ops) <= 14


def test_the_program_itself_is_left_as_it_was() -> None:
    before = program(changed())
    again = program(changed())
    inline(before)
    assert before == again
