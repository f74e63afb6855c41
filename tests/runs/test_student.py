"""Where a run's students are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdnas.errors import KdnasError
from kdnas.files.artifact import MANIFEST
from kdnas.files.atomic import write_json
from kdnas.runs.student import ASIDE, finished_student, tell_unfinished


def test_a_run_without_a_report_is_said_to_be_unfinished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell_unfinished(tmp_path)
    assert "is not finished: another student may ship in the end" in capsys.readouterr().out
    (tmp_path / "report.json").write_text("{}")
    tell_unfinished(tmp_path)
    assert not capsys.readouterr().out


def test_a_student_that_is_not_there_is_refused_with_the_command_that_makes_it(
    tmp_path: Path,
) -> None:
    with pytest.raises(KdnasError, match=f"make it with `kdnas resume {tmp_path}`"):
        finished_student(tmp_path)
    with pytest.raises(KdnasError, match=f"make it with `kdnas distill {tmp_path} --trial 3`"):
        finished_student(tmp_path, 3)
    with pytest.raises(KdnasError, match="--trial and --student contradict each other"):
        finished_student(tmp_path, 3, "family/2x")
    (tmp_path / "student").mkdir()
    assert finished_student(tmp_path) == tmp_path / "student"


def put(folder: Path, **key: Any) -> Path:
    """A checkpoint of a key."""
    folder.mkdir(parents=True)
    write_json(folder / MANIFEST, {"key": key, "files": {}})
    return folder


def test_the_runs_own_trial_has_its_student(tmp_path: Path) -> None:
    own = put(tmp_path / "student", method="distilled", trial=7)
    assert finished_student(tmp_path, 7) == own
    with pytest.raises(KdnasError, match="trial-3/student does not exist yet"):
        finished_student(tmp_path, 3)
    beside = put(tmp_path / "students" / "trial-7" / "student", method="distilled", trial=7)
    assert finished_student(tmp_path, 7) == beside


@pytest.mark.parametrize("shipped", [("fine-tuned", None), ("distilled", None), ("fine-tuned", 7)])
def test_the_runs_own_trial_has_its_student_where_a_control_ships(
    tmp_path: Path, shipped: tuple[str, int | None]
) -> None:
    method, trial = shipped
    put(tmp_path / "student", method=method, trial=trial)
    aside = put(tmp_path / ASIDE, method="distilled", trial=7)
    assert finished_student(tmp_path, 7) == aside
