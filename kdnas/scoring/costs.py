"""What a candidate costs beside its teacher: parameters, multiply-accumulates, latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers import PreTrainedModel

from kdnas.config import Settings
from kdnas.measure import LatencySettings, Timed, count_macs, count_params, measure_latencies
from kdnas.measure.latency import Latency, generates, repeats_for
from kdnas.measure.onnx import in_runtime
from kdnas.measure.quiet import computing
from kdnas.space import AnyArchitecture, Candidate, Pruning
from kdnas.space.candidate import TEACHERS_VOCABULARY
from kdnas.students import empty_student, writing_as
from kdnas.students.vocabulary import Vocabulary
from kdnas.tasks import task_type_of

# So many times the passes of a candidate, where a student is evaluated.
FINAL = 3
# Standard error of a candidate's speed-up, as a share of it, that needs no further passes.
PRECISE = 0.015
# Students that are timed in one go: more would hold too many models in memory.
TOGETHER = 6
# A student that just reaches a speed-up would miss it half of the time when it is timed again.
MARGIN = 1.03
# From this share of what it has to reach on, a student that misses it is timed once more.
JUST_MISSED = 0.9
# So often a model is timed before a speed-up is refused as out of its reach.
TIMES = 3

ShapeOf = Callable[[Candidate], AnyArchitecture]


@dataclass(frozen=True)
class Costs:
    """Costs of one student; latencies are medians over interleaved passes, in milliseconds.

    `latency` has those passes in full, where they are at hand.
    """

    params: int
    macs: int
    latency_ms: float
    latency_iqr_ms: float
    teacher_latency_ms: float
    speedup: float
    latency: Latency | None = None

    @property
    def numbers(self) -> dict[str, float]:
        """All but `latency`, as trials keep them."""
        return {name: getattr(self, name) for name in NUMBERS}


# The fields of costs that are plain numbers.
NUMBERS = tuple(name for name in Costs.__dataclass_fields__ if name != "latency")


def margin_of(pruning: Pruning, limit: float) -> float:
    """By what factor a candidate that is so pruned, or not, has to exceed a limit on its speed.

    By none where it is pruned to that speed-up, or a higher one: timing it is how it was pruned.
    """
    return 1.0 if pruning.speedup >= limit else MARGIN


def given_shape(candidate: Candidate) -> AnyArchitecture:
    """The shape of a candidate that is not pruned."""
    assert not candidate.pruning, "a meter of pruned students knows their shapes"
    return candidate.architecture


class CostMeter:
    """Counts and times students beside one teacher, as a run's settings say.

    Args:
        teacher: On the device that students are timed on. What it has learnt does not matter.
        settings: Runtime, batch size and length that are timed.
        vocabularies: Those of candidates, by name; the teacher's need not be among them.
        shape_of: Gives the shape of a candidate, which pruning has to find out.
    """

    def __init__(
        self,
        teacher: PreTrainedModel,
        settings: Settings,
        vocabularies: Mapping[str, Vocabulary] | None = None,
        shape_of: ShapeOf = given_shape,
    ) -> None:
        self.teacher, self.settings, self.shape_of = teacher, settings, shape_of
        self.vocabularies = vocabularies or {}
        self.length = settings.latency_length
        self.teacher_params = count_params(teacher)
        self.teacher_macs = count_macs(teacher, self.length)

    def of_model(self, student: PreTrainedModel, longer: int = 1) -> Costs:
        """`of_models` of one student."""
        return self.of_models([student], longer)[0]

    def of_models(
        self,
        students: Sequence[PreTrainedModel],
        longer: int = 1,
        wanted: Sequence[float | None] = (),
    ) -> list[Costs]:
        """Counts students, and times them in turn with each other and the teacher, on its device.

        What slows the machine down for a while slows all of them down. Passes are `longer` times
        those of a candidate by itself, which ends once its speed-up is PRECISE, or surely below
        JUST_MISSED of that `wanted`.
        """
        timed = [self.timed(student) for student in students]
        least = [JUST_MISSED * (speedup or 0.0) for speedup in wanted]
        settings = self._timing(longer)
        latencies = measure_latencies(timed, self.timed_teacher, settings, least=least)
        return [
            Costs(
                count_params(student),
                count_macs(student, self.length),
                latency.student_ms,
                latency.student_iqr_ms,
                latency.teacher_ms,
                latency.speedup,
                latency,
            )
            for student, latency in zip(students, latencies, strict=True)
        ]

    def at_length(self, student: PreTrainedModel) -> Costs:
        """`of_model` with FINAL times as many passes; once more where it just misses the limit.

        A student was trained because its shape, timed at length, kept the limit: where the two
        disagree, which other work on the machine can do, a third timing decides.
        """
        return self.at_best([student], [self.settings.speedup], FINAL)[0]

    def at_best(
        self, students: Sequence[PreTrainedModel], wanted: Sequence[float | None], longer: int = 1
    ) -> list[Costs]:
        """`of_models`; the better of two timings of each that just misses the speed-up wanted."""
        costs = self.of_models(students, longer, wanted)
        near = [
            i
            for i, (found, least) in enumerate(zip(costs, wanted, strict=True))
            if least is not None and JUST_MISSED * least <= found.speedup < least
        ]
        again = self.of_models([students[i] for i in near], longer) if near else []
        for i, found in zip(near, again, strict=True):
            costs[i] = max(costs[i], found, key=lambda one: one.speedup)
        return costs

    def best_speedup(self, student: PreTrainedModel, wanted: float) -> float:
        """The speed-up of a student: the best of TIMES timings, which end once it is that wanted.

        A refusal must not be owed to other work on the machine; all but the first have FINAL times
        as many passes.
        """
        found = self.of_model(student).speedup
        for _ in range(TIMES - 1):
            if found >= wanted:
                break
            found = max(found, self.of_model(student, FINAL).speedup)
        return found

    def macs_of(self, candidate: Candidate) -> int:
        """The multiply-accumulates of a candidate."""
        return count_macs(self.untrained(candidate), self.length)

    def of_candidate(self, candidate: Candidate) -> Costs:
        """`of_candidates` of one."""
        return self.of_candidates([candidate])[0]

    def of_candidates(self, candidates: Sequence[Candidate]) -> list[Costs]:
        """Costs of candidates, from models of their shapes with random weights.

        TOGETHER of them are timed at once. Those that just miss the limit with its margin are timed
        twice, as other work on the machine would throw them out.
        """
        limit, found = self.settings.speedup, list[Costs]()
        for start in range(0, len(candidates), TOGETHER):
            some = candidates[start : start + TOGETHER]
            wanted = [limit and margin_of(one.pruning, limit) * limit for one in some]
            found += self.at_best([*map(self.untrained, some)], wanted)
        return found

    def speedups(self, candidates: Sequence[Candidate], longer: int = 1) -> list[float]:
        """How many times as fast as the teacher candidates are, all timed in one go.

        Passes are `longer` times those of one candidate by itself.
        """
        students = [self.timed(self.untrained(candidate)) for candidate in candidates]
        latencies = measure_latencies(students, self.timed_teacher, self._timing(longer))
        return [latency.speedup for latency in latencies]

    def _timing(self, longer: int) -> LatencySettings:
        """What is timed, and how often; models that write pass less often."""
        settings = self.settings
        passes = longer * settings.latency_repeats
        passes = repeats_for(passes, writes=generates(self.teacher))
        quiet, precision = settings.latency_quiet, PRECISE if longer == 1 else 0.0
        return LatencySettings(settings.latency_batch, self.length, passes, quiet, precision)

    def untrained(self, candidate: Candidate) -> PreTrainedModel:
        """A student of a candidate's shape with random weights, on the teacher's device."""
        return self.of_shape(self.shape_of(candidate), candidate.vocabulary)

    def of_shape(
        self, shape: AnyArchitecture, vocabulary: str = TEACHERS_VOCABULARY
    ) -> PreTrainedModel:
        """A student of a shape with random weights, on the teacher's device."""
        device = self.teacher.device
        with computing(device), torch.random.fork_rng(devices=[]):
            config = self._config_of(vocabulary)
            task = task_type_of(config, type(self.teacher).__name__)
            with device:  # random numbers are drawn there: a GPU does it in no time
                student = empty_student(config, shape, task).eval()
            student.to(device)  # type: ignore[arg-type]
        return writing_as(student, self.teacher)

    def _config_of(self, vocabulary: str) -> Any:
        """The teacher's config with another vocabulary."""
        config = self.teacher.config
        if vocabulary == TEACHERS_VOCABULARY:
            return config
        return self.vocabularies[vocabulary].config_of(config)

    def timed(self, student: PreTrainedModel) -> Timed:
        """A student in the runtime that students are timed in."""
        student.to(self.teacher.device)  # type: ignore[arg-type]
        return in_runtime(student, self.settings.latency_runtime)

    @cached_property
    def timed_teacher(self) -> Timed:
        """The teacher in that runtime."""
        return in_runtime(self.teacher, self.settings.latency_runtime)
