"""Forwards read as written by hand, and compute what the program says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_tests import programs
from compiler_tests.agreement import State, load
from compiler_tests.emitted import construct, tool
from compiler_tests.programs import (
    FACTS,
    GLOBAL,
    IN,
    RELU,
    SIGMOID,
    WIDTH,
    block,
    conv,
    norm,
    straight,
    written,
)
from compiler_tests.torch_reference import RandomWeights, image, run
from resnet_dsl.backends.torch.emit import emit
from resnet_dsl.ir import ops
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.program import (
    Apply,
    Call,
    Chain,
    Feature,
    Function,
    Program,
    Reference,
    Statement,
    UseSlot,
)
from resnet_dsl.passes.inline import inline
from resnet_dsl.weights.store import Weights

WIDE = 4


def forward_of(source: str, name: str) -> list[str]:
    """The statements of a class's forward, without their indentation."""
    body = source.split(f"class {name}(nn.Module):")[1]
    body = body.split("def forward(self, x: Tensor) -> Tensor:\n")[1]
    return [line.strip() for line in body.split("\n\n")[0].splitlines()]


def test_a_bottleneck_reads_as_in_torchvision() -> None:
    assert forward_of(emit(programs.bottleneck(), FACTS), "Bottleneck") == [
        "out = self.relu(self.bn1(self.conv1(x)))",
        "out = self.relu(self.bn2(self.conv2(out)))",
        "out = self.bn3(self.conv3(out))",
        "identity = x if self.downsample is None else self.downsample(x)",
        "y: Tensor = self.relu(out + identity)",
        "return y",
    ]


def test_without_a_shortcut_the_input_is_the_only_variable() -> None:
    assert forward_of(emit(programs.plain(), FACTS), "Basic") == [
        "x = self.relu(self.bn1(self.conv1(x)))",
        "y: Tensor = self.relu(self.bn2(self.conv2(x)))",
        "return y",
    ]


def test_pre_activation_ends_its_lines_with_the_convolution() -> None:
    assert forward_of(emit(programs.preactivation(), FACTS), "Preact") == [
        "x = self.relu(self.bn1(x))",
        "out = self.relu(self.bn2(self.conv1(x)))",
        "out = self.conv2(out)",
        "y: Tensor = out + self.downsample(x)",
        "return y",
    ]


def test_a_branch_inside_of_a_branch_is_told_apart_from_a_twelfth_one() -> None:
    dense: list[Statement] = [
        *straight(("conv1", conv(8, 8, 1)), ("conv2", conv(8, 8, 3))),
        Apply("cat1", ops.Concat(), (2, 0)),
        *straight(("conv3", conv(16, 8, 1)), ("conv4", conv(8, 8, 3)), start=3),
        Apply("cat2", ops.Concat(), (5, 3)),
    ]
    function = block("dense", "Dense.", (), dense)
    stage: list[Statement] = [Call("layer1", "dense", (), 1, group="layer1")]
    stem = Apply("conv1", conv(3, 8, 3), (0,), "stem")
    features = [Feature("layer1", 2, 24, 1, 16, 16)]
    program = programs.program(
        "dense_net", "", [stem, *stage, *programs.head(24, 2)], [function], features
    )
    assert forward_of(emit(program, FACTS), "Dense") == [
        "branch1 = self.conv1(x)",
        "branch1 = torch.cat((self.conv2(branch1), x), dim=1)",
        "branch1_2 = self.conv3(branch1)",
        "y: Tensor = torch.cat((self.conv4(branch1_2), branch1), dim=1)",
        "return y",
    ]


def test_a_scale_and_a_gate_are_called_so() -> None:
    assert forward_of(emit(programs.squeeze_excite(), FACTS), "SqueezeExcite") == [
        "scale = self.fc1(self.avgpool(x))",
        "scale = self.fc2(self.relu(scale))",
        "y: Tensor = x * self.sigmoid(scale)",
        "return y",
    ]
    assert forward_of(emit(programs.highway(), FACTS), "Highway") == [
        "out = self.relu(self.conv1(x))",
        "gate = self.sigmoid(self.gate_conv(x))",
        "y: Tensor = gate * out + (1 - gate) * x",
        "return y",
    ]


def network(name: str, body: Sequence[Statement], slots: list[str], *, fill: int = 0) -> Program:
    """Three blocks of that body; the first `fill` of them get a shortcut in the slot."""
    function = block("random", "A body drawn at random.", ("in", "width"), body, slots)
    shortcut = programs.chain("shortcut", "", ("in",), (conv(IN, IN, 1), norm(IN)))
    calls = []
    for index in range(3):
        filled = Reference("shortcut", programs.arguments(into=WIDE))
        given = tuple((slot, filled if index < fill else None) for slot in slots)
        calls.append(
            Call(str(index), "random", programs.arguments(into=WIDE, width=WIDE), 0, given)
        )
    main = [
        Apply("conv1", conv(3, WIDE, 1), (0,)),
        Chain("layer1", tuple(calls), 1, "layer1"),
        *programs.head(WIDE, 2),
    ]
    features = [Feature("layer1", 2, WIDE, 1, 16, 16)]
    functions: list[Function] = [function, shortcut]
    return programs.program(name, "", main, functions, features)


def residual_in_residual() -> list[Statement]:
    return [
        *straight(("conv1", conv(IN, WIDTH, 3)), ("relu1", RELU)),
        *straight(("conv2", conv(WIDTH, WIDTH, 3)), ("bn2", norm(WIDTH)), start=2),
        Apply("add1", ops.Add(), (4, 2)),
        Apply("relu2", RELU, (5,)),
        *straight(("conv3", conv(WIDTH, WIDTH, 3)), ("bn3", norm(WIDTH)), start=6),
        Apply("add2", ops.Add(), (8, 0)),
    ]


def test_a_residual_inside_of_a_residual_is_joined_to_the_outer_value() -> None:
    source = emit(network("nested", residual_in_residual(), []), FACTS)
    assert forward_of(source, "Random") == [
        "out = self.relu(self.conv1(x))",
        "inner = self.bn2(self.conv2(out))",
        "out = self.relu(inner + out)",
        "out = self.bn3(self.conv3(out))",
        "y: Tensor = out + x",
        "return y",
    ]


def test_a_slot_that_is_never_filled_is_the_identity() -> None:
    body: list[Statement] = [UseSlot("downsample", 0), Apply("add", ops.Add(), (0, 1))]
    assert forward_of(emit(network("empty", body, ["downsample"]), FACTS), "Random") == [
        "y: Tensor = x + x",
        "return y",
    ]


def test_a_slot_that_is_always_filled_is_no_choice() -> None:
    body: list[Statement] = [UseSlot("downsample", 0), Apply("add", ops.Add(), (0, 1))]
    source = emit(network("full", body, ["downsample"], fill=3), FACTS)
    assert forward_of(source, "Random") == ["y: Tensor = x + self.downsample(x)", "return y"]


def test_an_activation_whose_input_is_read_again_does_not_write_into_it() -> None:
    body = [
        Apply("conv1", conv(IN, WIDTH, 3), (0,)),
        Apply("relu", RELU, (1,)),
        Apply("add", ops.Add(), (2, 1)),
    ]
    assert "nn.ReLU()" in emit(network("reread", body, []), FACTS)


def test_an_activation_of_the_input_does_not_write_into_it() -> None:
    body = [Apply("relu", RELU, (0,)), Apply("conv1", conv(IN, WIDTH, 3), (1,))]
    assert "nn.ReLU()" in emit(network("first", body, []), FACTS)


def test_what_nothing_reads_is_registered_and_not_called() -> None:
    body = [Apply("dead", conv(IN, WIDTH, 3), (0,)), Apply("conv1", conv(IN, WIDTH, 3), (0,))]
    source = emit(network("dead", body, []), FACTS)
    assert "self.dead = " in source
    assert "self.dead(" not in source


def test_concatenation_names_its_branches() -> None:
    body = [
        *straight(("conv1", conv(IN, WIDTH, 3)), ("bn1", norm(WIDTH))),
        Apply("conv2", conv(IN, WIDTH, 1), (0,)),
        Apply("bn2", norm(WIDTH), (3,)),
        Apply("cat", ops.Concat(), (2, 4)),
        Apply("conv3", conv(2 * WIDE, WIDTH, 1), (5,)),
    ]
    assert forward_of(emit(network("branches", body, []), FACTS), "Random") == [
        "branch1 = self.bn1(self.conv1(x))",
        "branch2 = self.bn2(self.conv2(x))",
        "out = torch.cat((branch1, branch2), dim=1)",
        "y: Tensor = self.conv3(out)",
        "return y",
    ]


Draw = Callable[[Any], Any]


@st.composite
def bodies(draw: Draw) -> list[Statement]:
    """Random data flow over values of (N, 4, 16, 16), in which everything may read everything."""
    body: list[Statement] = []
    for place in range(draw(st.integers(1, 12))):
        # Mostly the last value, so that there are lines to nest, and now and then any other.
        recent = st.integers(max(0, place - 1), place)
        value = draw(st.one_of(recent, recent, st.integers(0, place)))
        other, third = draw(st.integers(0, place)), draw(st.integers(0, place))
        kind = draw(st.sampled_from(KINDS))
        match kind:
            case "conv":
                body.append(Apply(f"conv{place}", conv(IN, WIDTH, 3), (value,)))
            case "bn":
                body.append(Apply(f"bn{place}", norm(WIDTH), (value,)))
            case "add":
                operands = (value, other, third)[: draw(st.integers(2, 3))]
                body.append(Apply(f"add{place}", ops.Add(), operands))
            case "multiply":
                body.append(Apply(f"mul{place}", ops.Multiply(), (value, other)))
            case "gate":
                body.append(Apply(f"gate{place}", ops.Gate(), (value, other, third)))
            case "slot":
                body.append(UseSlot("downsample", value))
            case _:
                op = {"relu": RELU, "sigmoid": SIGMOID, "silu": ops.Activation("silu")}.get(kind)
                act = op or ops.Activation("leaky_relu", 0.2)
                body.append(Apply(f"{kind}{place}", act, (value,)))
    return body


KINDS = (
    "conv", "bn", "relu", "conv", "bn", "relu", "add", "add", "multiply", "gate", "sigmoid", "silu",
    "leaky_relu", "slot",
)  # fmt: skip


def once(body: Sequence[Statement]) -> list[Statement]:
    """The body with one use of its slot at most: a module is registered once."""
    seen, found = False, list[Statement]()
    for place, item in enumerate(body):
        if isinstance(item, UseSlot) and seen:
            found.append(Apply(f"bn{place}", norm(WIDTH), (item.operand,)))
        else:
            found.append(item)
        seen = seen or isinstance(item, UseSlot)
    return found


def stored(graph: Graph, weights: Weights) -> State:
    """Numbers for every key of the graph's constants."""
    return {
        item.name: weights.get(item.name, item.shape, 0.0)
        for node in graph.nodes
        for item in node.constants
    }


@settings(max_examples=40)
@given(bodies(), st.integers(0, 3))
def test_forwards_compute_what_the_graph_does(drawn: list[Statement], fill: int) -> None:
    body = once(drawn)
    slots = ["downsample"] if any(isinstance(item, UseSlot) for item in body) else []
    program = network("net", body, slots, fill=fill)
    graph = inline(program)
    weights = RandomWeights()
    with TemporaryDirectory() as folder:
        path = written(program, Path(folder))
        tool("ruff", "format", "--check", "--isolated", "--line-length", "100", str(path))
        model = construct(path)
    load(model, graph, stored(graph, weights))
    x = torch.from_numpy(image(graph))
    before = x.clone()
    with torch.no_grad():
        found = model.eval()(x).numpy()
    expected = run(graph, weights, x.numpy())["logits"]
    assert torch.equal(x, before)
    scale = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * scale)
    # Writing in place where a gradient needs the value is an error that only training shows.
    model.train()(x).sum().backward()


@pytest.mark.parametrize("builder", programs.EVERY, ids=lambda builder: builder.__name__)
def test_hand_built_networks_compute_what_their_graphs_do(
    builder: Callable[[], Program], tmp_path: Path
) -> None:
    program = builder()
    graph = inline(program)
    weights = RandomWeights()
    model = construct(written(program, tmp_path)).eval()
    load(model, graph, stored(graph, weights))
    images = image(graph)
    expected = run(graph, weights, images)
    with torch.no_grad():
        found = model(torch.from_numpy(images)).numpy()
        features = model.forward_features(torch.from_numpy(images))
    np.testing.assert_allclose(found, expected["logits"], rtol=1e-4, atol=1e-4)
    for name, value in features.items():
        np.testing.assert_allclose(value.numpy(), expected[name], rtol=1e-4, atol=1e-4)


def test_pooling_in_a_join_is_nested() -> None:
    body = [Apply("avgpool", GLOBAL, (0,)), Apply("mul", ops.Multiply(), (0, 1))]
    source = emit(network("pooled", body, []), FACTS)
    assert forward_of(source, "Random") == [
        "scale = self.avgpool(x)",
        "y: Tensor = x * scale",
        "return y",
    ]
