"""Latency from the runtime that will serve."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import QUICK
from support.stepwise import Stepwise

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.report.trials_table import trial_table
from kdnas.runs.run_folder import Run
from kdnas.study.attributes import RUNTIME


@pytest.fixture
def begun(teacher_folder: Path, data_folder: Path, tmp_path: Path) -> Run:
    """A search that is timed in ONNX Runtime, with its one trial."""
    settings = Settings(
        teacher=str(teacher_folder),
        task="mrpc",
        data_dir=data_folder,
        out=tmp_path / "run",
        latency_runtime="onnx",
        latency_batch=2,
        trials=1,
        **QUICK,
    )
    run = Run.create(settings)
    Stepwise(run).search()
    return run


def test_trials_say_where_they_were_timed(begun: Run) -> None:
    pipeline = Stepwise(begun)
    trial = pipeline.open_study().trials[0]
    assert trial.user_attrs[RUNTIME].startswith("onnxruntime ")
    assert trial.user_attrs["latency_ms"] > 0 and trial.user_attrs["speedup"] > 0
    assert trial_table(pipeline.open_study(), pipeline.settings)[RUNTIME].tolist() == [
        trial.user_attrs[RUNTIME]
    ]
    with pytest.raises(KdnasError, match="its --latency-runtime is 'onnx', not 'torch'"):
        Run.create(begun.settings.model_copy(update={"latency_runtime": "torch"}))


def test_a_worker_without_the_runtime_is_refused(
    begun: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Run.open(begun.folder, trials=2)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
        with pytest.raises(KdnasError, match=r"--latency-runtime onnx needs .*onnxruntime"):
            Stepwise(opened).search()
    assert len(Stepwise(opened).open_study().trials) == 1
