"""Triton repositories: configurations that protobuf reads as Triton does, in folders that are whole or as they were."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_tests.backends.tensorrt.engines import engine_bytes, manifest_of, write_engine
from compiler_tests.backends.tensorrt.models import residual_net
from compiler_tests.backends.tensorrt.triton_messages import ParseError, parse
from resnet_dsl.backends.tensorrt import repository
from resnet_dsl.backends.tensorrt.repository import write_repository
from resnet_dsl.backends.tensorrt.textproto import Message
from resnet_dsl.backends.tensorrt.triton import TritonFiles, config, triton_files
from resnet_dsl.errors import CompileError


def parsed(product: str = "tensorrt", **changes: Any) -> Any:
    return parse(config(manifest_of(engine_bytes(product), product, **changes), "net"))


def profile(*batch: int, size: int | None = None) -> dict[str, Any]:
    def extent(*numbers: int) -> dict[str, int]:
        return dict(zip(("min", "opt", "max"), numbers, strict=True))

    spatial = None if size is None else extent(size // 2, size, size * 2)
    return {"batch": extent(*batch), "height": spatial, "width": spatial}


def test_an_engine_is_served_by_the_tensorrt_backend() -> None:
    found = parsed()
    assert (found.name, found.backend, found.max_batch_size) == ("net", "tensorrt", 64)
    assert found.default_model_filename == "model.plan"
    (image,), (scores,) = found.input, found.output
    assert (image.name, image.data_type, list(image.dims)) == ("input", 11, [3, 224, 224])
    assert image.format == 2
    assert (scores.name, list(scores.dims), scores.label_filename) == ("logits", [3], "labels.txt")
    assert list(found.dynamic_batching.preferred_batch_size) == [8]
    assert found.dynamic_batching.max_queue_delay_microseconds == 100
    assert [(group.kind, group.count) for group in found.instance_group] == [(1, 1)]
    assert found.optimization.cuda.graphs
    assert not found.optimization.cuda.graph_spec
    (warmup,) = found.model_warmup
    assert (warmup.batch_size, list(warmup.inputs["input"].dims)) == (8, [3, 224, 224])
    said = {key: item.string_value for key, item in found.parameters.items()}
    assert json.loads(said["preprocessing"])["mean"] == [0.485, 0.456, 0.406]
    assert said["engine_sha256"] == manifest_of(engine_bytes("tensorrt"), "tensorrt").engine.sha256
    assert said["tensorrt_version"] == "10.13.0.35"


def test_a_plan_for_rtx_is_served_as_its_graph_by_onnx_runtime() -> None:
    found = parsed("tensorrt_rtx")
    assert (found.backend, found.default_model_filename) == ("onnxruntime", "model.onnx")
    assert not found.HasField("optimization")
    assert "engine_sha256" not in found.parameters
    text = config(manifest_of(engine_bytes()), "net")
    twin = "".join(line[2:] + "\n" for line in text.splitlines()[1:] if line.startswith("# "))
    twin = twin.partition("\n")[2]  # the first line says what it is
    (accelerator,) = parse(twin).optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.parameters["precision_mode"] == "FP16"


def test_a_graph_in_int8_asks_for_tensorrt_inside_onnx_runtime() -> None:
    found = parsed("tensorrt_rtx", engine={"precision": "int8"})
    (accelerator,) = found.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert accelerator.parameters["precision_mode"] == "INT8"


def test_a_fixed_batch_is_part_of_the_shape() -> None:
    found = parsed(
        engine={
            "profiles": [],
            "inputs": [{"name": "x", "data_type": "float16", "shape": [4, 3, 32, 32]}],
            "outputs": [{"name": "y", "data_type": "float16", "shape": [4, 3]}],
        }
    )
    assert found.max_batch_size == 0
    assert list(found.input[0].dims) == [4, 3, 32, 32]
    assert (found.input[0].data_type, found.input[0].format) == (10, 0)
    assert list(found.output[0].dims) == [4, 3]
    assert found.output[0].label_filename == "labels.txt"
    assert not found.HasField("dynamic_batching")
    assert found.model_warmup[0].batch_size == 1
    assert list(found.model_warmup[0].inputs["x"].dims) == [4, 3, 32, 32]


def test_several_profiles_are_all_open_and_their_usual_sizes_preferred() -> None:
    found = parsed(engine={"profiles": [profile(1, 1, 8), profile(8, 32, 128)]})
    assert found.max_batch_size == 128
    assert list(found.instance_group[0].profile) == ["0", "1"]
    assert list(found.dynamic_batching.preferred_batch_size) == [32]
    served = parsed("tensorrt_rtx", engine={"profiles": [profile(1, 1, 8), profile(8, 32, 128)]})
    assert not served.instance_group[0].profile


def test_a_batch_of_one_is_not_gathered() -> None:
    found = parsed(engine={"profiles": [profile(1, 1, 1)]})
    assert found.max_batch_size == 1
    assert not found.HasField("dynamic_batching")


def test_images_of_any_size_are_captured_at_each_profiles_usual_one() -> None:
    found = parsed(
        engine={
            "profiles": [profile(1, 4, 8, size=64), profile(1, 16, 32, size=128)],
            "inputs": [{"name": "x", "data_type": "float32", "shape": [-1, 3, -1, -1]}],
        }
    )
    assert list(found.input[0].dims) == [3, -1, -1]
    captured = [
        (item.batch_size, list(item.input["x"].dim)) for item in found.optimization.cuda.graph_spec
    ]
    assert captured == [(4, [3, 64, 64]), (16, [3, 128, 128])]
    assert list(found.model_warmup[0].inputs["x"].dims) == [3, 64, 64]


def test_names_of_classes_belong_to_an_output_of_as_many_scores() -> None:
    maps = [{"name": "y", "data_type": "float32", "shape": [-1, 64, 7, 7]}]
    content = engine_bytes("tensorrt")
    features = manifest_of(content, "tensorrt", engine={"outputs": maps})
    assert not parse(config(features, "net")).output[0].label_filename
    assert "labels.txt" not in triton_files(features, Path("net.engine")).texts
    nameless = manifest_of(content, "tensorrt", class_names=None)
    assert "labels.txt" not in triton_files(nameless, Path("net.engine")).texts
    odd = manifest_of(content, "tensorrt", class_names=["a\nb", "ö", " c\t"])
    assert triton_files(odd, Path("net.engine")).texts["labels.txt"] == "a b\nö\nc\n"


def test_the_parser_of_these_tests_refuses_what_triton_does_not_know() -> None:
    for text in ('nmae: "x"', 'name: "x', "max_batch_size: many", "input { dims: [3 }"):
        with pytest.raises(ParseError):
            parse(text)


@given(st.text(max_size=50))
def test_any_text_comes_through_the_text_format(text: str) -> None:
    text = re.sub("[\ud800-\udfff]", "", text)
    assert parse("\n".join(Message(("name", text)).lines())).name == text


# ---- what is written


def files(folder: Path, product: str = "tensorrt", **changes: Any) -> TritonFiles:
    path = write_engine(folder, product, **changes)
    manifest = manifest_of(engine_bytes(product), product, **changes)
    return triton_files(manifest, path, name="net")


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_a_repository_holds_the_engine_itself(tmp_path: Path) -> None:
    made = files(tmp_path)
    written = write_repository(tmp_path / "triton", made)
    assert tree(tmp_path / "triton") == ["net/1/model.plan", "net/config.pbtxt", "net/labels.txt"]
    plan = tmp_path / "triton/net/1/model.plan"
    assert plan.samefile(tmp_path / "net.fp16.engine")
    assert {item.status for item in written} == {"written"}
    assert (tmp_path / "triton/net/labels.txt").read_text() == "cat\ndog\nnewt\n"
    again = write_repository(tmp_path / "triton", made)
    assert {item.status for item in again} == {"unchanged"}
    assert [item.path for item in again] == [item.path for item in written]
    assert not list(tmp_path.glob(".triton*"))


def test_an_engine_is_copied_where_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    write_repository(tmp_path / "triton", files(tmp_path))
    plan = tmp_path / "triton/net/1/model.plan"
    assert plan.read_bytes() == engine_bytes("tensorrt")
    assert not plan.samefile(tmp_path / "net.fp16.engine")


def test_a_repository_of_an_rtx_plan_holds_its_graph_and_the_weights_by_their_name(
    tmp_path: Path,
) -> None:
    path = write_engine(tmp_path)
    graph = residual_net(tmp_path / "net.onnx", "fp32")
    whole = onnx.load(graph)
    onnx.save(whole, graph, save_as_external_data=True, location="w.data", size_threshold=0)
    made = triton_files(manifest_of(engine_bytes()), path, graph)
    assert made.name == "resnet50"
    assert "loads no plans of TensorRT for RTX" in made.notes[0]
    write_repository(tmp_path / "triton", made)
    assert tree(tmp_path / "triton/resnet50") == [
        "1/model.onnx",
        "1/w.data",
        "config.pbtxt",
        "labels.txt",
    ]
    assert onnx.load(tmp_path / "triton/resnet50/1/model.onnx") == onnx.load(graph)


def test_an_rtx_plan_without_its_graph_is_refused(tmp_path: Path) -> None:
    path = write_engine(tmp_path)
    with pytest.raises(CompileError) as raised:
        triton_files(manifest_of(engine_bytes()), path)
    assert raised.value.diagnostics[0].code == "RD635"
    graph = residual_net(tmp_path / "net.onnx", "fp32")
    onnx.save(onnx.load(graph), graph, save_as_external_data=True, location="w", size_threshold=0)
    (tmp_path / "w").unlink()
    with pytest.raises(CompileError, match="weights in `w`, which is not beside it"):
        triton_files(manifest_of(engine_bytes()), path, graph)
    graph.write_bytes(b"")
    with pytest.raises(CompileError, match="no whole ONNX file"):
        triton_files(manifest_of(engine_bytes()), path, graph)
    with pytest.raises(CompileError, match="cannot be read"):
        triton_files(manifest_of(engine_bytes()), path, tmp_path / "none.onnx")


def test_a_graph_cannot_name_weights_out_of_its_folder(tmp_path: Path) -> None:
    path = write_engine(tmp_path)
    folder = tmp_path / "graphs"
    folder.mkdir()
    graph = residual_net(folder / "net.onnx", "fp32")
    onnx.save(onnx.load(graph), graph, save_as_external_data=True, location="w", size_threshold=0)
    graph.write_bytes(graph.read_bytes().replace(b"\x12\x01w", b"\x12\x01."))
    with pytest.raises(CompileError, match=r"weights in `\.`, which is not beside it"):
        triton_files(manifest_of(engine_bytes()), path, graph)


def test_other_versions_stay_and_what_is_replaced_goes(tmp_path: Path) -> None:
    target = tmp_path / "triton/net"
    (target / "1").mkdir(parents=True)
    (target / "2").mkdir()
    (target / "1/model.onnx").write_text("old")
    (target / "2/model.plan").write_text("theirs")
    (target / "config.pbtxt").write_text("old")
    (target / "warmup").symlink_to(tmp_path)
    write_repository(tmp_path / "triton", files(tmp_path))
    assert tree(target) == ["1/model.plan", "2/model.plan", "config.pbtxt", "labels.txt"]
    assert (target / "2/model.plan").read_text() == "theirs"
    assert (target / "warmup").is_symlink()
    assert parse((target / "config.pbtxt").read_text()).name == "net"


@pytest.mark.parametrize("fails", ["link", "rename", "second rename"])
def test_what_fails_leaves_the_repository_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    made = files(tmp_path)
    target = tmp_path / "triton/net"
    (target / "1").mkdir(parents=True)
    (target / "config.pbtxt").write_text("old")
    renamed = os.rename
    calls = 0

    def rename(source: Any, place: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == (1 if fails == "rename" else 2):
            raise OSError(28, "No space left on device")
        renamed(source, place)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if fails == "link":
        monkeypatch.setattr(os, "link", refuse)
        monkeypatch.setattr(shutil, "copyfile", refuse)
    else:
        monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(CompileError) as raised:
        write_repository(tmp_path / "triton", made)
    (found,) = raised.value.diagnostics
    assert found.code == "RD603"
    assert "no space left on device; what was there before is as it was" in (found.why or "")
    monkeypatch.undo()
    assert tree(tmp_path / "triton") == ["net/config.pbtxt"]
    assert not list(tmp_path.glob(".triton*"))


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "triton").write_text("")
    with pytest.raises(CompileError, match="triton/net cannot be written") as raised:
        write_repository(tmp_path / "triton", files(tmp_path))
    assert raised.value.diagnostics[0].code == "RD602"


def test_what_a_killed_run_left_is_removed_an_hour_later(tmp_path: Path) -> None:
    old, new = tmp_path / ".triton.0123abcd.part", tmp_path / ".triton.89abcdef.part"
    old.mkdir()
    new.mkdir()
    long_ago = time.time() - repository._STALE_SECONDS - 1
    os.utime(old, (long_ago, long_ago))
    write_repository(tmp_path / "triton", files(tmp_path))
    assert (old.exists(), new.exists()) == (False, True)
