from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.workflow.preparing import inputs
from kdnas.workflow.preparing.inputs import check_changes, with_latency_input


def test_timed_inputs_fit_the_teacher_unless_their_length_was_given(
    tmp_path: Path, make_teacher: Callable[..., Path]
) -> None:
    short = str(make_teacher("roberta", max_position_embeddings=50, pad_token_id=1))
    run = Run.create(with_latency_input(Settings(teacher=short, out=tmp_path / "run")))
    assert run.settings.latency_length == 48
    assert Run.open(tmp_path / "run").settings.latency_length == 48
    Run.create(with_latency_input(Settings(teacher=short, out=tmp_path / "run")))  # the same study
    given = Settings(teacher=short, latency_length=128, out=tmp_path / "other")
    assert Run.create(with_latency_input(given)).settings.latency_length == 128
    long = str(make_teacher(max_position_embeddings=200))
    cut = Settings(teacher=long, max_length=32, out=tmp_path / "cut")
    assert with_latency_input(cut).latency_length == 32
    assert (
        Run.create(
            with_latency_input(Settings(teacher=long, out=tmp_path / "c"))
        ).settings.latency_length
        == 128
    )


def test_a_gpu_is_timed_with_a_batch_as_one_would_serve_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu: dict[str, Any] = {"out": tmp_path / "run", "device": "cuda"}
    monkeypatch.setattr("kdnas.workflow.preparing.inputs.device_named", torch.device)
    assert with_latency_input(Settings(**gpu)).latency_batch == 32
    assert "latency is measured at batch 32 on cuda" in capsys.readouterr().out
    others: list[dict[str, Any]]
    others = [{"latency_batch": 1}, {"latency_runtime": "onnx"}, {"device": "cpu"}]
    for given in others:
        assert with_latency_input(Settings(**{**gpu, **given})).latency_batch == 1


def test_class_weights_that_candidates_were_scored_with_stay(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short runs that score them learn from weighed labels, whoever trained the teacher."""
    monkeypatch.setattr(inputs, "_depends", lambda context: "the study's candidates were scored")
    monkeypatch.setattr(inputs, "changed_part", lambda *given: "")
    data: Any = None
    weighed = {"class_weights": "balanced"}
    run = make_run(mini_score="agreement")
    with pytest.raises(KdnasError, match="^invalid --class-weights balanced: .* with none already"):
        check_changes(open_context(Run.open(run.folder, **weighed)), data)
    Run(run.folder, run.settings.model_copy(update={"mini_score": "hidden"})).save()
    assert not check_changes(open_context(Run.open(run.folder, **weighed)), data)
