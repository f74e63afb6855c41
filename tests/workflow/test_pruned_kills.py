"""A pruned student with assistants, killed between its steps, is the same in the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import QUICK, flags_of
from support.processes import kdnas_child

from kdnas.workflow.distilling.choose import GIVEN_ASIDE

ONE = {k: v for k, v in QUICK.items() if k not in ("random_control", "finalists", "screen")}
FIRST, SECOND = "assistants/assistant-ziplm-25", "assistants/assistant-ziplm-25-50"
# What is there when it is killed: importance, pruning, each assistant, the student's first stage.
MOMENTS = (
    "pruning/ziplm.safetensors",
    "pruning/shape-ziplm-75%.json",
    "work/assistant-ziplm-25",
    FIRST,
    "work/assistant-ziplm-25-50",
    SECOND,
    "work/student/*/relations",
    "controls/without-assistants",
)


def weights(run: Path) -> dict[str, bytes]:
    """Those of all that was trained for the student."""
    own = run / GIVEN_ASIDE if (run / GIVEN_ASIDE).exists() else run / "student"
    folders = {"student": own, "first": run / FIRST, "second": run / SECOND}
    return {name: (at / "model.safetensors").read_bytes() for name, at in folders.items()}


@pytest.mark.slow
def test_kills_between_steps_change_nothing(
    tmp_path: Path, teacher_folder: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {**ONE, "teacher": teacher_folder, "task": "mrpc", "data_dir": data_folder}
    given |= {"pruned": "ziplm", "sparsity": 0.75, "assistants": "0.25,0.5"}

    def found(run: Path, pattern: str) -> Callable[[], bool]:
        return lambda: any(run.glob(pattern))

    runs, kills = {}, 0
    for name, moments in (("whole", ()), ("killed", MOMENTS)):
        run = runs[name] = tmp_path / name
        monkeypatch.setitem(os.environ, "KDNAS_CACHE", str(tmp_path / f"{name}-cache"))
        for moment in moments:
            if list(run.glob(moment)):  # the last kill came late
                continue
            child = kdnas_child("distill", *flags_of({**given, "out": run}))
            child.wait_until(found(run, moment))
            child.kill()
            kills += child.wait() == -9
        child = kdnas_child("distill", *flags_of({**given, "out": run}))
        assert child.wait(400) == 0, child.output
    assert kills > len(MOMENTS) / 2
    assert weights(runs["killed"]) == weights(runs["whole"])
