from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kdnas.config import Settings
from kdnas.runs.run_folder import Run
from kdnas.workflow.inputs import with_length_that_fits


def test_timed_inputs_fit_the_teacher_unless_their_length_was_given(
    tmp_path: Path, make_teacher: Callable[..., Path]
) -> None:
    short = str(make_teacher("roberta", max_position_embeddings=50, pad_token_id=1))
    run = Run.create(with_length_that_fits(Settings(teacher=short, out=tmp_path / "run")))
    assert run.settings.latency_length == 48
    assert Run.open(tmp_path / "run").settings.latency_length == 48
    Run.create(
        with_length_that_fits(Settings(teacher=short, out=tmp_path / "run"))
    )  # the same study
    given = Settings(teacher=short, latency_length=128, out=tmp_path / "other")
    assert Run.create(with_length_that_fits(given)).settings.latency_length == 128
    long = str(make_teacher(max_position_embeddings=200))
    assert (
        Run.create(
            with_length_that_fits(Settings(teacher=long, out=tmp_path / "c"))
        ).settings.latency_length
        == 128
    )
