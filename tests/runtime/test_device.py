"""A process has one runtime after another, and each keeps what it was started with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from kdnas.runtime import device
from kdnas.runtime.device import start_runtime


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    device._runtime.cache_clear()
    yield
    device._runtime.cache_clear()


def test_a_runtime_keeps_its_precision_where_another_was_started_meanwhile() -> None:
    mixed = start_runtime(device="cpu", precision="bf16")
    start_runtime(device="cpu", precision="fp32")
    again = start_runtime(device="cpu", precision="bf16")
    assert again is mixed
    rows = torch.ones(2, 2)
    with torch.autocast("cpu", dtype=torch.float16), again.autocast():
        assert (rows @ rows).dtype == torch.bfloat16


def test_a_runtime_keeps_its_device_where_another_was_started_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")  # in place of a GPU
    elsewhere = device._runtime(torch.device("meta"), "fp32")
    monkeypatch.delenv("ACCELERATE_TORCH_DEVICE")
    assert start_runtime(device="cpu", precision="fp32").device.type == "cpu"
    assert device._runtime(torch.device("meta"), "fp32").device.type == "meta"
    assert elsewhere.device.type == "meta"


def test_nothing_is_moved_to_a_gpu_as_to_a_cpu() -> None:
    """A training that asks nothing of a stored teacher signal moves no index."""
    for name in ("cpu", "cuda"):
        assert device.moved_together([], torch.device(name)) == []
