"""What Monte Carlo arithmetic predicts of a computation is what the computation does."""

from __future__ import annotations

import pytest
import torch

from compiler_tests.verify import nets
from compiler_tests.verify.devices import SequentialDevice
from resnet_dsl.passes.numbers import Numbers, Precision
from resnet_dsl.verify.exact import computed
from resnet_dsl.verify.reference import Reference
from resnet_dsl.verify.rounding import FLOAT32, student
from resnet_dsl.verify.spread import CHANCE, SEEDS, _disturb, _noise, spread


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["option B", "pre-activation", "gelu", "group normalisation"])
def test_the_spread_is_above_what_a_device_is_off_by_and_not_far(
    name: str, precision: Precision
) -> None:
    spec = nets.SPECS[name]
    reference, weights = nets.reference(spec), nets.weights(spec)
    graph = nets.compiled(spec).inference_graph(numbers=Numbers(precision))
    final = graph.nodes[graph.output - 1].name
    with torch.inference_mode():
        found = spread(
            graph,
            lambda item: computed(item, weights),
            reference.images,
            FLOAT32,
            lambda node: node.name == final,
        )[final]
        device = SequentialDevice(graph, weights, torch.float32)
        off = device.logits(reference.images).double() - found.exact
    rms = float(off.square().mean().sqrt())
    assert found.rms / 100 < rms < student(SEEDS, CHANCE) * found.rms
    assert float(off.abs().max()) < student(SEEDS, CHANCE) * found.largest


def test_the_same_computation_has_the_same_spread() -> None:
    first, second = (
        Reference(nets.compiled(nets.PLAIN), nets.weights(nets.PLAIN), images).spreads
        for images in [nets.reference(nets.PLAIN).images] * 2
    )
    assert {name: (item.rms, item.largest) for name, item in first.items()} == {
        name: (item.rms, item.largest) for name, item in second.items()
    }


def test_equal_numbers_are_off_by_the_same_so_that_a_mean_keeps_it() -> None:
    exact = torch.tensor([0.3, -0.2], dtype=torch.float64).reshape(1, 2, 1, 1).repeat(1, 1, 8, 8)
    copies = exact.float().repeat(SEEDS, 1, 1, 1)
    off = _disturb(copies, exact, torch.full((1, 2, 8, 8), 1e-3), 5) - copies
    for copy in off:
        for channel in copy:
            assert torch.equal(channel, channel[0, 0].expand_as(channel))
    assert len(set(off[:, :, 0, 0].flatten().tolist())) == 2 * SEEDS
    assert float(off.abs().max()) <= 3**0.5 * 1e-3 * 1.01


def test_noise_has_mean_zero_and_variance_one_and_follows_from_the_bits() -> None:
    values = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    bits = values.view(torch.int32)
    one, other = _noise(bits, 1), _noise(bits, 2)
    assert torch.equal(one, _noise(bits, 1))
    for drawn in (one, other):
        assert abs(float(drawn.mean())) < 0.02
        assert abs(float(drawn.var()) - 1) < 0.02
        assert float(drawn.abs().max()) <= 3**0.5 + 1e-6
    assert abs(float((one * other).mean())) < 0.02
    assert abs(float((one * values).mean())) < 0.02


def test_the_bound_adds_what_is_computed_otherwise() -> None:
    found = nets.reference(nets.PLAIN).spreads["fc"]
    t = student(SEEDS, CHANCE)
    assert found.bounds(found.exact) == pytest.approx((t * found.rms, t * found.largest))
    rms, largest = found.bounds(found.exact + 1)
    assert rms == pytest.approx(1 + t * found.rms)
    assert largest == pytest.approx(1 + t * found.largest)
