"""A calibration is what the network's values are on the images: kept by hash, reused, and trusted only if whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from compiler_tests.evaluate.tiny import RESIDUAL, compiled
from resnet_dsl.calibrate.calibrate import calibrate, calibrate_file
from resnet_dsl.calibrate.calibration import Calibration
from resnet_dsl.calibrate.histogram import BINS, Histogram
from resnet_dsl.calibrate.observe import observe
from resnet_dsl.calibrate.store import Key, store, stored
from resnet_dsl.calibrate.taps import TappedSession
from resnet_dsl.compiler import Compilation
from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.feed import Feed, open_feed
from resnet_dsl.weights.store import SeededWeights

IMAGES = 9


@dataclass
class Told:
    """Progress that is remembered."""

    total: int = 0
    done: list[int] = field(default_factory=list)

    def begin(self, count: int) -> None:
        self.total = count

    def add(self, count: int) -> None:
        self.done.append(count)


@pytest.fixture
def network(tmp_path: Path) -> Compilation:
    return compiled(tmp_path)


@pytest.fixture
def feed(tmp_path: Path, network: Compilation) -> Feed:
    return feed_of(tmp_path, network, np.random.default_rng(1).normal(size=(IMAGES, 3, 8, 8)))


def feed_of(folder: Path, network: Compilation, images: np.ndarray) -> Feed:
    np.save(folder / "images.npy", images.astype(np.float32))
    return open_feed(network, None, str(folder / "images.npy"), "train", None)


def calibrated(
    network: Compilation, feed: Feed, folder: Path, seed: int = 0, **more: Any
) -> Calibration:
    return calibrate(
        network.inference_graph(), SeededWeights(seed), feed, folder, threads=1, **more
    )


def expected(network: Compilation, feed: Feed, folder: Path) -> dict[str, np.ndarray]:
    """All values on all images at once."""
    from resnet_dsl.backends.onnx.writer import write_model

    with (folder / "expected.onnx").open("wb") as stream:
        write_model(network.inference_graph(), SeededWeights(0), stream)
    images = np.concatenate([images for images, _ in feed.batches(4)])
    return TappedSession(folder / "expected.onnx", None, 1).run(images)


def refused(code: str, work: Callable[[], object], *said: str) -> None:
    with pytest.raises(CompileError) as caught:
        work()
    (found,) = caught.value.diagnostics
    assert found.code == code
    text = f"{found.message} {found.why} {found.hint}"
    assert all(word in text for word in said), text


def test_every_value_is_seen_on_every_image(tmp_path, network, feed):
    found = calibrated(network, feed, tmp_path / "out")
    values = expected(network, feed, tmp_path)
    nodes = [node.name for node in network.inference_graph().nodes]
    assert found.names == ("input", *nodes)
    assert (found.images, found.reused, found.notes) == (IMAGES, False, ())
    for name in found.names:
        array = values["logits" if name == nodes[-1] else name]
        histogram = found.histograms[name]
        assert histogram.count == array.size
        assert found.largest(name) == pytest.approx(np.abs(array).max(), rel=1e-5)
        assert found.least(name) == pytest.approx(array.min(), rel=1e-5, abs=1e-6)
        assert histogram.rms == pytest.approx(np.sqrt(np.mean(np.square(array))), rel=1e-4)
        assert found.is_never_negative(name) == ("relu" in name or name in ("avgpool", "flatten"))


def test_what_is_stored_is_reused_and_the_same(tmp_path, network, feed, monkeypatch):
    first = calibrated(network, feed, tmp_path / "out", names=["input", "layer1.0.conv1"])
    assert first.path.exists()
    monkeypatch.setattr("resnet_dsl.calibrate.calibrate.observe", None)
    again = calibrated(network, feed, tmp_path / "out", names=["input", "layer1.0.conv1"])
    assert again.reused
    assert again.notes == ()
    assert (again.sha256, again.path, again.names) == (first.sha256, first.path, first.names)
    for method in ("max", "percentile", "entropy", "mse"):
        for name in first.names:
            assert again.threshold(name, method, 127) == first.threshold(name, method, 127)


def test_other_images_weights_names_and_networks_are_not_mistaken_for_them(tmp_path, network, feed):
    (tmp_path / "b").mkdir()
    out = tmp_path / "out"
    names = ["input", "conv1"]
    found = [calibrated(network, feed, out, names=names)]
    found.append(calibrated(network, feed, out, names=names, seed=1))
    found.append(calibrated(network, feed, out, names=["conv1", "input"]))
    wider = compiled(tmp_path / "b", RESIDUAL.replace("width: 12", "width: 16"))
    found.append(calibrated(wider, feed, out, names=names))
    other = feed_of(tmp_path / "b", network, np.ones((IMAGES, 3, 8, 8)))
    found.append(calibrated(network, other, out, names=names))
    assert not any(each.reused for each in found)
    assert len({each.path for each in found}) == len(found)
    assert len({each.sha256 for each in found}) == len(found)


def test_the_size_of_batches_and_groups_of_values_are_nothing_to_the_result(
    tmp_path, network, feed
):
    expected(network, feed, tmp_path)
    model = tmp_path / "expected.onnx"
    names = TappedSession(model, None, 1).names
    whole = observe(model, names, feed, threads=1)
    told = Told()
    for budget in (1, 5000, 50_000):
        found = observe(model, names, feed, threads=1, budget=budget, progress=told)
        assert sum(told.done) == told.total
        assert told.total % IMAGES == 0
        assert list(found) == list(whole)
        told.done.clear()
        for name, histogram in found.items():
            assert histogram.count == whole[name].count
            assert histogram.magnitude == pytest.approx(whole[name].magnitude, rel=1e-5)
    observe(model, names, feed, threads=1, budget=1, progress=told)
    assert told.total == IMAGES * len(names)
    assert set(told.done) == {1}


def test_shapes_that_a_file_does_not_say_are_measured(tmp_path, network, feed):
    from onnx import TensorProto, helper

    file = made_by_others(
        tmp_path,
        [
            helper.make_node("NonZero", ["x"], ["places"]),
            helper.make_node("Cast", ["places"], ["y"], to=TensorProto.FLOAT),
        ],
    )
    assert observe(file, ["y"], feed, threads=1)["y"].count == IMAGES * 3 * 8 * 8 * 4


def made_by_others(folder: Path, nodes: list[Any]) -> Path:
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [onnx.ValueInfoProto(name="y")],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "theirs.onnx")
    return folder / "theirs.onnx"


def test_an_onnx_file_is_calibrated_like_a_graph(tmp_path, network, feed):
    values = expected(network, feed, tmp_path)
    found = calibrate_file(tmp_path / "expected.onnx", feed, tmp_path, ["conv1"], threads=1)
    assert found.largest("conv1") == pytest.approx(np.abs(values["conv1"]).max(), rel=1e-5)
    assert calibrate_file(tmp_path / "expected.onnx", feed, tmp_path, ["conv1"]).reused
    refused(
        "RD681",
        lambda: calibrate_file(tmp_path / "no.onnx", feed, tmp_path, ["x"]),
        "cannot be read",
    )


def test_a_changed_file_of_weights_beside_a_graph_is_another_graph(tmp_path, network, feed):
    from resnet_dsl.backends.onnx.options import OnnxOptions
    from resnet_dsl.backends.onnx.writer import write_model

    file, data = tmp_path / "e.onnx", tmp_path / "e.data"
    with file.open("wb") as stream, data.open("wb") as beside:
        write_model(
            network.inference_graph(),
            SeededWeights(0),
            stream,
            OnnxOptions(external_data=True),
            data=beside,
            location="e.data",
        )
    first = calibrate_file(file, feed, tmp_path, ["conv1"], threads=1)
    content = bytearray(data.read_bytes())
    content[:64] = np.full(16, 3, np.float32).tobytes()
    data.write_bytes(content)
    second = calibrate_file(file, feed, tmp_path, ["conv1"], threads=1)
    assert not second.reused
    assert first.largest("conv1") != second.largest("conv1")


def test_values_that_are_always_zero_are_told(tmp_path, network):
    found = calibrated(
        network, feed_of(tmp_path, network, np.zeros((2, 3, 8, 8))), tmp_path, names=["input"]
    )
    assert "`input` are zero" in found.notes[0]
    assert found.threshold("input", "max", 127) == 1


def test_a_value_that_overflows_is_refused_by_its_name(tmp_path, network):
    huge = feed_of(tmp_path, network, np.full((2, 3, 8, 8), 1e6))
    graph = network.inference_graph()

    class Large:
        def get(self, key: str, shape: tuple[int, ...], fill: object) -> np.ndarray:
            large = 1e30 if key == "layer1.0.conv1.weight" else 1
            return np.full(shape, large, np.float32)

    work = lambda: calibrate(graph, Large(), huge, tmp_path / "out", threads=1)  # noqa: E731
    refused("RD682", work, "infinite", "layer1.0")
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_no_value_is_refused(tmp_path, network, feed):
    refused(
        "RD681",
        lambda: calibrated(network, feed, tmp_path / "out", names=["conv7"]),
        "conv7",
        "conv1",
    )
    assert not (tmp_path / "out").exists()


def resaved(path: Path, change: Callable[[dict[str, Any], dict[str, str]], object]) -> None:
    """The file with something changed, and a hash that fits it."""
    from resnet_dsl.calibrate.store import _digest

    with safe_open(path, "numpy") as file:
        said, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(arrays, said)
    if "sha256" in said and "zeros" in arrays:
        said["sha256"] = _digest(said["calibration"], arrays)
    save_file(arrays, path, said)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut short": cut,
    "a bit": flip,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"no safetensors " * 100),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0" * (1 << 23)),
    "no hash": lambda path: resaved(path, lambda arrays, said: said.pop("sha256")),
    "not a number": lambda path: resaved(path, lambda arrays, said: arrays["least"].fill(np.nan)),
    "below zero": lambda path: resaved(path, lambda arrays, said: arrays["counts"].__isub__(1)),
    "a wild range": lambda path: resaved(path, lambda arrays, said: arrays["exponent"].fill(10**6)),
    "too many": lambda path: resaved(path, lambda arrays, said: arrays["counts"].fill(2**62)),
    "other sums": lambda path: resaved(path, lambda arrays, said: arrays["zeros"].__iadd__(1)),
    "another type": lambda path: resaved(
        path, lambda arrays, said: arrays.update(count=arrays["count"].astype(np.int32))
    ),
    "another shape": lambda path: resaved(
        path, lambda arrays, said: arrays.update(count=arrays["count"][:1])
    ),
    "something missing": lambda path: resaved(path, lambda arrays, said: arrays.pop("zeros")),
    "other images": lambda path: resaved(
        path,
        lambda arrays, said: said.update(
            calibration=json.dumps(json.loads(said["calibration"]) | {"images": 7})
        ),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_anew_with_a_note(tmp_path, network, feed, damage):
    names = ["input", "conv1"]
    first = calibrated(network, feed, tmp_path / "out", names=names)
    DAMAGES[damage](first.path)
    again = calibrated(network, feed, tmp_path / "out", names=names)
    assert not again.reused
    assert "damaged" in again.notes[0]
    assert again.sha256 == first.sha256
    assert calibrated(network, feed, tmp_path / "out", names=names).reused


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path, network, feed):
    first = calibrated(network, feed, tmp_path / "out", names=["input"])
    first.path.unlink()
    first.path.mkdir()
    refused("RD602", lambda: calibrated(network, feed, tmp_path / "out", names=["input"]))


def test_a_store_gives_back_what_it_was_given(tmp_path):
    histogram = Histogram()
    histogram.add(np.array([0, -3, 1e-3, 7], np.float32))
    key = Key("m", "f", 2, ("a", "b"))
    digest = store(tmp_path, key, {"b": Histogram(), "a": histogram})
    found = stored(tmp_path, key)
    assert found is not None
    histograms, again = found
    assert again == digest
    assert list(histograms) == ["a", "b"]
    np.testing.assert_array_equal(histograms["a"].counts, histogram.counts)
    assert vars(histograms["a"]) | {"counts": None} == vars(histogram) | {"counts": None}
    assert histograms["b"].count == 0
    assert histograms["a"].counts.shape == (BINS,)
    assert stored(tmp_path, Key("m", "f", 3, ("a", "b"))) is None


def test_calibrating_imports_no_torch(tmp_path, network, feed):
    script = (
        "import sys; sys.modules['torch'] = None; sys.modules['torchvision'] = None\n"
        "from pathlib import Path\n"
        "from resnet_dsl.calibrate.calibrate import calibrate\n"
        "from resnet_dsl.compiler import compile_spec\n"
        "from resnet_dsl.evaluate.feed import open_feed\n"
        "from resnet_dsl.weights.store import SeededWeights\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "network = compile_spec(folder / 'tiny.yaml')\n"
        "feed = open_feed(network, None, str(folder / 'images.npy'), 'train', None)\n"
        "found = calibrate(network.inference_graph(), SeededWeights(0), feed, folder, ['input'], threads=1)\n"
        "print(found.sha256)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == calibrated(network, feed, tmp_path, names=["input"]).sha256


@pytest.mark.slow
def test_real_images_through_a_bundled_network(tmp_path):
    """Digits, from the embedded images: the standardised input has the moments that it should have."""
    from resnet_dsl.catalogue import find_spec
    from resnet_dsl.compiler import compile_spec

    network = compile_spec(find_spec("digits"))
    feed = open_feed(network, None, "digits", "train", None)
    found = calibrated(network, feed, tmp_path)
    assert found.images == 1437
    assert found.histograms["input"].rms == pytest.approx(1, abs=0.01)
    for name in found.names:
        limits = [found.threshold(name, method, 127) for method in ("mse", "entropy", "percentile")]
        assert max(limits) <= found.threshold(name, "max", 127)
        assert min(limits) > 0.2 * found.threshold(name, "max", 127)
