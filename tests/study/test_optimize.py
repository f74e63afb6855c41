"""The search loop in this process, on a small real teacher."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from conftest import QUICK
from optuna.trial import TrialState
from support.stepwise import Stepwise

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.report.trials_table import finished, front, trial_table
from kdnas.runs.run_folder import Run
from kdnas.scoring.mini_kd import MiniKD
from kdnas.scoring.scorer import Budget, Score
from kdnas.space import Candidate
from kdnas.study import optimize
from kdnas.study.attributes import INFEASIBLE, REPEATS
from kdnas.study.samplers.distinct import taken_candidates
from kdnas.study.study import evaluated
from kdnas.study.winner import choose_winner


@pytest.fixture
def pipeline(teacher_folder: Path, data_folder: Path, tmp_path: Path) -> Stepwise:
    settings = Settings(
        teacher=str(teacher_folder),
        task="mrpc",
        data_dir=data_folder,
        out=tmp_path / "run",
        trials=2,
        **QUICK,
    )
    return Stepwise(Run.create(settings))


def more(pipeline: Stepwise, **changes: object) -> Stepwise:
    """The same run with settings that it was not begun with."""
    return Stepwise(Run(pipeline.run.folder, pipeline.settings.model_copy(update=changes)))


def test_a_repeated_architecture_is_told_again_and_not_trained(
    pipeline: Stepwise, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.search()
    study = pipeline.open_study()
    first = evaluated(study)[0]
    study.enqueue_trial(first.params)
    more(pipeline, trials=3).search()
    assert f"trial 2 repeats trial {first.number}" in capsys.readouterr().out
    again = study.trials[2]
    assert again.user_attrs[REPEATS] == first.number and again.value == first.value
    assert again.user_attrs["seconds"] == 0
    assert len(evaluated(study)) == 3 and len(study.trials) == 4
    table = trial_table(study, pipeline.settings)
    assert len(table) == 4 and len(finished(table)) == 3
    assert set(front(table).number) <= set(finished(table).number)


@pytest.mark.slow
def test_limits_that_nobody_keeps_end_the_search(
    pipeline: Stepwise, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(optimize, "MAX_INFEASIBLE", 3)
    monkeypatch.setattr(optimize, "TELL_INFEASIBLE", 4)
    fast = Stepwise(Run(pipeline.run.folder, pipeline.settings.model_copy(update={"speedup": 99})))
    told = r"none of the 6 students tried keeps --speedup 99: the fastest, with [\d,]+ parameters"
    with pytest.raises(KdnasError, match=told):
        fast.search()
    told = r"none of 4 students keeps --speedup 99 so far, the fastest is [\d.]+ times as fast"
    assert re.search(rf"{told} as the teacher; after 6 the search ends", capsys.readouterr().out)
    with pytest.raises(KdnasError, match="none of the 6 students tried keeps the limits"):
        choose_winner(fast.open_study())
    assert all(INFEASIBLE in t.user_attrs for t in fast.open_study().trials)


@pytest.mark.slow
def test_a_search_ends_where_limits_are_kept_no_more(
    pipeline: Stepwise, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(optimize, "MAX_INFEASIBLE", 3)
    smallest = pipeline.space.smallest
    most = pipeline.meter.of_candidate(Candidate(smallest)).params
    limited = pipeline.settings.model_copy(update={"max_params": most, "trials": 7})
    tight = Stepwise(Run(pipeline.run.folder, limited))
    tight.open_study().enqueue_trial(smallest.params)
    tight.search()
    states = [t.state for t in tight.open_study().trials]
    assert 1 <= states.count(TrialState.COMPLETE) < 7
    assert states[-21:] == [TrialState.PRUNED] * 21
    assert "none of the last 21 students tried keeps the limits" in capsys.readouterr().out
    assert choose_winner(tight.open_study())


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_a_failure(
    pipeline: Stepwise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MiniKD, "_scored", lambda *_, **__: (float("nan"), None))
    with pytest.raises(KdnasError, match="3 candidates in a row failed, .* its score is nan"):
        pipeline.search()
    study = pipeline.open_study()
    assert [t.state for t in study.trials] == [TrialState.FAIL] * 3
    once = Candidate.from_params(study.trials[0].params)
    assert once not in taken_candidates(study, pipeline.space)
    study.enqueue_trial(study.trials[0].params)
    with pytest.raises(KdnasError, match="3 candidates in a row failed"):
        pipeline.search()
    assert once in taken_candidates(study, pipeline.space)


@pytest.mark.slow
def test_data_that_changed_are_noticed(pipeline: Stepwise, data_folder: Path) -> None:
    pipeline.search()
    moved = shutil.copytree(data_folder, pipeline.run.folder.parent / "data")
    changed = {"data_dir": moved, "trials": 3}
    run = Run(pipeline.run.folder, pipeline.settings.model_copy(update=changed))
    Stepwise(run).search()
    file = moved / "MRPC" / "dev.tsv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-1]))
    with pytest.raises(KdnasError, match="the validation data changed since .*run began; restore"):
        Stepwise(run).search()


def test_one_storage_holds_one_search_under_a_name(pipeline: Stepwise, tmp_path: Path) -> None:
    shared = {"storage": f"sqlite:///{tmp_path}/shared.db", "out": tmp_path / "a"}
    first = pipeline.settings.model_copy(update=shared)
    Stepwise(Run.create(first)).open_study()
    other = first.model_copy(update={"out": tmp_path / "b", "alpha": -0.5})
    with pytest.raises(
        KdnasError, match=r"another --alpha \(-0.06, not -0.5\); choose another --study"
    ):
        Stepwise(Run.create(other)).open_study()
    same = first.model_copy(update={"out": tmp_path / "c", "trials": 5, "threads": 2})
    assert Stepwise(Run.create(same)).open_study()


def test_an_invalid_enqueued_architecture_fails_alone(pipeline: Stepwise) -> None:
    study = pipeline.open_study()
    study.enqueue_trial({"hidden_size": 7}, skip_if_exists=False)
    pipeline.search()
    assert len(evaluated(study)) == 2
    assert study.trials[0].state == TrialState.FAIL


@pytest.mark.slow
def test_candidates_that_always_fail_end_the_search(
    pipeline: Stepwise, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(self: MiniKD, candidate: Candidate, budget: Budget) -> Score:
        raise RuntimeError("out of memory\nat some line")

    monkeypatch.setattr(MiniKD, "score", explode)
    with pytest.raises(KdnasError, match="3 candidates in a row failed, .* out of memory at some"):
        pipeline.search()
    states = {t.state for t in pipeline.open_study().trials}
    assert states == {TrialState.FAIL}


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("no space left")])
def test_an_interruption_after_a_trial_was_told_leaves_its_result(
    pipeline: Stepwise, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    log, left = Run.log, [error]

    def log_once(self: Run, event: str, **values: object) -> None:
        if event == "trial" and left:
            raise left.pop()
        log(self, event, **values)

    monkeypatch.setattr(Run, "log", log_once)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            pipeline.search()
    pipeline.search()
    states = [t.state for t in pipeline.open_study().trials]
    assert states == [TrialState.COMPLETE] * 2


@pytest.mark.usefixtures("times_by_size")
def test_students_that_are_too_slow_are_not_trained(
    pipeline: Stepwise, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = more(pipeline, speedup=1.6)
    study = slow.open_study()
    study.enqueue_trial(slow.space.teacher.params)
    slow.search()
    assert "too slow for --speedup 1.6" in capsys.readouterr().out
    first = study.trials[0]
    assert first.state == TrialState.PRUNED and "loss" not in first.user_attrs
    assert all(t.user_attrs["speedup"] >= 1.6 for t in evaluated(study))
    assert len(evaluated(study)) == 2


def test_only_students_that_may_win_are_kept(pipeline: Stepwise) -> None:
    more(pipeline, trials=5).search()
    study = pipeline.open_study()
    kept = {int(p.name) for p in (pipeline.run.folder / "trials").iterdir()}
    best = max(evaluated(study), key=lambda t: t.user_attrs["reward"])
    assert kept == set(front(trial_table(study, pipeline.settings)).number) | {best.number}


def test_the_score_is_a_share_of_variance_and_the_teacher_itself_scores_best(
    pipeline: Stepwise,
) -> None:
    same = pipeline.evaluate(Candidate(pipeline.space.teacher), Budget())
    small = pipeline.evaluate(Candidate(pipeline.space.smallest), Budget())
    assert same.score is not None and small.score is not None
    assert 1 >= same.score.value > 0.8 > small.score.value > -0.2
    assert same.attributes["loss"] == 1 - same.attributes["score"]
    assert same.costs.params == pipeline.meter.teacher_params
    assert same.costs.macs == pipeline.meter.teacher_macs


def test_a_budget_of_steps_makes_candidates_cheap(pipeline: Stepwise) -> None:
    curves = []
    for steps in (1, 3):
        brief = more(pipeline, mini_steps=steps)
        assert (
            brief.mini.schedule(5, brief.settings.mini_steps).steps(
                brief.mini.proxy.data.take(brief.mini.proxy.training).lengths
            )
            == steps
        )
        curves.append(brief.scorer.score(Candidate(brief.space.smallest), Budget()).value)
    assert curves[1] > curves[0]
