"""A search within a time: refused, planned, ended and finished by it."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Said
from optuna.trial import create_trial
from support.stepwise import Stepwise

from kdnas.config.duration import duration, seconds_of
from kdnas.files.artifact import key_of
from kdnas.runs.clock import seconds_before
from kdnas.runs.run_folder import Run
from kdnas.runs.time_budget import TimeBudget
from kdnas.runtime.plan import Plan, Step
from kdnas.study.attributes import UNITS
from kdnas.study.deadline import Deadline
from kdnas.study.study import evaluated
from kdnas.workflow import pipeline
from kdnas.workflow.planning import forecast as of_forecasts
from kdnas.workflow.planning.probe import Speeds
from kdnas.workflow.planning.time_left import within_time
from kdnas.workflow.searching.pacing import deadline_of


def test_too_short_a_time_is_refused_with_one_that_fits(
    command: Said, quick_flags: list[str], tmp_path: Path
) -> None:
    given = ["search", *quick_flags, "--out", tmp_path / "run"]
    code, error = command(*given, "--budget", "1s")
    assert code == 2 and error.count("\n") == 1
    found = re.search(r"invalid --budget 1s: one trial, .* give --budget (\w+) or more", error)
    assert found and not (tmp_path / "run").exists()
    assert command(*given, "--budget", found[1], "--dry-run") == (0, "")
    assert f" of --budget {found[1]}" in command.all and "about 1" in command.all
    assert not (tmp_path / "run").exists()


def test_finish_tries_no_further_candidate(
    command: Said, finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("\ntrials: 2\n", "\ntrials: 9\n"))
    assert "trials: 9" in config.read_text()
    code, error = command("resume", run, "--finish")
    assert code == 0, error
    report = json.loads((run / "report.json").read_text())
    assert report["search"]["trials"] == 2 == report["search"]["random_search"]["evaluated"]
    code, error = command("resume", tmp_path / "none", "--finish")
    assert code == 2 and "does not exist" in error


def test_nothing_to_finish_is_refused(command: Said, make_run: Callable[..., Run]) -> None:
    run = make_run()
    code, error = command("resume", run.folder, "--finish")
    assert code == 2 and "has no finished trial yet to ship; leave --finish out" in error


def test_a_run_that_is_to_end_now_ends_as_planned_however_late_it_is(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = Speeds(*[1e-3] * 4, share=0.5)
    monkeypatch.setattr(of_forecasts, "probe", lambda *_, **__: speeds)
    steps = Stepwise(make_run(budget="1h", finalists=2))
    study, space = steps.open_study(), steps.space
    known = {"params": 9, "macs": 9, "speedup": 2.0, "loss": 0.1, "reward": 1.0, UNITS: 1}
    given: dict[str, Any] = {"distributions": space.distributions, "user_attrs": known}
    for candidate in space.candidates[:2]:
        study.add_trial(create_trial(value=1.0, params=space.params(candidate), **given))
    ready = pipeline._check(steps.context, finish=True, spent=lambda: 3600.0)
    planned = [step.name for step in ready.forecast.plan.steps]
    assert any(name.startswith("control ") for name in planned)
    assert all(map(ready.context.time.affords, planned))


@pytest.mark.slow
def test_workers_stop_when_the_time_of_their_search_is_over(
    make_run: Callable[..., Run],
) -> None:
    steps = Stepwise(make_run(budget="1h"))
    study = steps.open_study()
    Deadline(time.time() - 1, 5, 1.0).write(study)
    steps.work()  # the first candidate is tried in any case
    assert len(evaluated(study)) == 1
    steps.work()
    assert len(evaluated(study)) == 1


def test_the_end_of_a_search_keeps_what_later_steps_need(make_run: Callable[..., Run]) -> None:
    steps = Stepwise(make_run(budget="1000s"))
    study = steps.open_study()
    later = [Step("search", "", {"a": 500.0}), Step("report", "", {"b": 150.0})]
    budget = TimeBudget(1000.0, lambda: 100.0, Plan(later), trial=10.0)
    context = replace(steps.context, time=budget)
    found = deadline_of(context, steps.space, study, 1, control=False)
    assert found.until - time.time() == pytest.approx(1000 - 100 - 50 - 150, abs=2)
    assert found.trials == 70 and found.seconds == 10


def test_time_that_turns_out_free_goes_to_students_left_out_too(
    make_run: Callable[..., Run],
) -> None:
    steps = Stepwise(make_run(budget="1000s"))
    study = steps.open_study()
    left_out = [Step(name, "", {"a": seconds}) for name, seconds in (("a", 300.0), ("b", 40.0))]
    for spent, trials in ((0.0, 61), (400.0, 51)):  # of 950 and 550 seconds
        budget = TimeBudget(1000.0, lambda spent=spent: spent, Plan([]), left_out, trial=10.0)
        context = replace(steps.context, time=budget)
        assert deadline_of(context, steps.space, study, 1, control=False).trials == trials
        assert deadline_of(context, steps.space, study, 1, control=True).trials == round(
            95 - spent / 10
        )


@pytest.mark.slow
def test_a_run_ends_within_its_time_and_counts_what_was_spent(
    command: Said, quick_flags: list[str], tmp_path: Path
) -> None:
    flags = ["off" if word == "search" else word for word in quick_flags]
    out = tmp_path / "run"
    given = ["search", *flags, "--out", out]
    _, error = command(*given, "--budget", "1s")
    found = re.search(r"give --budget (\w+) or more", error)
    assert found
    seconds = seconds_of(found[1])
    code, error = command(*given, "--budget", duration(seconds))
    assert code == 0, error
    report = json.loads((out / "report.json").read_text())
    assert report["search"]["trials"] > 1
    assert 0.3 * seconds < seconds_before(Run.open(out)) < 1.3 * seconds
    before = report["search"]["trials"]
    command.all = ""
    code, error = command("resume", out)  # the same time: it is over
    assert code == 0, error
    assert json.loads((out / "report.json").read_text())["search"]["trials"] == before
    assert "none left to try" in command.all


@pytest.mark.slow
def test_epochs_fit_into_the_time_that_is_left(make_run: Callable[..., Run]) -> None:
    steps = Stepwise(make_run(budget="1h", trials=1))
    steps.search()
    study, prepared = steps.open_study(), steps.prepared
    plan = Plan([Step("distil student", "", {"a": 100.0}, "student")])
    budget = TimeBudget(3600.0, lambda: 3550.0, plan)
    context = replace(prepared.context, time=budget)
    short = within_time(replace(prepared, context=context), study)
    assert short.context.settings.epochs_share == pytest.approx(0.5, abs=0.01)
    ended = replace(prepared, context=replace(context, time=TimeBudget()))
    assert within_time(ended, study).context.settings == short.context.settings, "chosen once"
    full = short.full("default")
    assert [s.epochs for s in full.settings.full_stages] == [
        pytest.approx(0.5 * s.epochs, abs=0.01) for s in steps.settings.full_stages
    ]
    assert key_of(steps.run.folder / "steps" / "epochs-share.json") is not None
