"""What one trial does: build a student, cost it, train it a little, score it."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from transformers import PreTrainedModel

from kdnas.config import Settings
from kdnas.files.curves import MINI_KD
from kdnas.measure import LatencySettings, Timed, count_macs, count_params, measure_latency
from kdnas.measure.onnx import in_runtime
from kdnas.measure.quiet import computing
from kdnas.scoring.mini_kd import MiniKD
from kdnas.scoring.reward import reward
from kdnas.space import Architecture
from kdnas.students.state import StudentState
from kdnas.study.constraints import violations

ROUGH_REPEATS = 3


@dataclass(frozen=True)
class Costs:
    """What a student costs; latencies in milliseconds, medians over interleaved passes."""

    params: int
    macs: int
    latency_ms: float
    latency_iqr_ms: float
    teacher_latency_ms: float
    speedup: float


@dataclass(frozen=True)
class Score:
    """What mini-KD found."""

    loss: float
    reward: float


@dataclass(frozen=True)
class Outcome:
    """One evaluated candidate; one that breaks a limit has costs alone."""

    costs: Costs
    constraints: dict[str, float]
    score: Score | None
    distilled: StudentState | None
    seconds: float

    @property
    def attributes(self) -> dict[str, float]:
        """Plain numbers for a trial's attributes."""
        score = asdict(self.score) if self.score else {}
        return {**asdict(self.costs), **score, "seconds": self.seconds}


class Evaluator:
    """Evaluates architectures: costs, mini-KD, reward.

    Args:
        mini: Trains candidates; its teacher's model must be on the runtime's device.
        settings: Of the run.
    """

    def __init__(self, mini: MiniKD, settings: Settings) -> None:
        self.mini = mini
        self.settings = settings
        self.teacher = mini.teacher.model
        self.teacher_params = count_params(self.teacher)
        self.teacher_macs = count_macs(self.teacher, settings.latency_length)

    def evaluate(
        self,
        architecture: Architecture,
        *,
        until: float = 1.0,
        checkpoint: Path | None = None,
        costs: Costs | None = None,
        title: str = MINI_KD,
    ) -> Outcome:
        """One candidate from architecture to score.

        Args:
            architecture: Its shape.
            until: Share of mini-KD after which it is scored.
            checkpoint: File of its training so far, if any, and for more of it.
            costs: Where they are known already.
            title: Names the candidate where progress is shown and recorded.
        """
        start = time.perf_counter()
        distilled = self._start(architecture)
        costs = costs or self._costs_within(distilled.student)
        limits = violations(self.settings, costs.speedup, costs.params)
        if any(value > 0 for value in limits.values()):
            return Outcome(costs, limits, None, None, time.perf_counter() - start)
        loss = self.mini.run(distilled, until=until, checkpoint=checkpoint, title=title)
        if not math.isfinite(loss):
            raise FloatingPointError(f"its loss is {loss}; lower --mini-lr")
        score = Score(loss, self._reward(loss, costs))
        return Outcome(costs, limits, score, distilled, time.perf_counter() - start)

    def speedup(self, architecture: Architecture) -> float:
        """How many times as fast as the teacher students of an architecture are."""
        return self.costs(self._start(architecture).student).speedup

    def costs(
        self, student: PreTrainedModel, repeats: int = 30, *, quiet: bool | None = None
    ) -> Costs:
        """Counts a student and times it beside the teacher, as quietly as the settings say."""
        settings = self.settings
        timed = self.timed(student)
        quiet = settings.latency_quiet if quiet is None else quiet
        what = LatencySettings(settings.latency_batch, settings.latency_length, repeats, quiet)
        latency = measure_latency(timed, self.timed_teacher, what)
        return Costs(
            count_params(student),
            count_macs(student, settings.latency_length),
            latency.student_ms,
            latency.student_iqr_ms,
            latency.teacher_ms,
            latency.speedup,
        )

    def _costs_within(self, student: PreTrainedModel) -> Costs:
        """Costs, latencies roughly where the student is too large anyway."""
        most = self.settings.max_params
        if most is None or count_params(student) <= most:
            return self.costs(student)
        return self.costs(student, ROUGH_REPEATS, quiet=False)

    def timed(self, student: PreTrainedModel) -> Timed:
        """A student in the runtime that students are timed in."""
        student.to(self.mini.runtime.device)  # type: ignore[arg-type]
        return in_runtime(student, self.settings.latency_runtime)

    @cached_property
    def timed_teacher(self) -> Timed:
        """The teacher in the runtime that students are timed in."""
        return in_runtime(self.teacher, self.settings.latency_runtime)

    def _start(self, architecture: Architecture) -> StudentState:
        with computing(self.mini.runtime.device):
            return self.mini.start(architecture)

    def _reward(self, loss: float, costs: Costs) -> float:
        pairs: dict[str, tuple[float, float]] = {
            "latency": (costs.latency_ms, costs.teacher_latency_ms),
            "macs": (costs.macs, self.teacher_macs),
            "params": (costs.params, self.teacher_params),
        }
        ours, theirs = pairs[self.settings.cost]
        return reward(loss, ours, theirs, self.settings.alpha, self.settings.beta)
