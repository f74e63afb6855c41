"""What one trial does: build a student, cost it, train it a little, score it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from transformers import PreTrainedModel

from kdnas.config import Settings
from kdnas.distill.distilled import Distilled
from kdnas.distill.mini import MiniKD
from kdnas.errors import KdnasError
from kdnas.measure import LatencySettings, count_macs, count_params, measure_latency
from kdnas.search.reward import reward
from kdnas.space import Architecture

# The smallest student need not be the fastest, and timings are noisy.
NEAR = 0.7
# A student that just passes would miss the wanted speed-up half of the time when it is timed again.
MARGIN = 1.03


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
    """One evaluated candidate; a candidate that is too slow has costs alone."""

    costs: Costs
    score: Score | None
    distilled: Distilled | None
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

    def evaluate(self, architecture: Architecture) -> Outcome:
        """One candidate from architecture to score."""
        start = time.perf_counter()
        distilled = self.mini.start(architecture)
        costs = self.costs(distilled.student)
        wanted = self.settings.speedup
        if wanted is not None and costs.speedup < MARGIN * wanted:
            return Outcome(costs, None, None, time.perf_counter() - start)
        loss = self.mini.run(distilled)
        score = Score(loss, self._reward(loss, costs))
        return Outcome(costs, score, distilled, time.perf_counter() - start)

    def check_reachable(self, smallest: Architecture) -> None:
        """Refuses a speed-up that not even the space's smallest student comes near.

        Raises:
            KdnasError: It is out of reach.
        """
        wanted = self.settings.speedup
        if wanted is None:
            return
        speedup = self.costs(self.mini.start(smallest).student).speedup
        if speedup < NEAR * wanted:
            raise KdnasError(
                f"--speedup is {wanted:g}; the smallest student of the space, {smallest.label}, is "
                f"{speedup:.2f} times as fast as the teacher"
            )

    def costs(self, student: PreTrainedModel, repeats: int = 30) -> Costs:
        """Counts a student and times it beside the teacher."""
        settings = self.settings
        student.to(self.mini.runtime.device)  # type: ignore[arg-type]
        what = LatencySettings(settings.latency_batch, settings.latency_length, repeats)
        latency = measure_latency(student, self.teacher, what)
        return Costs(
            count_params(student),
            count_macs(student, settings.latency_length),
            latency.student_ms,
            latency.student_iqr_ms,
            latency.teacher_ms,
            latency.speedup,
        )

    def _reward(self, loss: float, costs: Costs) -> float:
        pairs: dict[str, tuple[float, float]] = {
            "latency": (costs.latency_ms, costs.teacher_latency_ms),
            "macs": (costs.macs, self.teacher_macs),
            "params": (costs.params, self.teacher_params),
        }
        ours, theirs = pairs[self.settings.cost]
        return reward(loss, ours, theirs, self.settings.alpha, self.settings.beta)
