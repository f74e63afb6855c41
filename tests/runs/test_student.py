"""Where a run's students are."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdnas.errors import KdnasError
from kdnas.runs.student import finished_student, tell_unfinished


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
