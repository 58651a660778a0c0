"""A network on larger images than it was made for is the convolution that it stands for."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from compiler_tests.evaluate.tiny import RESIDUAL, VGG, compiled, drawn
from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.dense import dense
from resnet_dsl.evaluate.networks import load_network


def images(*size: int) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(8, 8), (12, 8), (13, 17)])
def test_a_classifier_is_applied_at_each_place_of_the_map_and_averaged(tmp_path, size):
    compilation = compiled(tmp_path)
    network, _ = load_network(compilation, drawn(compilation, tmp_path))
    with torch.inference_mode():
        features = network.get_submodule("layer2")(
            network.get_submodule("layer1")(
                network.relu(network.bn1(network.conv1(images(*size))))  # type: ignore[operator]
            )
        )
        fc = network.get_submodule("fc")
        assert isinstance(fc, nn.Linear)
        at_each = functional.conv2d(features, fc.weight[:, :, None, None], fc.bias)
        found = dense(compilation, network)(images(*size))
    assert at_each.shape[2:] == features.shape[2:]
    torch.testing.assert_close(found, at_each.mean((2, 3)))


@pytest.mark.parametrize("size", [(8, 8), (16, 8), (13, 18)])
def test_a_head_of_vgg_is_a_convolution_over_every_window(tmp_path, size):
    """The first layer as a k×k convolution, the others as 1×1: Simonyan & Zisserman 2015, section 3.2."""
    compilation = compiled(tmp_path, VGG)
    network, _ = load_network(compilation, drawn(compilation, tmp_path))
    with torch.inference_mode():
        whole = network(images(8, 8))
        x = images(*size)
        for name, module in network.named_children():
            if name not in ("avgpool", "classifier"):
                x = module(x)
        classifier = network.get_submodule("classifier")
        layers = [module for module in classifier.children() if isinstance(module, nn.Linear)]
        kernel = 2
        for layer in layers:
            weight = layer.weight.reshape(len(layer.weight), -1, kernel, kernel)
            x = functional.conv2d(x, weight, layer.bias)
            x = x if layer is layers[-1] else x.relu()
            kernel = 1
        found = dense(compilation, network)(images(*size))
        if size == (8, 8):
            torch.testing.assert_close(found, whole)
    torch.testing.assert_close(found, x.mean((2, 3)))


def test_an_image_that_is_too_small_for_such_a_head_is_refused(tmp_path):
    compilation = compiled(tmp_path, VGG)
    network, _ = load_network(compilation, drawn(compilation, tmp_path))
    score = dense(compilation, network)
    with pytest.raises(CompileError, match="an image is too small for the network") as found:
        score(images(8, 4))
    assert found.value.diagnostics[0].code == "RD674"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("[flatten, {linear: {out: classes}}]", "reads all of a map of 12×4×4 that grows"),
        (
            "[{avg_pool: {kernel: 4}}, flatten, {linear: {out: classes}}]",
            "reads all of a map of 12×1×1 that grows",
        ),
        (
            "[{adaptive_avg_pool: {size: 2}}, flatten, {linear: {out: classes}}]",
            "pools a map of 4×4 to a fixed size",
        ),
    ],
)
def test_a_network_of_one_size_is_refused_with_the_reason(tmp_path, head, said):
    text = RESIDUAL.replace("head: classifier", f"heads:\n  own:\n    body: {head}\nhead: own")
    compilation = compiled(tmp_path, text)
    network, _ = load_network(compilation, drawn(compilation, tmp_path))
    with pytest.raises(CompileError) as found:
        dense(compilation, network)
    (item,) = found.value.diagnostics
    assert item.code == "RD674"
    assert item.why is not None
    assert said in item.why
    assert item.hint


def test_pooling_to_a_point_inside_a_block_is_no_hindrance(tmp_path):
    text = RESIDUAL.replace(
        "block: basic, depth: 1, width: 8", "block: se_basic, depth: 1, width: 16"
    )
    compilation = compiled(tmp_path, text)
    network, _ = load_network(compilation, drawn(compilation, tmp_path))
    assert dense(compilation, network) is network


def test_weights_are_those_of_the_file_and_nothing_learns(tmp_path):
    from safetensors.torch import load_file

    compilation = compiled(tmp_path)
    file = drawn(compilation, tmp_path, seed=3)
    network, notes = load_network(compilation, file)
    state = network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in load_file(file).items())
    assert state.keys() == load_file(file).keys()
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert "by name" in notes[-1]
