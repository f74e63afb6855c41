"""What students cost, and when they are timed once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.stepwise import Stepwise
from support.tiny_pairs import tiny_pair
from transformers import PreTrainedModel

from kdnas.config import Settings
from kdnas.measure.onnx import rules_of
from kdnas.runs.run_folder import Run
from kdnas.scoring.costs import FINAL, TOGETHER, CostMeter, Costs
from kdnas.space import Candidate, family_of
from kdnas.space.derivation import teacher_architecture


class Scripted(CostMeter):
    """Measures a model as it is, but gives one speed-up after another, as they are scripted."""

    def __init__(self, pipeline: Stepwise, timed: list[float]) -> None:
        super().__init__(pipeline.teacher.model, pipeline.settings)
        self.script, self.asked = timed, list[int]()

    def of_models(
        self,
        students: Sequence[PreTrainedModel],
        longer: int = 1,
        wanted: Sequence[float | None] = (),
    ) -> list[Costs]:
        begun = len(self.asked)
        self.asked += [longer] * len(students)
        scripted = self.script[begun : len(self.asked)]
        costs = super().of_models(students)
        return [replace(each, speedup=fast) for each, fast in zip(costs, scripted, strict=True)]


@pytest.mark.parametrize(
    ("limit", "timed", "taken", "times"),
    [
        (4, [4.5], 4.5, 1),
        (4, [3.9, 4.2], 4.2, 2),
        (4, [3.9, 3.7], 3.9, 2),
        (4, [3.5], 3.5, 1),
        ("none", [0.5], 0.5, 1),
    ],
)
def test_one_that_just_misses_the_limit_is_timed_again(
    make_run: Callable[..., Run], limit: Any, timed: list[float], taken: float, times: int
) -> None:
    pipeline = Stepwise(make_run(speedup=limit))
    meter = Scripted(pipeline, timed)
    assert meter.at_length(pipeline.teacher.model).speedup == taken
    assert meter.asked == [FINAL] * times


@pytest.mark.parametrize(("timed", "times"), [([4.13], 1), ([4.1, 4.2], 2), ([3.6], 1)])
def test_a_candidate_has_to_keep_the_margin(
    make_run: Callable[..., Run], timed: list[float], times: int
) -> None:
    pipeline = Stepwise(make_run(speedup=4))
    meter = Scripted(pipeline, timed)
    candidate = Candidate(pipeline.space.smallest)
    assert meter.of_candidate(candidate).speedup == timed[-1] and meter.asked == [1] * times


def test_of_several_timed_together_only_those_that_just_miss_are_timed_again(
    make_run: Callable[..., Run],
) -> None:
    pipeline = Stepwise(make_run(speedup=4))
    # Four in one go: fast enough, far too slow, and two that just miss, of which one gets there.
    meter = Scripted(pipeline, [4.5, 3.0, 4.1, 4.0, 4.05, 4.2])
    found = meter.of_candidates([Candidate(pipeline.space.smallest)] * 4)
    assert [each.speedup for each in found] == [4.5, 3.0, 4.1, 4.2]
    assert len({each.teacher_latency_ms for each in found[:3]}) == 1


def test_more_than_fit_into_memory_are_timed_in_several_goes(make_run: Callable[..., Run]) -> None:
    pipeline = Stepwise(make_run(speedup="none"))
    found = pipeline.meter.of_candidates([Candidate(pipeline.space.smallest)] * (TOGETHER + 1))
    assert len(found) == TOGETHER + 1
    assert len({each.teacher_latency_ms for each in found[:TOGETHER]}) == 1


@pytest.mark.parametrize("family", ["bart", "t5", "encoder-decoder"])
def test_candidates_write_with_their_teachers_settings(family: str) -> None:
    """What these cost a token, such as a search for repeated words, is not part of a speed-up."""
    teacher = tiny_pair(family)
    teacher.generation_config.update(no_repeat_ngram_size=3, bad_words_ids=[[5], [6]])
    meter = CostMeter(teacher, Settings(latency_length=8))
    shape = teacher_architecture(teacher.config, family_of(family, family))
    student = meter.untrained(Candidate(shape))
    assert student.generation_config == teacher.generation_config
    assert student.generation_config is not teacher.generation_config
    assert rules_of(student) == rules_of(teacher)
