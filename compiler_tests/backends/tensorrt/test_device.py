"""The driver's library, asked for GPUs: here one that is written in Python."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any

import pytest

from resnet_dsl.backends.tensorrt import device
from resnet_dsl.backends.tensorrt.device import Device

GPUS = (("Tesla T4", 7, 5), ("NVIDIA H200", 9, 0))


class Driver:
    """Answers as libcuda does: 0, and what was asked for behind a pointer."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.calls: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        if name == self.broken:
            return lambda *_: 100
        own = type(self).__dict__.get(f"_{name}")
        return (lambda *_: 0) if own is None else partial(own, self)

    def _cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(GPUS)
        return 0

    def _cuDeviceGet(self, handle: Any, index: int) -> int:  # noqa: N802
        handle._obj.value = index
        return 0

    def _cuDeviceGetName(self, title: Any, _size: int, handle: Any) -> int:  # noqa: N802
        title.value = GPUS[handle.value][0].encode()
        return 0

    def _cuDeviceGetAttribute(self, value: Any, which: int, handle: Any) -> int:  # noqa: N802
        value._obj.value = GPUS[handle.value][which - 74]
        return 0

    def _cuDevicePrimaryCtxRetain(self, context: Any, handle: Any) -> int:  # noqa: N802
        self.calls.append(("retain", handle.value))
        context._obj.value = 64 + handle.value
        return 0

    def _cuCtxSetCurrent(self, context: Any) -> int:  # noqa: N802
        self.calls.append(("current", context.value))
        return 0


def install(monkeypatch: pytest.MonkeyPatch, driver: Driver) -> Driver:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    return driver


def test_gpus_are_listed_with_their_capabilities_in_the_drivers_order(monkeypatch):
    install(monkeypatch, Driver())
    assert device.local_gpus() == (Device("Tesla T4", 75, 0), Device("NVIDIA H200", 90, 1))


def test_one_of_them_becomes_the_current_one(monkeypatch):
    driver = install(monkeypatch, Driver())
    assert device.use(Device("NVIDIA H200", 90, 1)) is True
    assert driver.calls == [("retain", 1), ("current", 65)]


@pytest.mark.parametrize("broken", ["cuInit", "cuDeviceGetCount", "cuDeviceGetName"])
def test_a_driver_that_fails_has_no_gpus(monkeypatch, broken):
    install(monkeypatch, Driver(broken))
    assert device.local_gpus() == ()


@pytest.mark.parametrize("broken", ["cuInit", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent"])
def test_a_gpu_that_cannot_be_used_is_told(monkeypatch, broken):
    install(monkeypatch, Driver(broken))
    assert device.use(Device("NVIDIA H200", 90, 1)) is False


def test_without_a_driver_there_are_no_gpus(monkeypatch):
    def missing(name: str) -> ctypes.CDLL:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert device.local_gpus() == ()
    assert device.use(Device("NVIDIA H200", 90, 1)) is False
