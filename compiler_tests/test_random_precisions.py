"""Networks at random, in every precision: codes go where they may, and the numbers are as near as their types allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from compiler_tests import agreement, onnx_runs, rounding, torch_reference
from compiler_tests.random_specs.specs import specs
from resnet_dsl.compiler import compile_spec
from resnet_dsl.errors import CompileError
from resnet_dsl.ir.graph import Graph, Shape
from resnet_dsl.ir.ops import Cast, Conv, Dequantize, Init, Linear, Quantize
from resnet_dsl.ir.verify import verify
from resnet_dsl.passes.manager import run
from resnet_dsl.passes.names import value_names
from resnet_dsl.passes.numbers import Numbers, Precision, Rest
from resnet_dsl.passes.placement import Placement, Plan
from resnet_dsl.weights.store import Array, LoadedWeights, Weights

CODES: tuple[tuple[Precision, Placement], ...] = (
    ("int8", "onnxruntime"),
    ("int8", "tensorrt"),
    ("fp8", "tensorrt"),
)
EXAMPLES = 25
RESTS: tuple[Rest, ...] = ("fp32", "fp16", "bf16")
"""Of these, ONNX Runtime's CPU kernels run fp32 and fp16."""


class Copied(LoadedWeights):
    """Weights whose tensors are torch's to have."""

    def get(self, key: str, shape: Shape, fill: Init | float) -> Array:
        return LoadedWeights.get(self, key, shape, fill).copy()


@dataclass(frozen=True)
class Case:
    """A network with its numbers, and all its values for a batch in float32 (`values`, the image's first)."""

    graph: Graph
    weights: Weights
    x: Array
    values: list[torch.Tensor]

    @property
    def largest(self) -> dict[str, float]:
        """The largest magnitude of each value by name."""
        sizes = [float(value.abs().max()) for value in self.values]
        return dict(zip(value_names(self.graph), sizes, strict=True))

    def numbers(
        self, precision: Precision, rest: Rest, placement: Placement, wide: frozenset[str]
    ) -> Numbers:
        """Numbers with the ranges of the batch itself, so that nothing is clipped."""
        found = Numbers(precision, rest, placement, floating=wide)
        plan = found.plan(self.graph)
        assert plan is not None
        return replace(found, ranges={name: self.largest[name] for name in plan.ranges})


def case_of(file: Path, spec: dict[str, Any], *, fold: bool, seed: int) -> Case:
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    try:
        compilation = compile_spec(file)
    except CompileError:  # a few are refused: a block whose only body is repeated 0 times is empty
        reject()
    graph = compilation.inference_graph(fold=fold)
    weights = Copied(agreement.trained_state(compilation.graph, seed))
    x = agreement.images(compilation).numpy()
    values = torch_reference.all_values(graph, weights, x)
    # Products of products grow beyond all types; codes of what is far from the others say little.
    assume(all(bool((value.abs() < 1e3).all()) for value in values))
    return Case(graph, weights, x, values)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks are small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def readers_of(graph: Graph) -> Counter[int]:
    return Counter(value for node in graph.nodes for value in node.inputs)


def check_pairs(plan: Plan, graph: Graph, wide: frozenset[str]) -> None:
    """One pair a value, each read; what is wide is as it was, but that it may read what others make."""
    read = readers_of(graph)
    quantised = [node.inputs[0] for node in graph.nodes if isinstance(node.op, Quantize)]
    assert len(quantised) == len(set(quantised)) == len(plan.values)
    ends = {graph.output, *(feature.value for feature in graph.features)}
    for number, node in enumerate(graph.nodes, start=1):
        if isinstance(node.op, Quantize):
            assert read[number] == 1, f"{node.name} has {read[number]} readers"
        elif isinstance(node.op, Dequantize):
            assert read[number] or number in ends, f"nothing reads {node.name}"
        elif isinstance(node.op, Conv | Linear):
            kept = node.constants[0].encoding is None
            assert kept == (node.name in wide), node.name
        assert all(constant.encoding is None for constant in node.constants[1:])


def check_types(graph: Graph, rest: Rest, wide: frozenset[str]) -> None:
    """Where the rest is in a half type, what is wide is float32, its weights too; a cast is read, and never undone."""
    half = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[rest]
    read = readers_of(graph)
    for number, node in enumerate(graph.nodes, start=1):
        if isinstance(node.op, Cast):
            assert read[number] or number == graph.output
            before = graph.nodes[node.inputs[0] - 1] if node.inputs[0] else None
            assert before is None or not isinstance(before.op, Cast)
        elif not isinstance(node.op, Quantize | Dequantize):
            assert node.dtype == ("float32" if node.name in wide else half), node.name
        assert all(constant.dtype == node.dtype for constant in node.constants)
    assert graph.output == 0 or graph.nodes[graph.output - 1].dtype == "float32"


def tapped(graph: Graph, weights: Weights, x: Array) -> dict[str, torch.Tensor]:
    """All floating-point values that ONNX Runtime computes as the file says, fusing nothing, in float64."""
    model = onnx_runs.to_model(graph, weights)
    made = {name for node in model.graph.node for name in node.output}
    names = {"input": 0}
    for number, node in enumerate(graph.nodes, start=1):
        name = "logits" if number == graph.output else node.name
        if name in made and not isinstance(node.op, Quantize):
            names[name] = number
    kinds = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}
    for name, number in names.items():
        if name not in ("input", "logits"):
            kind = kinds[graph.nodes[number - 1].dtype]
            model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    found = onnx_runs.run(model.SerializeToString(), x, codes=False) | {"input": x}
    return {
        "input" if number == 0 else graph.nodes[number - 1].name: torch.from_numpy(
            found[name].astype(np.float64)
        )
        for name, number in names.items()
    }


def check_numbers(case: Case, graph: Graph) -> None:
    """Each value that ONNX Runtime makes of what it has read is the one that float64 makes of it with the weights as
    they were, but for what its type cannot tell apart."""
    found = tapped(graph, case.weights, case.x)
    values = [found["input"]]
    for node in graph.nodes:
        operands = [values[value] for value in node.inputs]
        # Codes are seen where they are dequantised; what is not in the file is the identity.
        values.append(found.get(node.name, operands[0]))
        if node.name not in found:
            continue
        exact, allowed = rounding.expected(node, operands, case.weights)
        apart = (values[-1] - exact).abs() - allowed
        assert float(apart.max()) <= 0, f"{node.name}: {node.op}, {float(apart.max())} too far"


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("precision", "placement"), CODES)
def test_codes_of_random_networks_stand_where_they_may_and_near_what_they_stand_for(
    tmp_path: Path, precision: Precision, placement: Placement
) -> None:
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(
        spec=specs(),
        fold=st.booleans(),
        seed=st.integers(0, 100),
        rest=st.sampled_from(RESTS),
        kept=st.sets(st.integers(0, 30), max_size=5),
    )
    def holds(spec: Any, fold: bool, seed: int, rest: Rest, kept: set[int]) -> None:
        case = case_of(tmp_path / "net.yaml", spec, fold=fold, seed=seed)
        wide = frozenset(node.name for i, node in enumerate(case.graph.nodes) if i in kept)
        numbers = case.numbers(precision, rest, placement, wide)
        plan = numbers.plan(case.graph)
        assert plan is not None
        graph = run(case.graph, numbers.passes())
        verify(graph)
        check_pairs(plan, graph, wide)
        check_types(graph, rest, frozenset())
        onnx_runs.to_model(graph, case.weights)
        if rest != "bf16":
            check_numbers(case, graph)
        if precision == "int8" and rest == "fp32":
            fused = onnx_runs.run(onnx_runs.to_bytes(graph, case.weights), case.x)["logits"]
            assert np.isfinite(fused).all()

    holds()


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("rest", ["fp16", "bf16"])
def test_random_networks_in_half_precision_are_wide_where_asked_and_near(
    tmp_path: Path, rest: Rest
) -> None:
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(
        spec=specs(),
        fold=st.booleans(),
        seed=st.integers(0, 100),
        kept=st.sets(st.integers(0, 30), max_size=5),
    )
    def holds(spec: Any, fold: bool, seed: int, kept: set[int]) -> None:
        case = case_of(tmp_path / "net.yaml", spec, fold=fold, seed=seed)
        wide = frozenset(node.name for i, node in enumerate(case.graph.nodes) if i in kept)
        graph = run(case.graph, Numbers("fp16" if rest == "fp16" else "bf16", wide=wide).passes())
        verify(graph)
        check_types(graph, rest, wide)
        onnx_runs.to_model(graph, case.weights)
        if rest == "fp16":
            check_numbers(case, graph)

    holds()
