"""Latency of a student beside its teacher.

Timings drift with whatever else the machine does, so student and teacher take turns, and the
figures are medians over the same stretch of time.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from kdnas.measure.quiet import measuring

WARM_UP = 3


@dataclass(frozen=True)
class LatencySettings:
    """What is timed.

    Attributes:
        batch: Examples a forward pass.
        length: Tokens an example.
        repeats: Forward passes of each model.
        quiet: Whether to wait until no other process of kdnas computes on this machine.
    """

    batch: int = 1
    length: int = 128
    repeats: int = 30
    quiet: bool = True


@dataclass(frozen=True)
class Latency:
    """Times of one forward pass in milliseconds: medians, and their spread.

    Attributes:
        student_ms: The student's median.
        teacher_ms: The teacher's.
        student_iqr_ms: How far the student's quartiles are apart.
        student_quartiles_ms: The lower and the upper one.
        teacher_quartiles_ms: The teacher's.
    """

    student_ms: float
    teacher_ms: float
    student_iqr_ms: float
    student_quartiles_ms: tuple[float, float] = (math.nan, math.nan)
    teacher_quartiles_ms: tuple[float, float] = (math.nan, math.nan)

    @property
    def speedup(self) -> float:
        """How many times as fast as the teacher."""
        return self.teacher_ms / self.student_ms


def measure_latency(
    student: PreTrainedModel, teacher: PreTrainedModel, settings: LatencySettings
) -> Latency:
    """Times student and teacher in turn, on the device they are on, without gradients.

    Both models must be in the form that is shipped. Threads are torch's current ones.
    """
    ours, theirs = [], []
    with measuring(settings.quiet):
        for turn in range(-WARM_UP, settings.repeats):
            times = time_forward(student, settings), time_forward(teacher, settings)
            if turn >= 0:
                ours.append(times[0])
                theirs.append(times[1])
    (low, middle, high), (least, median, most) = (
        np.percentile(times, [25, 50, 75]).tolist() for times in (ours, theirs)
    )
    return Latency(middle, median, high - low, (low, high), (least, most))


@torch.inference_mode()
def time_forward(model: PreTrainedModel, settings: LatencySettings) -> float:
    """One forward pass over full-length examples, in milliseconds."""
    device = model.device
    tokens = torch.ones(settings.batch, settings.length, dtype=torch.long, device=device)
    mask = torch.ones_like(tokens)
    _wait(device)
    start = time.perf_counter()
    model(input_ids=tokens, attention_mask=mask)
    _wait(device)
    return (time.perf_counter() - start) * 1000


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()
