"""`--no-controls`: the student alone, in half of the time."""

from __future__ import annotations

from pathlib import Path

from conftest import QUICK, Said, flags_of
from support.stepwise import Stepwise

from kdnas import distill, resume, search
from kdnas.files.artifact import content_of
from kdnas.report.model import HAND_PICKED, ON_LABELS
from kdnas.runs.run_folder import Run
from kdnas.study.winner import Winner
from kdnas.workflow.distilling.train_students import controls_of

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
    page = (made.folder / "report.html").read_text(encoding="utf-8")
    assert "No control was trained" in page and "control is" not in page
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


def test_further_seeds_and_another_winner_have_no_controls_either(
    teacher_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    options = {**QUICK, "data_dir": data_folder, "out": tmp_path / "run", "trials": 2}
    options |= {"random_control": "full", "finalists": 1}
    before = search(teacher_folder, "mrpc", **options).report
    later = resume(tmp_path / "run", controls=False, final_seeds=2).report
    assert before is not None and later is not None
    assert {one.name for one in later.controls} == {one.name for one in before.controls}
    assert [one.name for _, one in later.models if one.seeds] == [later.student.name]
    run = Run.open(tmp_path / "run")
    prepared = Stepwise(run).prepared
    known = {one.architecture for _, one in later.models}
    other = next(one for one in prepared.inputs.space.candidates if one.architecture not in known)
    assert controls_of(prepared, Winner(other), run.folder / "student", None, run.folder) == []
