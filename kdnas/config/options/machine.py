"""The machine a run computes on, and how latency is measured."""

from __future__ import annotations

from typing import ClassVar, Literal

from kdnas.config.choices import LatencyRuntime, Precision, Tracker
from kdnas.config.options.base import MOST_TOKENS, Options, setting
from kdnas.config.recipe import MOST_BATCH


class MachineOptions(Options):
    """The panel Machine of --help."""

    panel: ClassVar[str] = "Machine"

    batch_size: int = setting(32, "Examples per batch.", ge=1, le=MOST_BATCH, main=True)
    precision: Precision = setting(
        "auto", "fp32, bf16, or auto: bf16 where the hardware multiplies it natively."
    )
    threads: int | Literal["auto"] | None = setting(
        None,
        "CPU threads; auto: as many as there are cores without other work; default: torch decides.",
        main=True,
    )
    jobs: int | Literal["auto"] = setting(
        "auto",
        "Candidates or students in training side by side, one thread each; auto: on Linux and the "
        "CPU as many as there are cores without other work, else 1, with all threads.",
        main=True,
    )
    device: str | None = setting(
        None, "cpu, cuda or mps; default: the fastest available.", main=True
    )
    track: Tracker = setting(
        "off",
        "Also tell trials, losses, scores and settings to a tracker, whose package must be "
        "installed.",
        main=True,
    )
    cache_limit: str | None = setting(
        None,
        "Largest size of the cache that runs share, such as 20GB, or none: what was used least "
        "recently is removed; default: KDNAS_CACHE_LIMIT, else 20GB.",
        form="SIZE",
    )
    latency_batch: int = setting(
        1,
        "Examples per batch when latency is measured; default: 1, on a GPU 32.",
        ge=1,
        le=MOST_BATCH,
    )
    latency_length: int = setting(
        128,
        "Tokens per example when latency is measured; default: 128, or --max-length or the "
        "teacher's limit where that is less.",
        ge=1,
        le=MOST_TOKENS,
    )
    latency_repeats: int = setting(
        30,
        "Timed passes of a candidate, fewer where its speed-up is known before; of students that "
        "are evaluated, three times as many.",
        ge=5,
        le=1000,
    )
    latency_runtime: LatencyRuntime = setting(
        "torch",
        "Runtime that serves students and measures latency: torch (eager) or onnx (ONNX Runtime, "
        "on the CPU).",
        main=True,
    )
    latency_quiet: bool = setting(
        True,
        "Measure latency only while no other kdnas process of this user computes on the machine.",
    )
