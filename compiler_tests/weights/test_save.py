"""The safetensors we write are what the library reads, byte for byte the same each time, one tensor in memory."""

from __future__ import annotations

from functools import partial
from io import BytesIO

import numpy as np
import pytest
import safetensors.numpy

from resnet_dsl.weights.save import TensorEntry, save_safetensors

TENSORS: dict[str, np.ndarray] = {
    "conv1.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "conv1.half": np.arange(3, dtype=np.float16),
    "bn1.num_batches_tracked": np.array(7, np.int64),
    "empty": np.zeros((0, 2), np.float32),
}


def written(metadata: dict[str, str] | None = None) -> bytes:
    stream = BytesIO()
    entries = [
        TensorEntry(name, tensor.shape, str(tensor.dtype), partial(np.asarray, tensor))
        for name, tensor in TENSORS.items()
    ]
    save_safetensors(stream, entries, metadata)
    return stream.getvalue()


def test_the_library_reads_what_is_written():
    read = safetensors.numpy.load(written({"format": "pt"}))
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        np.testing.assert_array_equal(read[name], tensor)


def test_the_same_tensors_and_metadata_give_the_same_bytes_in_an_aligned_file():
    one = written({"b": "é", "a": "x"})
    assert one == written({"a": "x", "b": "é"})
    assert int.from_bytes(one[:8], "little") % 8 == 0


def test_metadata_is_read_back(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(written({"spec_sha256": "abc"}))
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"spec_sha256": "abc"}


def test_a_tensor_is_made_only_when_its_turn_comes():
    stream = BytesIO()
    sizes: list[int] = []

    def load() -> np.ndarray:
        sizes.append(stream.tell())
        return np.zeros(100, np.float32)

    save_safetensors(stream, [TensorEntry(name, (100,), "float32", load) for name in "abc"])
    assert np.diff(sizes).tolist() == [400, 400]


def test_a_tensor_of_another_shape_and_a_name_given_twice_are_refused():
    entry = TensorEntry("a", (2,), "float32", lambda: np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"a has the shape \(3,\), not \(2,\)"):
        save_safetensors(BytesIO(), [entry])
    with pytest.raises(ValueError, match="two tensors have the name 'a'"):
        save_safetensors(BytesIO(), [entry, entry])
