"""Weights are read from every form in which they are saved; whatever else is refused, and never run."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file as save_numpy

from resnet_dsl.errors import CODES, CompileError
from resnet_dsl.weights.load import load
from resnet_dsl.weights.sniff import sniff

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
save_torch = pytest.importorskip("safetensors.torch").save_file

LEGACY = {"_use_new_zipfile_serialization": False}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    block = torchvision.models.resnet.BasicBlock
    return torchvision.models.ResNet(
        block, [1, 1, 1, 1], num_classes=10
    )  # small, with all kinds of tensors


@pytest.fixture(scope="module")
def state(model):
    return model.state_dict()


@pytest.fixture
def file(tmp_path):
    yield tmp_path / "weights.bin"
    for path in tmp_path.iterdir():  # pytest keeps the folders of several runs
        if path.is_file():
            path.unlink()


def refusal(path: Path, code: str) -> str:
    with pytest.raises(CompileError) as caught:
        load(path)
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert found.code in CODES
    assert str(path) in found.message or path.name in found.message
    return f"{found.message}\n{found.why}\n{found.hint}"


def assert_equal(found, state) -> None:
    assert set(found) == set(state)
    for name, tensor in state.items():
        expected = tensor.detach().float() if tensor.is_floating_point() else tensor
        assert np.array_equal(found[name], expected.numpy()), name
        assert found[name].shape == tuple(tensor.shape)


# What is read


def test_safetensors_are_read_without_torch_and_without_copying(file, state):
    save_torch(state, file)
    code = f"""
import sys
from pathlib import Path
from resnet_dsl.weights.load import load
found = load(Path({str(file)!r}))
print(len(found), "torch" in sys.modules, found["fc.weight"].base is not None)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == [str(len(state)), "False", "True"]
    found = load(file)
    assert_equal(found, state)
    assert sniff(file) == "safetensors"
    assert not found.ordered


def test_changing_what_was_read_does_not_change_the_file(file, state):
    save_torch(state, file)
    load(file)["fc.bias"][:] = 7
    assert_equal(load(file), state)


def test_a_zip_checkpoint_is_read_whatever_its_ending_and_keeps_its_order(tmp_path, state):
    path = tmp_path / "resnet.safetensors"
    torch.save(state, path)
    found = load(path)
    assert_equal(found, state)
    assert list(found) == list(state)
    assert found.ordered
    assert found.notes == ()
    path.unlink()


def test_a_legacy_checkpoint_is_read(file, state):
    torch.save(state, file, **LEGACY)
    found = load(file)
    assert_equal(found, state)
    assert sniff(file) == "torch pickle"
    assert list(found) == list(state)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_other_floats_become_float32(file, state, kind, form):
    dtype = getattr(torch, kind)
    narrow = {
        key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()
    }
    save = save_torch if form == "safetensors" else torch.save
    save(narrow, file)
    found = load(file)
    assert_equal(found, narrow)
    assert found["fc.weight"].dtype == np.float32
    assert found["bn1.num_batches_tracked"].dtype == np.int64
    assert any(note.endswith("read as float32") for note in found.notes)


def test_channels_last_and_shared_tensors_are_read(file, model):
    weight = torch.arange(48.0).reshape(2, 3, 4, 2)
    torch.save(
        {"a.weight": weight.contiguous(memory_format=torch.channels_last), "b.weight": weight}, file
    )
    found = load(file)
    assert np.array_equal(found["a.weight"], weight.numpy())
    assert np.array_equal(found["b.weight"], weight.numpy())
    assert found["a.weight"].flags.c_contiguous


def test_parameters_are_tensors(file, model):
    torch.save(dict(model.named_parameters()), file)
    assert_equal(load(file), dict(model.named_parameters()))


OPTIMISER: dict[str, Any] = {
    "state": {0: {"momentum_buffer": torch.ones(2)}},
    "param_groups": [{"lr": 0.1, "params": [0]}],
}
WRAPPED: dict[str, Callable[[Any], object]] = {
    "state_dict": lambda s: {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": s,
        "best_acc1": torch.tensor(76.1),
    },
    "model → state_dict": lambda s: {"model": {"state_dict": s, "step": 1}},
    "model_state_dict": lambda s: {"model_state_dict": s, "optimizer_state_dict": OPTIMISER},
    "net": lambda s: {"net": s, "acc": 95.5, "epoch": 1},
    "ema": lambda s: {"ema": s},
    "resnet": lambda s: {"resnet": s, "optimizer": OPTIMISER},
}


@pytest.mark.parametrize("trail", WRAPPED)
@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
def test_wrappers_are_opened_and_named(file, state, trail, options):
    torch.save(WRAPPED[trail](state), file, **options)
    found = load(file)
    assert_equal(found, state)
    assert (
        f"took the weights under {' → '.join(f'`{part}`' for part in trail.split(' → '))}"
        in found.notes
    )


def test_the_plain_weights_are_taken_rather_than_the_average_and_both_are_named(file, state):
    average = {name: tensor * 0 for name, tensor in state.items()}
    torch.save({"state_dict_ema": average, "state_dict": state}, file)
    found = load(file)
    assert_equal(found, state)
    assert found.notes == ("left aside `state_dict_ema`", "took the weights under `state_dict`")


def test_a_state_dict_that_also_holds_a_wrapper_is_taken_as_it_is(file, state):
    torch.save({**state, "ema": dict(state)}, file)
    found = load(file)
    assert_equal(found, state)
    assert found.notes == ("left out `ema`: not tensors",)


def test_arguments_kept_by_training_scripts_do_not_stand_in_the_way(file, state):
    torch.save({"state_dict": state, "args": argparse.Namespace(lr=0.1, data="x")}, file)
    assert_equal(load(file), state)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module.model."]
)
@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_prefixes_of_wrapping_modules_are_stripped_and_named(file, state, prefix, form):
    prefixed = {prefix + name: tensor for name, tensor in state.items()}
    save = save_torch if form == "safetensors" else torch.save
    save(prefixed, file)
    found = load(file)
    assert_equal(found, state)
    assert found.notes == (f"stripped `{prefix}` from every name",)


@pytest.mark.slow
def test_real_wrapping_modules_are_seen_through(file, model, state):
    torch.save(torch.nn.DataParallel(model).state_dict(), file)
    assert_equal(load(file), state)
    torch.save(torch.compile(model).state_dict(), file)
    assert_equal(load(file), state)
    torch.save(torch.optim.swa_utils.AveragedModel(model).state_dict(), file)
    found = load(file)
    assert_equal(found, state)
    assert "left out `n_averaged`, the counter of an averaged model" in found.notes


def test_a_prefix_that_only_some_names_have_stays(file):
    torch.save({"module.a.weight": torch.ones(2), "b.weight": torch.ones(2)}, file)
    assert list(load(file)) == ["module.a.weight", "b.weight"]


# What is refused


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
def test_a_malicious_checkpoint_is_refused_and_not_run(tmp_path, file, state, options):
    trace = tmp_path / "was-run"
    torch.save({"state_dict": state, "x": Malicious(trace)}, file, **options)
    text = refusal(file, "RD504")
    assert not trace.exists()
    assert f"holds `{os.name}.mkdir` beside tensors" in text
    assert "a file can say anything" in text
    torch.load(file, weights_only=False)
    assert trace.exists()  # the trap is a real one


def test_a_bare_malicious_pickle_is_not_even_opened(tmp_path, file):
    trace = tmp_path / "was-run"
    file.write_bytes(pickle.dumps(Malicious(trace)))
    text = refusal(file, "RD502")
    assert "a Python pickle" in text
    assert not trace.exists()


@pytest.mark.slow
def test_a_pickled_module_is_refused_with_a_command_that_converts_it(tmp_path, file, model, state):
    torch.save(model, file)
    text = refusal(file, "RD504")
    assert "`torchvision.models.resnet.ResNet`" in text
    assert "only if, you trust" in text
    (command,) = re.findall(r"python -c '.*'", text)
    program, *arguments = shlex.split(command)
    assert program == "python"
    subprocess.run([sys.executable, *arguments], cwd=tmp_path, check=True)
    assert_equal(load(tmp_path / "weights.pth"), state)


@pytest.mark.slow
def test_the_converting_command_takes_wrapped_weights_out_too(tmp_path, file, state):
    torch.save({"state_dict": state, "best": np.float64(0.7)}, file)
    (command,) = re.findall(r"python -c '.*'", refusal(file, "RD504"))
    subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=tmp_path, check=True)
    assert_equal(load(tmp_path / "weights.pth"), state)


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", ["state_dict", "model", None])
def test_the_converting_command_makes_tensors_of_arrays(tmp_path, file, state, wrapper):
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    beside = {"best": np.array(["a"]), "weights": np.ones(3)}
    torch.save({wrapper: arrays, **beside} if wrapper else arrays, file)
    (command,) = re.findall(r"python -c '.*'", refusal(file, "RD504"))
    subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=tmp_path, check=True)
    assert_equal(load(tmp_path / "weights.pth"), state)


@pytest.mark.slow
def test_the_converting_command_writes_no_empty_file(tmp_path, file):
    torch.save({"best": np.array(["a"]), "at": np.float64}, file)
    (command,) = re.findall(r"python -c '.*'", refusal(file, "RD504"))
    done = subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=tmp_path, check=False)
    assert done.returncode
    assert not (tmp_path / "weights.pth").exists()


@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.999])
def test_a_file_that_was_cut_off_is_damaged(file, state, form, keep):
    if form == "safetensors":
        save_torch(state, file)
    else:
        torch.save(state, file, **(LEGACY if form == "legacy" else {}))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * keep)])
    text = refusal(file, "RD503")
    assert "is damaged" in text
    assert "fetch or copy it again" in text


def test_a_safetensors_header_that_lies_is_damaged(file):
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 400]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    assert "is damaged" in refusal(file, "RD503")
    file.write_bytes((90_000_000).to_bytes(8, "little") + b'{"a":' + bytes(100))
    assert "is damaged" in refusal(file, "RD503")


def test_a_checkpoint_that_holds_itself_ends(file):
    content: dict[str, object] = {"epoch": 1}
    content["model"] = content
    torch.save(content, file)
    assert "no weights are found" in refusal(file, "RD506")


NOT_WEIGHTS = {
    "empty": b"",
    "a web page": b"<!DOCTYPE html><html><body>404</body></html>",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "one NumPy array": b"\x93NUMPY\x01\x00" + bytes(100),
    "an ONNX model": b"\x08\x0a\x12\x07pytorch" + bytes(100),
    "compressed with gzip": b"\x1f\x8b\x08" + bytes(100),
    "a TensorRT engine": b"ftrt" + bytes(100),
    "text, beginning `name: resnet50`": b"name: resnet50\nclasses: 10\n",
    "of no kind that is known": bytes(range(7, 200)),
    "of no kind": b"\x80",
}


@pytest.mark.parametrize("what", NOT_WEIGHTS)
def test_a_file_that_is_no_weights_is_called_what_it_looks_like(file, what):
    file.write_bytes(NOT_WEIGHTS[what])
    assert what in refusal(file, "RD502")


def test_archives_without_a_checkpoint_are_called_what_they_are(tmp_path, file, state):
    np.savez(tmp_path / "arrays.npz", a=np.ones(2))
    assert "NumPy arrays" in refusal(tmp_path / "arrays.npz", "RD502")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "x")
    assert "a zip archive without a checkpoint" in refusal(file, "RD502")
    with tarfile.open(file, "w") as tar:
        tar.add(tmp_path / "arrays.npz", "arrays.npz")
    assert "a tar archive" in refusal(file, "RD502")
    torch.save(state, file)
    with (
        zipfile.ZipFile(file) as old,
        zipfile.ZipFile(tmp_path / "again.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    assert "zipped again" in refusal(tmp_path / "again.pth", "RD502")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_archive_is_a_program(file):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(file))
    text = refusal(file, "RD502")
    assert "TorchScript" in text
    assert "torch.jit.load" in text


def test_a_real_onnx_model_is_called_one(file):
    onnx = pytest.importorskip("onnx")
    graph = onnx.helper.make_graph([], "g", [], [])
    file.write_bytes(onnx.helper.make_model(graph, producer_name="x").SerializeToString())
    assert "an ONNX model" in refusal(file, "RD502")


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path, file):
    assert "no such file" in refusal(tmp_path / "missing.pth", "RD501")
    (tmp_path / "saved").mkdir()
    assert "is a folder" in refusal(tmp_path / "saved", "RD501")
    (tmp_path / "saved" / "model.safetensors").write_bytes(b"")
    assert f"--weights {tmp_path / 'saved' / 'model.safetensors'}" in refusal(
        tmp_path / "saved", "RD501"
    )


NO_STATE_DICT = {
    "the state of an optimiser": OPTIMISER,
    "a list, not a state dict": [torch.ones(2)],
    "a Tensor, not a state dict": torch.ones(2),
    "it holds `epoch`, `optimizer`": {"epoch": 3, "optimizer": OPTIMISER},
    "it is empty": {},
    "several groups of tensors, and none has a usual name: `generator`, `critic`": {
        "generator": {"a": torch.ones(2)},
        "critic": {"a": torch.ones(2)},
    },
}


@pytest.mark.parametrize("what", NO_STATE_DICT)
def test_a_checkpoint_without_a_state_dict_says_what_it_holds(file, what):
    torch.save(NO_STATE_DICT[what], file)
    assert what in refusal(file, "RD506")


def test_an_empty_safetensors_file_holds_no_tensors(file):
    save_numpy({}, file)
    assert "holds no tensors" in refusal(file, "RD506")


def test_types_that_need_more_than_a_conversion_are_refused(file):
    eighth = torch.ones(4).to(torch.float8_e4m3fn)
    save_torch({"a": eighth, "b": torch.ones(2)}, file)
    assert "1 of 2 tensors are of type F8_E4M3, as `a` is" in refusal(file, "RD508")
    torch.save({"a": eighth}, file)
    assert "`a` is of type float8_e4m3fn" in refusal(file, "RD508")
    torch.save({"a": torch.eye(3).to_sparse()}, file)
    assert "sparse_coo" in refusal(file, "RD508")
    torch.save({"a": torch.ones(3, dtype=torch.complex64)}, file)
    assert "complex64" in refusal(file, "RD508")


def test_without_torch_a_checkpoint_is_refused_with_the_command_that_installs_it(
    file, state, monkeypatch
):
    torch.save(state, file)
    monkeypatch.setitem(sys.modules, "torch", None)
    text = refusal(file, "RD505")
    assert 'pip install "resnet-dsl[torch]"' in text


def test_ordered_dicts_with_metadata_are_read(file, state):
    ordered = OrderedDict(state)
    ordered._metadata = {"": {"version": 1}}  # type: ignore[attr-defined] # as torch's own have
    torch.save(ordered, file)
    assert_equal(load(file), state)


ROOT = Path(__file__).parents[2]
