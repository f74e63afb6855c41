"""The epochs that a budget left are those of all students of the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Said

from kdnas.runs.context import Context, open_context
from kdnas.runs.run_folder import Run
from kdnas.space import Architecture, Candidate
from kdnas.workflow.preparing.epochs_left import STEP, as_trained, share_of
from kdnas.workflow.preparing.records import is_made

STUDENT = Candidate(Architecture(1, 2, 32, 64, "gelu"), "default")


def test_students_have_the_share_that_was_chosen_under_this_budget(
    make_run: Callable[..., Run],
) -> None:
    context = open_context(make_run(budget="1h"))
    assert as_trained(context) is context
    share = share_of(context, STUDENT)
    share.write(0.25)
    found = as_trained(context).settings
    assert found.epochs_share == 0.25
    assert [s.epochs for s in found.full_stages] == [
        s.epochs / 4 for s in context.settings.full_stages
    ]
    later = context.settings.model_copy(update={"budget": "2h"})
    longer = replace(context, settings=later)
    assert as_trained(longer) is longer, "it is chosen anew"
    share.path.write_text("1")
    assert as_trained(context) is context, "damaged"


@pytest.mark.parametrize(
    "change", [{"epochs_share": 0.5}, {"task_epochs": 7.0}, {"recipe": "logits"}]
)
def test_other_epochs_or_another_recipe_have_a_share_of_their_own(
    make_run: Callable[..., Run], change: dict[str, Any]
) -> None:
    run = make_run(budget="1h")
    share_of(open_context(run), STUDENT).write(1.0)  # there was time for all
    assert share_of(open_context(run), STUDENT).done()
    run.save()
    changed = open_context(Run.open(run.folder, **change))
    assert as_trained(changed) is changed
    assert not share_of(changed, STUDENT).done(), "it is chosen anew"
    share_of(changed, STUDENT).write(0.25)
    assert as_trained(changed).settings.epochs_share == 0.25
    assert share_of(changed, STUDENT).done(), "once"


def test_a_share_whose_key_names_no_recipes_is_known_by_the_student(
    finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    context = open_context(Run.open(run))
    other = open_context(Run.open(run, task_epochs=7.0))
    less = open_context(Run.open(run, epochs_share=0.5))
    kept = context.run.step(STEP, {"budget": context.settings.budget, "winner": STUDENT.params})
    for share, fits in ((1.0, True), (0.5, False)):  # the student has all epochs
        kept.write(share)
        assert share_of(context, STUDENT).done() == fits
        for changed in (other, less):
            assert not share_of(changed, STUDENT).done()
            assert as_trained(changed) is changed
    shutil.rmtree(run / "student")
    assert as_trained(context).settings.epochs_share == 0.5, "it was about to be trained"


def test_a_plan_and_another_trial_know_students_of_fewer_epochs(
    command: Said, finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    context: Context = open_context(Run.open(run))
    trial = json.loads((run / "report.json").read_text())["student"]["trial"]
    share_of(context, STUDENT).write(0.5)  # the students have all epochs, so they are others
    assert not is_made(run / "student", as_trained(context).settings)
    for words in (("resume", run), ("distill", run, "--trial", trial)):
        command.all = ""
        assert command(*words, "--dry-run") == (0, "")
        assert "distil the student" in command.all
    share_of(context, STUDENT).write(1.0)
    for words in (("resume", run), ("distill", run, "--trial", trial)):
        command.all = ""
        assert command(*words, "--dry-run") == (0, "")
        assert "distil the student" not in command.all
