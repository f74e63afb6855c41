"""What a training that was stopped goes on from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.stepwise import Stepwise

from kdnas.files.artifact import content_of
from kdnas.runs.run_folder import Run
from kdnas.scoring.mini_kd import MiniKD
from kdnas.space import Candidate
from kdnas.workflow.distilling import distil as module
from kdnas.workflow.distilling.distil import distil


def test_a_student_that_was_stopped_behind_mini_kd_goes_on_from_it(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, trained = MiniKD.train, list[str]()

    def counted(self: MiniKD, *given: Any, **options: Any) -> float:
        trained.append(options["title"])
        return short(self, *given, **options)

    def stopped(*given: Any) -> None:
        start = given[-1]
        start()
        raise KeyboardInterrupt

    monkeypatch.setattr(MiniKD, "train", counted)
    prepared = Stepwise(make_run(recipe="states")).prepared
    candidate = Candidate(prepared.inputs.space.architectures[0])
    home = prepared.context.run.folder
    distil(prepared, candidate, None, home / "student")
    whole = content_of(home / "student")
    (home / "student").rename(tmp_path / "whole")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, "run_recipe", stopped)
        distil(prepared, candidate, None, home / "student")
    distil(prepared, candidate, None, home / "student")
    assert trained == ["student", "student"]
    assert content_of(home / "student") == whole
