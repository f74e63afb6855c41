"""`--no-controls`: the student alone, in half of the time."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import QUICK, Said, flags_of

from kdnas import distill, resume, search
from kdnas.config import Settings
from kdnas.files.artifact import content_of
from kdnas.report.model import HAND_PICKED, ON_LABELS

ONE = {k: v for k, v in QUICK.items() if k not in ("random_control", "finalists", "screen")}
SHAPE = {"num_hidden_layers": 2, "hidden_size": 20}


def test_a_given_shape_is_trained_alone_and_its_control_later(
    teacher_folder: Path, data_folder: Path, tmp_path: Path, command: Said
) -> None:
    options = {"teacher": teacher_folder, "task": "mrpc", "data_dir": data_folder, **ONE}
    given = [*flags_of({**options, "architecture": "2x20", "out": tmp_path / "run"})]
    assert command("distill", *given, "--no-controls", "--dry-run")[0] == 0
    assert "distil the student" in command.all and "control" not in command.all
    made = distill(**{**options, "out": tmp_path / "run"}, architecture=SHAPE, controls=False)
    assert made.report is not None and made.report.controls == []
    assert not (made.folder / "controls").exists()
    student = content_of(made.folder / "student")
    later = resume(made.folder, controls=True).report
    assert later is not None and {ON_LABELS} == {one.name for one in later.controls}
    assert content_of(made.folder / "student") == student
    # What was trained before is reported, whatever is trained from now on.
    again = resume(made.folder, controls=False).report
    assert again is not None and again.controls == later.controls


def test_a_search_and_another_trial_train_no_controls(
    teacher_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    options = {**QUICK, "data_dir": data_folder, "out": tmp_path / "run", "trials": 2}
    found = search(teacher_folder, "mrpc", **options, controls=False)
    assert found.report is not None and found.report.controls == []
    other = next(int(n) for n in found.scored["number"] if n != found.report.student.trial)
    assert distill(found.folder, trial=other).report.controls == []
    named = {one.name for one in distill(found.folder, trial=other, controls=True).report.controls}
    assert named == {ON_LABELS, HAND_PICKED}


def test_a_control_that_is_asked_for_contradicts_none() -> None:
    with pytest.raises(ValueError, match="--no-controls and --random-control full contradict"):
        Settings(controls=False, random_control="full")
