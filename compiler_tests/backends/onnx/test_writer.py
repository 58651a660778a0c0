"""The streamed file is the model that protobuf would have written: same bytes each time, few tensors in memory."""

from __future__ import annotations

import tracemalloc
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import pytest

from compiler_tests import onnx_runs, torch_reference
from compiler_tests.graphs import Builder, conv, residual_net
from resnet_dsl.backends.onnx.options import OnnxOptions, constants_of, needs_external_data
from resnet_dsl.backends.onnx.writer import ALIGNMENT, OnnxReport, write_model
from resnet_dsl.errors import CompileError
from resnet_dsl.ir.graph import Graph
from resnet_dsl.passes.fold_batchnorm import fold_batchnorm
from resnet_dsl.passes.precision import precision
from resnet_dsl.weights.store import (
    LoadedWeights,
    RecordingWeights,
    SeededWeights,
    materialise,
)

WEIGHTS = torch_reference.RandomWeights()
GRAPH = fold_batchnorm(residual_net())


def with_data(graph: Graph, folder: Path) -> tuple[Path, OnnxReport]:
    path = folder / "net.onnx"
    with path.open("wb") as stream, (folder / "net.onnx.data").open("wb") as data:
        report = write_model(graph, WEIGHTS, stream, data=data, location="net.onnx.data")
    return path, report


def test_every_initialiser_holds_its_constant():
    model = onnx.load_from_string(onnx_runs.to_bytes(GRAPH, WEIGHTS))
    written = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    constants = constants_of(GRAPH)
    assert list(written) == [constant.name for constant in constants]
    for constant in constants:
        np.testing.assert_array_equal(written[constant.name], materialise(constant, WEIGHTS))


def test_the_same_graph_and_weights_give_the_same_bytes_and_other_seeds_others():
    assert onnx_runs.to_bytes(GRAPH, SeededWeights(1)) == onnx_runs.to_bytes(
        fold_batchnorm(residual_net()), SeededWeights(1)
    )
    assert onnx_runs.to_bytes(GRAPH, SeededWeights(1)) != onnx_runs.to_bytes(
        GRAPH, SeededWeights(2)
    )


def test_the_digest_is_that_of_the_float32_state_dict_folded_or_not_in_any_precision():
    graph = residual_net()
    recording = RecordingWeights(WEIGHTS)
    for node in graph.nodes:
        for item in node.constants:
            assert materialise(item, recording).dtype == np.float32
    digest = recording.digest()
    for candidate in (graph, GRAPH, precision(GRAPH, "float16")):
        stream = BytesIO()
        assert write_model(candidate, WEIGHTS, stream).weights_digest == digest
        model = onnx.load_from_string(stream.getvalue())
        assert {item.key: item.value for item in model.metadata_props}["weights_sha256"] == digest


def test_the_report_counts_what_was_written():
    stream = BytesIO()
    report = write_model(GRAPH, WEIGHTS, stream)
    model = onnx.load_from_string(stream.getvalue())
    assert (report.nodes, report.initializers) == (
        len(model.graph.node),
        len(model.graph.initializer),
    )
    assert (report.model_bytes, report.data_bytes) == (len(stream.getvalue()), 0)
    assert report.weight_bytes == sum(len(item.raw_data) for item in model.graph.initializer)
    assert report.opset == 18


def test_external_data_is_valid_page_aligned_and_gives_the_same_logits(tmp_path: Path):
    path, report = with_data(GRAPH, tmp_path)
    onnx.checker.check_model(path, full_check=True)
    data = tmp_path / "net.onnx.data"
    assert (report.model_bytes, report.data_bytes) == (path.stat().st_size, data.stat().st_size)
    assert report.model_bytes < 20_000 < report.data_bytes
    model = onnx.load(path, load_external_data=False)
    for item in model.graph.initializer:
        entries = {entry.key: entry.value for entry in item.external_data}
        assert entries["location"] == "net.onnx.data"
        assert int(entries["offset"]) % ALIGNMENT == 0
    x = torch_reference.image(GRAPH)
    inside = onnx_runs.run(onnx_runs.to_bytes(GRAPH, WEIGHTS), x)["logits"]
    np.testing.assert_array_equal(onnx_runs.run(path, x)["logits"], inside)


def test_external_data_is_written_the_same_each_time(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for name in ("a", "b"):
        with_data(GRAPH, tmp_path / name)
    for file in ("net.onnx", "net.onnx.data"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_external_data_is_needed_on_request_or_past_the_limit():
    assert not needs_external_data(GRAPH, OnnxOptions())
    assert needs_external_data(GRAPH, OnnxOptions(external_data=True))
    assert needs_external_data(GRAPH, OnnxOptions(), threshold=10_000)


def test_a_problem_with_the_weights_comes_out_of_the_threads_as_it_is():
    with pytest.raises(CompileError, match="the weights have no `bn1"):
        write_model(GRAPH, LoadedWeights({}), BytesIO())


def test_memory_holds_a_few_tensors_and_not_the_model(tmp_path: Path):
    build = Builder(256, 2)
    for number in range(40):
        build.add(f"conv{number}", conv(256, 256))
    graph = build.graph()
    tensor = 256 * 256 * 9 * 4
    with (tmp_path / "net.onnx").open("wb") as stream:
        tracemalloc.start()
        report = write_model(graph, SeededWeights(), stream)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert report.weight_bytes == 40 * tensor
    assert peak < 16 * tensor
