"""The verifier accepts what the compiler makes, and names the pass and the node of each broken invariant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler_tests.graphs import RELU, Builder, conv, norm, residual_net
from resnet_dsl.ir.graph import Graph, Node, Output
from resnet_dsl.ir.ops import Activation, Add, Cast, Flatten
from resnet_dsl.ir.verify import VerificationError, Verifier, verify
from resnet_dsl.passes.fold_batchnorm import fold_batchnorm
from resnet_dsl.passes.precision import precision


def small() -> Graph:
    build = Builder(3, 8)
    build.add("conv1", conv(3, 4))
    build.add("bn1", norm(4))
    build.add("relu", RELU)
    return build.graph()


def changed(graph: Graph, number: int, **changes: object) -> Graph:
    nodes = list(graph.nodes)
    nodes[number] = replace(nodes[number], **changes)  # type: ignore[arg-type]
    return replace(graph, nodes=tuple(nodes))


def test_built_folded_and_half_precision_graphs_verify():
    graph = residual_net()
    for candidate in (graph, fold_batchnorm(graph), precision(fold_batchnorm(graph), "bfloat16")):
        verify(candidate)


SMALL = small()
CONV, NORM = SMALL.nodes[0], SMALL.nodes[1]


@pytest.mark.parametrize(
    ("graph", "node", "reason"),
    [
        (changed(SMALL, 1, inputs=(3,)), "bn1", "reads the value %3, which is not before it"),
        (changed(SMALL, 1, inputs=(-1,)), "bn1", "reads the value %-1, which is not before it"),
        (
            changed(SMALL, 0, shape=(4, 7, 8)),
            "conv1",
            "has the shape (4, 7, 8), but its operands make (4, 8, 8)",
        ),
        (
            changed(SMALL, 0, op=conv(5, 4)),
            "conv1",
            "the convolution takes 5 channels, but its input has 3",
        ),
        (changed(SMALL, 2, name="bn1"), "bn1", "has the name of a node before it"),
        (changed(SMALL, 2, name=""), "", "has no name"),
        (
            changed(SMALL, 0, constants=()),
            "conv1",
            "has 0 constants; its operation's are: weight",
        ),
        (
            changed(SMALL, 2, constants=CONV.constants),
            "relu",
            "has 1 constants; its operation's are: none",
        ),
        (
            changed(SMALL, 1, constants=NORM.constants[::-1]),
            "bn1",
            "has the constant 'bn1.running_var' in place of its weight",
        ),
        (
            changed(SMALL, 0, constants=(replace(CONV.constants[0], shape=(4, 3, 1, 1)),)),
            "conv1",
            "its weight has the shape (4, 3, 1, 1), not (4, 3, 3, 3)",
        ),
        (
            changed(SMALL, 0, constants=(replace(CONV.constants[0], dtype="float16"),)),
            "conv1",
            "computes in float32, but conv1.weight is float16",
        ),
        (
            changed(SMALL, 1, dtype="float16"),
            "bn1",
            "computes in float16, but reads %1 in float32",
        ),
        (
            changed(SMALL, 2, op=Cast("float16")),
            "relu",
            "casts to float16, but says that its result is float32",
        ),
    ],
)
def test_a_broken_node_is_named_with_the_pass_and_the_reason(graph: Graph, node: str, reason: str):
    with pytest.raises(VerificationError) as caught:
        verify(graph, "some_pass")
    problem = caught.value
    assert (problem.after, problem.node, problem.reason) == ("some_pass", node, reason)
    assert str(problem) == f"after some_pass: {f'node {node!r}: ' if node else ''}{reason}"


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (replace(SMALL, output=4), "the output is %4, but values end at %3"),
        (
            replace(SMALL, features=(Output("layer1", 9),)),
            "the feature 'layer1' is %9, but values end at %3",
        ),
        (
            replace(SMALL, features=(Output("layer1", 1), Output("layer1", 2))),
            "two features have the name 'layer1'",
        ),
    ],
)
def test_a_broken_output_is_named(graph: Graph, reason: str):
    with pytest.raises(VerificationError, match=f"^{reason}$"):
        verify(graph)


def test_nodes_may_share_weights_but_not_differ_about_them():
    build = Builder(4, 8)
    build.add("one", conv(4, 4))
    build.add("two", conv(4, 4), weights="one")
    graph = build.graph()
    verify(graph)
    other = replace(graph.nodes[1].constants[0], trainable=False)
    with pytest.raises(
        VerificationError, match=r"another node has another constant .*'one.weight'"
    ):
        verify(changed(graph, 1, constants=(other,)))


def test_a_verifier_that_has_seen_a_node_still_sees_that_its_operands_changed():
    verifier = Verifier()
    verifier.verify(SMALL)
    flat = Node("flat", Flatten(), (0,), (192,))
    graph = replace(SMALL, nodes=(flat, replace(CONV, inputs=(1,))), output=2)
    with pytest.raises(VerificationError, match="needs an image"):
        verifier.verify(graph)


def test_a_verifier_that_has_seen_a_node_still_sees_that_its_constants_changed():
    verifier = Verifier()
    verifier.verify(SMALL)
    with pytest.raises(VerificationError, match="has 0 constants"):
        verifier.verify(changed(SMALL, 1, constants=()))


def test_twenty_thousand_nodes_in_a_row_verify():
    nodes = tuple(Node(f"relu{i}", Activation("relu"), (i,), (1, 2, 2)) for i in range(20_000))
    wide = Node("sum", Add(), tuple(range(20_001)), (1, 2, 2))
    verify(Graph("deep", "", (1, 2, 2), (*nodes, wide), 20_001))
