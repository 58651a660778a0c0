"""Passes run in order, are verified one by one, and a failure says which it was and what had run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler_tests.graphs import residual_net
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.graph import Graph, Node
from resnet_dsl.ir.ops import Activation, Add, DropPath
from resnet_dsl.ir.verify import VerificationError
from resnet_dsl.passes.canonicalise import canonicalise
from resnet_dsl.passes.dead_code import dead_code
from resnet_dsl.passes.fold_batchnorm import fold_batchnorm
from resnet_dsl.passes.inference import inference
from resnet_dsl.passes.manager import Pass, PassError, run
from resnet_dsl.passes.precision import precision

ALL = (
    Pass("canonicalise", canonicalise),
    Pass("inference", inference),
    Pass("fold_batchnorm", fold_batchnorm),
    Pass("dead_code", dead_code),
    Pass("precision", lambda graph: precision(graph, "float16")),
)


def test_passes_run_in_order():
    graph = residual_net()
    assert run(graph, ALL[:4]) == dead_code(fold_batchnorm(inference(canonicalise(graph))))


def broken(graph: Graph) -> Graph:
    return replace(graph, output=99_999)


def crash(graph: Graph) -> Graph:
    raise KeyError("lost")


def refuse(graph: Graph) -> Graph:
    raise CompileError(Diagnostic("RD640", "no"))


def test_a_pass_that_breaks_the_graph_is_named_with_those_before_it():
    with pytest.raises(PassError) as caught:
        run(residual_net(), (ALL[0], ALL[1], Pass("broken", broken), ALL[3]))
    assert caught.value.name == "broken"
    assert caught.value.done == ("canonicalise", "inference")
    assert str(caught.value) == (
        "the pass broken failed: after broken: the output is %99999, but values end at %37 "
        "(passes run before it: canonicalise, inference)"
    )


def test_a_pass_that_crashes_is_named():
    with pytest.raises(PassError, match=r"the pass crash failed: KeyError: 'lost' .*none\)"):
        run(residual_net(), (Pass("crash", crash),))


def test_a_users_error_passes_through_as_it_is():
    with pytest.raises(CompileError, match=r"^no$"):
        run(residual_net(), (Pass("refuse", refuse),))


def test_a_graph_that_is_broken_from_the_start_is_no_pass_s_fault():
    with pytest.raises(VerificationError, match="after inline"):
        run(broken(residual_net()), ALL)


def test_twenty_thousand_nodes_pass_without_recursion():
    nodes: list[Node] = []
    for number in range(0, 20_000, 2):
        nodes.append(Node(f"drop{number}", DropPath(0.1), (number,), (1, 2, 2)))
        nodes.append(Node(f"relu{number}", Activation("relu"), (number + 1,), (1, 2, 2)))
    nodes.append(Node("sum", Add(), tuple(range(len(nodes) + 1)), (1, 2, 2)))
    result = run(Graph("deep", "", (1, 2, 2), tuple(nodes), len(nodes)), ALL)
    assert len(result.nodes) == 10_000 + 1 + 2
