"""What a search looks at first, and what it must not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import QUICK
from support.stepwise import Stepwise

from kdnas.config import Settings
from kdnas.runs.run_folder import Run
from kdnas.scoring.costs import MARGIN, margin_of
from kdnas.scoring.limits import Limits
from kdnas.space import Architecture, Candidate, Pruning, SearchSpace
from kdnas.space.derivation import derive_choices
from kdnas.space.known_shapes import hand_picked, known_shapes
from kdnas.study.study import evaluated
from kdnas.study.warm_start import may_begin, warm_start
from kdnas.workflow.searching.hand_picked import first_picks, pick_by_hand


@pytest.fixture
def run(teacher_folder: Path, data_folder: Path, tmp_path: Path) -> Run:
    given = {"teacher": str(teacher_folder), "task": "mrpc", "data_dir": data_folder}
    return Run.create(Settings(**given, **QUICK, out=tmp_path / "run", trials=8))


def changed(run: Run, **changes: object) -> Stepwise:
    return Stepwise(Run(run.folder, run.settings.model_copy(update=changes)))


def test_known_shapes_of_bert_base() -> None:
    teacher = Architecture(12, 12, 768, 3072, "gelu")
    space = SearchSpace(teacher, derive_choices(teacher))
    first = known_shapes(space)
    assert first[0] == Architecture(6, 12, 768, 3072, "gelu")  # DistilBERT
    assert (
        Architecture(4, 12, 288, 1536, "gelu") in first
        or Architecture(4, 12, 288, 768, "gelu") in first
    )  # TinyBERT4, as near as the space has it
    assert space.smallest in first and space.largest in first
    assert len(set(first)) == len(first) and set(first) <= set(space.architectures)


def test_an_eighth_of_the_trials_at_most_and_only_once(run: Run) -> None:
    pipeline = Stepwise(run)
    study = pipeline.open_study()
    warm_start(study, pipeline.space, pipeline.settings, pipeline.meter)
    warm_start(study, pipeline.space, pipeline.settings, pipeline.meter)
    queued = [t.system_attrs["fixed_params"] for t in study.trials]
    assert queued == [a.params for a in known_shapes(pipeline.space)[:1]]


@pytest.mark.parametrize("trials", [1, 6])
def test_a_short_search_begins_with_a_published_shape(run: Run, trials: int) -> None:
    pipeline = changed(run, trials=trials)
    space = pipeline.space
    assert queued(pipeline, [], space) == [Candidate(known_shapes(space)[0])]


def test_a_kill_while_candidates_are_queued_loses_none_of_them(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = changed(run, trials=40)
    study = pipeline.open_study()
    queue, queued = study.enqueue_trial, list[dict[str, Any]]()

    def killed(params: dict[str, Any], **given: Any) -> None:
        if len(queued) == 2:
            raise KeyboardInterrupt
        queue(params, **given)
        queued.append(params)

    monkeypatch.setattr(study, "enqueue_trial", killed)
    with pytest.raises(KeyboardInterrupt):
        warm_start(study, pipeline.space, pipeline.settings, pipeline.meter)
    again = pipeline.open_study()
    for _ in range(2):
        warm_start(again, pipeline.space, pipeline.settings, pipeline.meter)
        found = [t.system_attrs["fixed_params"] for t in again.trials]
        assert found == [a.params for a in known_shapes(pipeline.space)[:5]]
    assert not may_begin(again)


def test_a_study_whose_trials_have_begun_is_left_as_it_is(run: Run) -> None:
    pipeline = Stepwise(run)
    study = pipeline.open_study()  # by an earlier kdnas, which set no mark
    study.enqueue_trial(pipeline.space.params(pipeline.space.candidates[0]))
    assert may_begin(study)
    study.ask(pipeline.space.distributions)
    assert not may_begin(study)
    warm_start(study, pipeline.space, pipeline.settings, pipeline.meter)
    assert len(study.trials) == 1


def test_shapes_beyond_the_limits_are_left_out(run: Run) -> None:
    free = Stepwise(run)
    least = free.meter.of_candidate(Candidate(free.space.smallest))
    pipeline = changed(run, max_params=least.params, trials=40)
    study = pipeline.open_study()
    warm_start(study, pipeline.space, pipeline.settings, pipeline.meter)
    queued = [Architecture(**t.system_attrs["fixed_params"]) for t in study.trials]
    assert queued and {(a.hidden_size, a.num_hidden_layers) for a in queued} == {
        (free.space.smallest.hidden_size, free.space.smallest.num_hidden_layers)
    }


def test_violations_are_shares_of_the_limit() -> None:
    limits = Limits(speedup=2, max_params=1000)
    assert limits.violations(4.12, 500) == pytest.approx(
        {"speedup": MARGIN * 2 / 4.12 - 1, "params": -0.5}
    )
    assert limits.violations(2.0, 1500)["params"] == 0.5
    assert limits.violations(2.0, 1500)["speedup"] > 0
    assert Limits().violations(1.0, 10) == {}


@pytest.mark.slow
def test_students_that_are_too_large_are_not_trained(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    free = Stepwise(run)
    sizes = [free.meter.of_candidate(Candidate(a)).params
             for a in (free.space.smallest, free.space.largest)]  # fmt: skip
    limit = sum(sizes) // 2
    pipeline = changed(run, max_params=limit, trials=2)
    study = pipeline.open_study()
    study.enqueue_trial(pipeline.space.largest.params)
    pipeline.search()
    assert f"too large for --max-params {limit:,}" in capsys.readouterr().out
    first = study.trials[0]
    assert "loss" not in first.user_attrs and first.constraints["params"] > 0
    assert all(t.user_attrs["params"] <= limit for t in evaluated(study))
    assert all(t.constraints["params"] <= 0 for t in evaluated(study))


def queued(pipeline: Stepwise, picked: list[Candidate], space: SearchSpace) -> list[Candidate]:
    study = optuna.create_study()
    warm_start(study, space, pipeline.settings, pipeline.meter, picked)
    return [space.candidate(t.system_attrs["fixed_params"]) for t in study.trials]


def test_picks_come_before_published_shapes_and_leave_half_of_the_trials(run: Run) -> None:
    free = Stepwise(run)
    like, plain = Candidate(free.space.teacher), free.space
    picked = [replace(like, architecture=hand_picked(plain, None, d)[0]) for d in (1 / 2, 1 / 3, 1)]
    assert [c.architecture.num_hidden_layers for c in picked] == [2, 1, 3]
    limited = changed(run, speedup=1.0, trials=40)
    limited.__dict__["prepared"] = free.prepared
    found = queued(limited, picked, plain)
    assert found[:3] == picked and len(found) == 40 // 8
    assert {c.architecture for c in found[3:]} <= set(known_shapes(plain))
    limited.run.settings = limited.settings.model_copy(update={"trials": 4})
    assert queued(limited, picked, plain) == picked[:2]


def test_the_best_guess_is_tried_with_each_recipe_and_vocabulary(run: Run) -> None:
    pipeline = changed(run, trials=12)
    space = pipeline.space.with_recipes(["logits", "default", "pkd"])
    space = space.with_vocabularies(["teacher", "task"])
    first = Candidate(known_shapes(space)[0])
    assert queued(pipeline, [], space) == [
        first,
        replace(first, recipe="logits"),
        replace(first, recipe="pkd"),
        replace(first, vocabulary="task"),
    ]


def test_the_widest_student_without_layers_is_tried_by_each_recipe_for_them(run: Run) -> None:
    pipeline = changed(run, trials=12)
    space = pipeline.space.with_recipes(["default", "logits"], static=["static", "own"])
    first, widest = Candidate(known_shapes(space)[0]), space.statics[-1]
    static = [Candidate(widest, "static"), Candidate(widest, "own")]
    assert queued(pipeline, [first], space) == [first, *static, replace(first, recipe="logits")]
    small = pipeline.meter.of_candidate(Candidate(space.statics[0], "static")).params
    pipeline.run.settings = pipeline.settings.model_copy(update={"max_params": small})
    narrow = [replace(one, architecture=space.statics[0]) for one in static]
    assert queued(pipeline, [], space)[:2] == narrow


def test_a_pruned_student_is_always_tried_early(run: Run) -> None:
    pipeline = changed(run, trials=12)
    prunings = [Pruning("ziplm", sparsity=one) for one in (0.3, 0.5, 0.8)]
    space = pipeline.space.with_recipes(["default", "logits"], static=["static"])
    space = space.with_prunings(prunings)
    shapes = [Candidate(shape) for shape in known_shapes(space)]
    middle = Candidate(space.teacher, pruning=prunings[1])
    for picked in ([], shapes[:1], shapes[:3]):  # without and with screening
        found = queued(pipeline, picked, space)
        assert found[: len(picked[:1]) + 1] == [*picked[:1], middle]
        assert [one for one in found if one.pruning] == [middle]
        assert {one.recipe for one in found} == {"default", "logits", "static"}
    pipeline.run.settings = pipeline.settings.model_copy(update={"trials": 3})
    assert queued(pipeline, [], space)[0] == middle
    assert queued(pipeline, shapes[:3], space) == [shapes[0], middle]
    to_limit = [Pruning("ziplm", speedup=8.64, layers=n) for n in (0, 2)]
    pipeline.run.settings = pipeline.settings.model_copy(update={"trials": 12})
    pruned = [replace(middle, pruning=one) for one in to_limit]
    limited = pipeline.space.with_prunings(to_limit)
    assert queued(pipeline, shapes[:1], limited) == [shapes[0], *pruned]


@pytest.mark.slow
@pytest.mark.usefixtures("thread_clock")
def test_within_limits_the_first_trials_are_what_a_person_would_pick(run: Run) -> None:
    pipeline = changed(run, speedup=1.05, trials=8)  # half of them may be picks: one of each depth
    pipeline.search()
    space, like = pipeline.space, Candidate(pipeline.space.teacher)
    picked = first_picks(pipeline.prepared, like)
    assert 1 < len(picked) <= 4
    trials = pipeline.open_study().trials
    assert all("fixed_params" in t.system_attrs for t in trials[: len(picked)])
    assert [t.params for t in trials[: len(picked)]] == [space.params(one) for one in picked]
    limits, meter = Limits(speedup=1.05), pipeline.meter
    for one in picked:
        assert limits.keeps(meter.of_candidate(one).speedup / 0.8, 0)  # timings are noisy
    # The control as fast as some student comes from the same shapes.
    near = pick_by_hand(pipeline.prepared, like, float(trials[0].user_attrs["speedup"]))
    assert picked[0] in near and {c.architecture for c in near} == set(hand_picked(space)) - {
        space.teacher
    }


def test_the_limit_of_a_family_is_what_its_student_is_pruned_to() -> None:
    of_family, last = Settings(pruned="ziplm", speedups=(2, 4, 8)), Pruning("ziplm", speedup=8.0)
    assert Limits.of(of_family, last) == Limits(speedup=8.0)
    assert not Limits.of(of_family) and not Limits.of(Settings(), Pruning("ziplm", sparsity=0.5))
    assert Limits.of(Settings(speedup=4), Pruning("ziplm", speedup=4.32)) == Limits(speedup=4.0)


def test_what_is_pruned_to_a_speed_up_has_no_margin() -> None:
    limits, pruned = Limits(speedup=4.0), Pruning("ziplm", speedup=4.32)
    assert limits.violations(4.05, 500)["speedup"] > 0
    assert limits.violations(4.05, 500, pruned)["speedup"] <= 0
    assert limits.violations(3.99, 500, pruned)["speedup"] > 0
    assert margin_of(Pruning("ziplm", sparsity=0.5), 4.0) == margin_of(Pruning(), 4.0) == MARGIN
    assert margin_of(pruned, 4.4) == MARGIN  # it was pruned to less
