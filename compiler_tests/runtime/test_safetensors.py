"""Weights as safetensors, by hand: what the library writes and reads, and nothing that it refuses."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from resnet_dsl.runtime.checkpoints import SAFETENSORS_TYPES, from_safetensors, to_safetensors


def bits(count: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count,), generator=torch.Generator().manual_seed(seed)).byte()


def of_type(dtype: torch.dtype, *shape: int) -> Tensor:
    """Any bits at all of a type, not-a-numbers too; of bool, its two values."""
    count = int(torch.Size(shape).numel())
    raw = bits(count * dtype.itemsize)
    return (raw % 2 == 0 if dtype is torch.bool else raw.view(dtype)).reshape(shape)


def same(a: Tensor, b: Tensor) -> bool:
    """Equal to the bit."""
    raw = [part.contiguous().reshape(-1).view(torch.uint8) for part in (a, b)]
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*raw)


@pytest.mark.parametrize("name", SAFETENSORS_TYPES)
def test_every_type_is_written_as_the_library_writes_it_and_read_again(name):
    dtype = SAFETENSORS_TYPES[name]
    tensors = {"odd": of_type(dtype, 3, 5), "none": of_type(dtype, 0, 2), "one": of_type(dtype)}
    data = to_safetensors(tensors, {"spec_sha256": "é"})
    assert data == safetensors.torch.save(tensors, {"spec_sha256": "é"})
    back = from_safetensors(data)
    assert back.keys() == tensors.keys()
    assert all(same(back[key], tensor) for key, tensor in tensors.items())


def state_dict() -> dict[str, Tensor]:
    return {
        "fc.weight": torch.randn(10, 64),
        "conv1.weight": torch.randn(16, 3, 3, 3).to(memory_format=torch.channels_last),
        "bn1.num_batches_tracked": torch.tensor(7),
        "bn1.running_mean": torch.randn(16)[::2],
        "mask": torch.tensor([True, False, True]),
        "half": torch.randn(3).bfloat16(),
        "leaf": torch.randn(2, requires_grad=True),
    }


def test_a_state_dict_of_mixed_types_is_written_as_the_library_writes_it():
    tensors = state_dict()
    dense = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    data = to_safetensors(tensors, {})
    assert data == safetensors.torch.save(dense)
    found = safetensors.torch.load(data)
    assert all(same(found[name], dense[name]) for name in dense)


def test_the_order_of_tensors_and_of_metadata_makes_no_difference():
    tensors, metadata = state_dict(), {"b": "2", "a": "1"}
    turned = dict(reversed(tensors.items()))
    data = to_safetensors(tensors, metadata)
    assert data == to_safetensors(turned, dict(reversed(metadata.items())))
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["__metadata__"] == metadata


def test_every_tensor_is_aligned_in_the_file():
    data = to_safetensors(state_dict(), {})
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    for entry in json.loads(data[8 : 8 + length]).values():
        assert entry["data_offsets"][0] % SAFETENSORS_TYPES[entry["dtype"]].itemsize == 0


def test_what_is_read_can_be_written_to_and_shares_no_memory():
    data = to_safetensors({"a": torch.zeros(4), "b": torch.zeros(4)}, {})
    back = from_safetensors(data)
    back["a"].add_(1)
    assert torch.equal(back["b"], torch.zeros(4))
    assert data == to_safetensors({"a": torch.zeros(4), "b": torch.zeros(4)}, {})


def test_a_type_that_the_format_does_not_have_is_refused_by_name():
    with pytest.raises(ValueError, match=r"w is torch\.complex128, which safetensors cannot hold"):
        to_safetensors({"w": torch.zeros(2, dtype=torch.complex128)}, {})


def file_of(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 3) + b"{}",
        file_of(b"\xff\xfe"),
        file_of(b"not json"),
        file_of(b"[" * 100_000),
        file_of(b'{"a": ' * 100_000),
        file_of([]),
        file_of("text"),
        file_of({"a": 1}),
        file_of({"a": []}),
        file_of({"a": entry()}),  # the body is missing
        file_of({"a": entry()}, b"12345"),  # a byte too many
        file_of({"a": entry("F33")}, b"1234"),
        file_of({"a": entry([])}, b"1234"),
        file_of({"a": entry(shape=1)}, b"1234"),
        file_of({"a": entry(shape=["1"])}, b"1234"),
        file_of({"a": entry(shape=[1.0])}, b"1234"),
        file_of({"a": entry(shape=[True])}, b"1234"),
        file_of({"a": entry(shape=[-1])}, b"1234"),
        file_of({"a": entry(shape=[-1, -1])}, b"1234"),
        file_of({"a": entry(shape=[2])}, b"1234"),
        file_of({"a": entry(shape=[2**62, 4])}, b"1234"),
        file_of({"a": entry(shape=[0, 2**70], offsets=[0, 0])}),
        file_of({"a": entry(shape=[10**30], offsets=[0, 4 * 10**30])}),
        file_of({"a": entry(offsets=[4, 0])}, b"1234"),
        file_of({"a": entry(offsets=[1, 5])}, b"12345"),
        file_of({"a": entry(offsets=[-4, 0])}, b"1234"),
        file_of({"a": entry(offsets=[0])}, b"1234"),
        file_of({"a": entry(offsets=[0, 4, 8])}, b"1234"),
        file_of({"a": entry(offsets="04")}, b"1234"),
        file_of({"a": entry(), "b": entry()}, b"1234"),  # two at one place
        file_of({"a": entry(), "b": entry(offsets=[8, 12])}, bytes(12)),  # a gap
        file_of({"a": {"dtype": "F32", "shape": [1]}}, b"1234"),
        file_of(b'{"a": %b, "a": %b}' % ((json.dumps(entry()).encode(),) * 2), b"1234"),
    ],
    ids=lambda data: repr(data[8:60]),
)
def test_a_hostile_file_of_weights_is_refused(data):
    with pytest.raises(ValueError, match="no safetensors"):
        from_safetensors(data)


@given(st.data())
def test_damaged_weights_are_refused_or_read_as_the_library_reads_them(data):
    whole = to_safetensors({"a": torch.arange(3.0), "b": torch.tensor(5)}, {"c": "d"})
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    damaged = damaged[: data.draw(st.integers(len(whole) - 40, len(whole)))]
    try:
        found = from_safetensors(damaged)
    except ValueError:
        return
    expected = safetensors.torch.load(damaged)
    assert found.keys() == expected.keys()
    assert all(same(found[name], expected[name]) for name in found)
