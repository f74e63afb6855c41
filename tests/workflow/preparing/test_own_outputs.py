"""What students learn from where their teacher knows the rows by heart."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK, Said
from support.stepwise import Stepwise
from support.tiny_writers import save_captions, save_writer

from kdnas.config import load_settings
from kdnas.distillation.training import logits_of
from kdnas.errors import KdnasError
from kdnas.recipes.full import stage_data, state_key, transfer_file
from kdnas.recipes.stages import reads_own_outputs
from kdnas.runs.run_folder import Run
from kdnas.space import Candidate
from kdnas.students import build_student
from kdnas.students.state import StudentState
from kdnas.workflow.planning.estimate import Estimate
from kdnas.workflow.planning.probe import Speeds
from kdnas.workflow.preparing.inputs import check_changes
from kdnas.workflow.preparing.own_outputs import STEP, teachers_left

OF_SEARCHES = ("random_control", "finalists", "screen", "speedup", "epochs", "task_epochs")
SPEEDS = Speeds(teacher_step=1.0, student_step=0.25, token=0.0, latency=0.0, share=0.0)


@pytest.fixture
def make(
    teacher_folder: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Stepwise]:
    """Makes a run of one small student."""
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))

    def made(name: str, **changes: Any) -> Stepwise:
        given = {name: value for name, value in QUICK.items() if name not in OF_SEARCHES}
        given |= {"teacher": str(teacher_folder), "task": "mrpc", "data_dir": data_folder}
        given |= {"architecture": "1x16", "recipe": "logits", "out": tmp_path / name}
        return Stepwise(Run.create(load_settings(None, given | changes)))

    return made


def test_students_learn_from_other_teachers_on_their_own_rows(
    make: Callable[..., Stepwise],
) -> None:
    steps, usual = make("folds", teacher_folds=3), make("usual")
    assert teachers_left(steps.context, steps.inputs) == 3
    candidate = Candidate(steps.space.architectures[0])
    found, logits = [], []
    for one in (steps, usual):
        stage = one.full.settings.full_stages[-1]
        data = stage_data(one.full, stage, one.mini.start(candidate))
        found.append(data.logits(one.runtime))
        logits.append(one.full.resources.outputs)
        key = state_key(one.full, candidate, [stage])
        assert key.get("teacher_folds") == (3 if one is steps else None)
    assert logits[1] is None and torch.equal(found[0], logits[0])
    assert found[0].shape == found[1].shape and not torch.allclose(*found, atol=1e-4)
    assert STEP in steps.run.seconds() and STEP not in usual.run.seconds()
    assert teachers_left(steps.context, steps.inputs) == 0


def test_the_file_of_the_transfer_set_has_what_the_teacher_itself_says(
    make: Callable[..., Stepwise],
) -> None:
    steps = make("folds", teacher_folds=2, recipe="transfer", transfer_rows=250)
    stage = next(one for one in steps.full.settings.full_stages if reads_own_outputs(one))
    assert stage.data == "transfer"
    student = build_student(steps.teacher.model, steps.space.architectures[0])
    data = stage_data(steps.full, stage, StudentState(student))
    with gzip.open(transfer_file(steps.full), "rt") as file:
        kept = torch.tensor([json.loads(line)["logits"] for line in file])
    said = logits_of(steps.teacher.model, data.data, steps.runtime, pad_id=data.teacher.pad_id)
    torch.testing.assert_close(kept, said, atol=1e-4, rtol=2e-3)  # stores have half precision
    outputs = steps.full.resources.outputs
    assert outputs is not None and not torch.allclose(kept[: len(outputs)], outputs, atol=1e-3)


@pytest.mark.parametrize("changes", [{"recipe": "labels"}, {"teacher_as_is": True}])
def test_none_are_trained_where_nothing_reads_them_or_the_teacher_stays(
    make: Callable[..., Stepwise], changes: dict[str, Any]
) -> None:
    steps = make("one", teacher_folds=3, **changes)
    assert teachers_left(steps.context, steps.inputs) == 0
    if "recipe" in changes:
        assert steps.full.resources.outputs is None


def test_a_plan_counts_the_teachers_that_are_to_be_trained(make: Callable[..., Stepwise]) -> None:
    steps = make("planned", teacher_folds=4, teacher_epochs=2)
    for left, parts in ((4, [1, 2, 3, 4]), (1, [4]), (0, [])):
        estimate = Estimate(steps.context, steps.inputs, SPEEDS, folds=left)
        planned = estimate.recipe(signal=True)
        names = [f"teacher without part {part}" for part in parts]
        assert [name for name in planned if name.startswith("teacher without")] == names
    whole = Estimate(steps.context, steps.inputs, replace(SPEEDS, student_step=1.0, share=1.0))
    each = Estimate(steps.context, steps.inputs, SPEEDS, folds=1).recipe(signal=True)[names_of(4)]
    assert each == pytest.approx(0.75 * sum(whole.teacher().values()), rel=0.1)
    assert names_of(1) not in estimate.recipe(signal=False)


def names_of(part: int) -> str:
    return f"teacher without part {part}"


def test_a_teacher_that_writes_has_none(command: Said, tmp_path: Path) -> None:
    save_captions(tmp_path)
    teacher, task = save_writer(tmp_path / "teacher"), tmp_path / "captions.yaml"
    given = ("distill", "--teacher", teacher, "--task", task, "--data-dir", tmp_path)
    code, _ = command(*given, "--architecture", "1+1x16", "--teacher-folds", 3, "--dry-run")
    told = "invalid --teacher-folds 3: not supported for teachers that write texts; leave it out"
    assert code == 2 and told in command.all


def test_the_number_of_teachers_may_change_once_candidates_are_scored(
    make: Callable[..., Stepwise],
) -> None:
    before = make("changed")
    before.run.save()
    candidate = Candidate(before.space.architectures[0])
    before.distil(candidate.architecture, None, before.run.folder / "student")
    changed = before.settings.model_copy(update={"teacher_folds": 2})
    steps = Stepwise(Run(before.run.folder, changed))
    assert not check_changes(steps.context, steps.data)
    with pytest.raises(KdnasError, match="invalid --batch-size"):
        other = Stepwise(Run(before.run.folder, changed.model_copy(update={"batch_size": 3})))
        check_changes(other.context, other.data)
