"""What a candidate costs beside its teacher: parameters, multiply-accumulates, latency."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from transformers import PreTrainedModel

from kdnas.config import Settings
from kdnas.measure import LatencySettings, Timed, count_macs, count_params, measure_latency
from kdnas.measure.onnx import in_runtime
from kdnas.measure.quiet import computing
from kdnas.space import Candidate
from kdnas.students import empty_student
from kdnas.tasks import task_type_of

REPEATS = 30


@dataclass(frozen=True)
class Costs:
    """Costs of one student; latencies are medians over interleaved passes, in milliseconds."""

    params: int
    macs: int
    latency_ms: float
    latency_iqr_ms: float
    teacher_latency_ms: float
    speedup: float


class CostMeter:
    """Counts and times students beside one teacher.

    Args:
        teacher: On the device that students are timed on. What it has learnt does not matter.
        runtime: That serves the models: `torch` or `onnx`.
        batch: Examples a timed forward pass.
        length: Tokens an example.
        quiet: Whether to wait until no other kdnas process computes on this machine.
    """

    def __init__(
        self,
        teacher: PreTrainedModel,
        *,
        runtime: str = "torch",
        batch: int = 1,
        length: int = 128,
        quiet: bool = True,
    ) -> None:
        self.teacher = teacher
        self.runtime = runtime
        self.batch = batch
        self.length = length
        self.quiet = quiet
        self.teacher_params = count_params(teacher)
        self.teacher_macs = count_macs(teacher, length)

    @classmethod
    def from_settings(cls, teacher: PreTrainedModel, settings: Settings) -> CostMeter:
        """Measures as a run's settings say."""
        return cls(
            teacher,
            runtime=settings.latency_runtime,
            batch=settings.latency_batch,
            length=settings.latency_length,
            quiet=settings.latency_quiet,
        )

    def of_model(
        self, student: PreTrainedModel, repeats: int = REPEATS, *, quiet: bool | None = None
    ) -> Costs:
        """Counts a student and times it beside the teacher.

        Args:
            student: As it is shipped; it is moved to the teacher's device.
            repeats: Timed passes of each model.
            quiet: In place of the meter's own.
        """
        quiet = self.quiet if quiet is None else quiet
        settings = LatencySettings(self.batch, self.length, repeats, quiet)
        latency = measure_latency(self.timed(student), self.timed_teacher, settings)
        return Costs(
            count_params(student),
            count_macs(student, self.length),
            latency.student_ms,
            latency.student_iqr_ms,
            latency.teacher_ms,
            latency.speedup,
        )

    def of_candidate(self, candidate: Candidate) -> Costs:
        """Costs of a candidate, from a model of its shape with random weights."""
        return self.of_model(self.untrained(candidate))

    def untrained(self, candidate: Candidate) -> PreTrainedModel:
        """A student of a candidate's shape with random weights, on the teacher's device."""
        device = self.teacher.device
        with computing(device), torch.random.fork_rng(devices=[]):
            task = task_type_of(self.teacher.config, type(self.teacher).__name__)
            student = empty_student(self.teacher.config, candidate.architecture, task).eval()
            return student.to(device)  # type: ignore[arg-type,no-any-return]

    def timed(self, student: PreTrainedModel) -> Timed:
        """A student in the runtime that students are timed in."""
        student.to(self.teacher.device)  # type: ignore[arg-type]
        return in_runtime(student, self.runtime)

    @cached_property
    def timed_teacher(self) -> Timed:
        """The teacher in that runtime."""
        return in_runtime(self.teacher, self.runtime)
