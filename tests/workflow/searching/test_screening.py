"""Candidates that are scored untrained, and what a search makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.stepwise import Stepwise

from kdnas.runs.run_folder import Run
from kdnas.runtime.side_by_side import can_fork
from kdnas.scoring.mini_kd import MiniKD
from kdnas.space import Candidate
from kdnas.workflow.searching.screening import (
    LARGEST,
    _at_random,
    _scored,
    count_screened,
    screened,
)


def test_at_most_two_a_trial_are_screened() -> None:
    assert [count_screened(24, trials) for trials in (1, 5, 12, 100)] == [2, 10, 24, 24]
    assert count_screened(0, 12) == 0


def test_the_best_untrained_students_are_found_once_and_tried_first(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Stepwise(make_run(screen=8, trials=8, alpha=0.0, mini_steps=1))
    prepared, like = pipeline.prepared, Candidate(pipeline.space.teacher)
    likely = [Candidate(pipeline.space.smallest), Candidate(pipeline.space.largest)]
    best = screened(prepared, likely, like, 8)
    assert len(best) == 2 and best[0] != best[1]
    [known] = [p for p in (pipeline.run.folder / "steps").iterdir() if p.stem == "screened"]
    assert known.read_text().count("num_hidden_layers") == 2
    first, second = (pipeline.mini.initial(one) for one in best)
    worst = pipeline.mini.initial(likely[0])
    assert first is not None and second is not None and worst is not None
    assert first >= second > worst, "the smallest of the space inherits least"
    with monkeypatch.context() as patch:
        patch.setattr(MiniKD, "initial", lambda *_: pytest.fail("it is known"))
        assert screened(prepared, likely, like, 8) == best
    pipeline.search()
    tried = [Candidate.from_params(t.params) for t in pipeline.open_study().trials]
    assert len(tried) == 8 and "fixed_params" in pipeline.open_study().trials[0].system_attrs


@pytest.mark.skipif(not can_fork(torch.device("cpu")), reason="processes are not forked")
def test_processes_side_by_side_score_as_one_does(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    def scored(jobs: int) -> list[tuple[Candidate, float]]:
        pipeline = Stepwise(make_run(jobs=jobs, out=tmp_path / str(jobs)))
        like = Candidate(pipeline.space.teacher)
        return _scored(pipeline.prepared, [Candidate(pipeline.space.smallest)], like, 5)

    one, two = scored(1), scored(2)
    assert [candidate for candidate, _ in one] == [candidate for candidate, _ in two]
    assert len(one) == 5
    assert [score for _, score in one] == pytest.approx([score for _, score in two], abs=1e-5)


def test_candidates_that_break_a_limit_are_left_out(make_run: Callable[..., Run]) -> None:
    free = Stepwise(make_run())
    sizes = [
        free.meter.of_candidate(Candidate(a)).params
        for a in (free.space.smallest, free.space.largest)
    ]
    limited = Stepwise(Run(free.run.folder, free.settings.model_copy(
        update={"max_params": sum(sizes) // 2, "screen": 6}
    )))  # fmt: skip
    like = Candidate(free.space.teacher)
    best = screened(limited.prepared, [Candidate(free.space.largest)], like, 12)
    assert best and all(limited.meter.of_candidate(one).params <= sum(sizes) // 2 for one in best)


def test_without_it_nothing_is_scored(make_run: Callable[..., Run]) -> None:
    pipeline = Stepwise(make_run(screen=0))
    assert screened(pipeline.prepared, [], Candidate(pipeline.space.teacher), 12) == []


def test_within_a_limit_on_the_speed_large_shapes_come_first(make_run: Callable[..., Run]) -> None:
    pipeline = Stepwise(make_run(speedup=2.0))
    meter, like = pipeline.meter, Candidate(pipeline.space.teacher)
    found = [meter.teacher_macs / meter.macs_of(one) for one in _at_random(pipeline.prepared, like)]
    large = [share <= LARGEST * 2 for share in found]
    assert min(found) >= 2 and large == sorted(large, reverse=True)
    assert 0 < sum(large) < len(large)
