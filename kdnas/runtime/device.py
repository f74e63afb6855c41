"""Where and how tensors are multiplied: device, precision, threads. Accelerate does the work."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from kdnas.errors import KdnasError
from kdnas.runtime.console import say
from kdnas.runtime.cores import resolve_threads
from kdnas.runtime.distributed import Team, team
from kdnas.runtime.heap import keep_memory
from kdnas.runtime.shown import quoted

ResolvedPrecision = Literal["fp32", "bf16"]
# Bytes between which copied tensors begin.
ALIGNED = 64
# What `accelerate launch` sets where it is to split a model over processes.
SPLITTING = ("DEEPSPEED", "FSDP", "MEGATRON_LM")


@dataclass(frozen=True)
class Runtime:
    """The device and precision that every training step and every forward pass shares.

    They are its own: all accelerators of a process share one state, that of the latest.

    Attributes:
        device: Where models and batches go to.
    """

    accelerator: Accelerator
    device: torch.device
    precision: ResolvedPrecision

    @property
    def team(self) -> Team:
        """The processes that train together, where the command was launched so."""
        return team()

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process's copy has the same settings on a device of its own."""
        return _like, (self.device.type, self.precision, torch.get_num_threads())

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Mixed precision for a forward pass; nothing in fp32."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    @property
    def exact(self) -> Runtime:
        """The same device in fp32, as official scores are computed."""
        return replace(self, precision="fp32")

    def describe(self) -> dict[str, Any]:
        """The environment that a report should name."""
        name: str = platform.processor() or platform.machine()
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        return {
            "device": str(self.device),
            "device_name": name,
            "precision": self.precision,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
        }


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on a device; to a GPU it goes by pinned memory, without waiting."""
    return moved_together([tensor], device)[0]


def moved_together(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """CPU tensors on a device; to a GPU they go in one copy."""
    if device.type != "cuda" or not tensors or any(tensor.is_cuda for tensor in tensors):
        return [tensor.to(device, non_blocking=True) for tensor in tensors]
    ends = list(itertools.accumulate(-(-t.nbytes // ALIGNED) * ALIGNED for t in tensors))
    starts = [0, *ends[:-1]]
    # Pinned memory comes from torch's cache, which waits for copies before it gives it out again.
    pinned = torch.empty(ends[-1], dtype=torch.uint8, pin_memory=True)
    buffer = pinned.numpy()
    for start, tensor in zip(starts, tensors, strict=True):
        flat = tensor.contiguous().view(-1).view(torch.uint8)
        buffer[start : start + tensor.nbytes] = flat.numpy()
    bytes_there = pinned.to(device, non_blocking=True)
    return [
        bytes_there[start : start + t.nbytes].view(t.dtype).view(t.shape)
        for start, t in zip(starts, tensors, strict=True)
    ]


def start_runtime(
    *, device: str | None = None, precision: str = "auto", threads: int | str | None = None
) -> Runtime:
    """Sets threads and picks device and precision.

    Args:
        device: As torch names it; None for the best there is.
        precision: fp32, bf16, or auto: bf16 where the hardware multiplies it natively.
        threads: Of the CPU, at most its cores; `auto` for those without other work; None for
            torch's choice.

    Raises:
        KdnasError: The device does not exist, or models are to be split over several.
    """
    for name in SPLITTING:
        if os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true":
            raise KdnasError(
                f"launched for {name}, which splits a model over processes; use "
                "accelerate launch --multi_gpu"
            )
    count, notice = resolve_threads(threads)
    if notice:
        say(notice)
    if count:
        torch.set_num_threads(count)
    place = device_named(device)
    if place.type != "cpu" and place.index is not None:
        torch.accelerator.set_device_index(place.index)
    if precision == "bf16" or (precision == "auto" and _has_bf16(place)):
        return _runtime(place, "bf16")
    return _runtime(place, "fp32")


def seed_all(seed: int, device: torch.device) -> None:
    """Seeds what is drawn on the CPU and on a device.

    `torch.manual_seed` would note a call, with its stack, for each kind of device that is not used.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)


@cache
def _runtime(device: torch.device, precision: ResolvedPrecision) -> Runtime:
    keep_memory()
    # Accelerate keeps one state a process; a second runtime (tests, notebooks) starts it afresh.
    AcceleratorState._reset_state(reset_partial_state=True)
    mixed = "bf16" if precision == "bf16" else "no"
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=mixed)
    return Runtime(accelerator, accelerator.device, precision)


def _like(device: str, precision: ResolvedPrecision, threads: int) -> Runtime:
    torch.set_num_threads(threads)
    return _runtime(torch.device(device), precision)


def device_named(name: str | None) -> torch.device:
    """A device of this machine; the best there is for None.

    Raises:
        KdnasError: It does not exist.
    """
    best = torch.accelerator.current_accelerator(check_available=True)
    if name is None:
        return best or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise KdnasError(f"invalid --device {quoted(name)}: expected cpu, cuda or mps") from None
    if device.type == "cpu":
        return device
    if best is None or best.type != device.type:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") if device.type == "cuda" else None
        shows = f" (CUDA_VISIBLE_DEVICES is {quoted(hidden)})" if hidden is not None else ""
        raise KdnasError(
            f"invalid --device {quoted(name)}: this machine has none{shows}; give --device cpu"
        )
    count = torch.accelerator.device_count()
    if (device.index or 0) >= count:
        raise KdnasError(
            f"invalid --device {quoted(name)}: this machine has {count} such device(s)"
        )
    return device


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cpu":
        checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return any(getattr(torch.cpu, name, lambda: False)() for name in checks)
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
