from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import QUICK
from support.stepwise import Stepwise

from kdnas.distillation.losses.base import DistillationLoss
from kdnas.distillation.losses.logits import LogitsLoss, TaskLoss
from kdnas.errors import DivergedError, KdnasError
from kdnas.files.atomic import read_json
from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.space import Architecture, Candidate
from kdnas.space.pruning import Pruning
from kdnas.study.storage import storage_url
from kdnas.study.study import load_control
from kdnas.study.winner import Winner
from kdnas.workflow.another_trial import distil_another
from kdnas.workflow.pipeline import find_student, speedup_asked


@pytest.mark.slow
def test_distil_of_a_search_that_stopped_half_way_runs_no_random_search(
    make_run: Callable[..., Run],
) -> None:
    run = make_run(trials=2, random_control="search")
    steps = Stepwise(run)
    steps.search()
    _, report = distil_another(steps.context, 1, None)
    assert report.student.trial == 1
    assert (run.folder / "students" / "trial-1" / "student" / "model.safetensors").exists()
    assert load_control(storage_url(None, run.folder), run.settings.study, "random") is None


@pytest.mark.slow
def test_a_student_that_diverges_is_not_kept_and_its_training_can_be_changed(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(trials=1, logit_weight=2.0)
    named = r"lower --logit-weight \(2\)"
    explode(monkeypatch, LogitsLoss)
    with pytest.raises(DivergedError, match=f"student: task diverged: the .* is .*; {named}"):
        find_student(open_context(run))
    assert not (run.folder / "student").exists()
    with pytest.raises(DivergedError, match=named):  # nor does a checkpoint hide it
        find_student(open_context(Run.open(run.folder)))
    monkeypatch.undo()
    find_student(open_context(Run.open(run.folder, logit_weight=1.0)))
    first = student_of(run.folder)
    find_student(open_context(Run.open(run.folder)))
    assert student_of(run.folder) == first
    with pytest.raises(KdnasError, match="invalid --teacher-lr 1e-05: the study.s candidates were"):
        find_student(open_context(Run.open(run.folder, teacher_lr=1e-5)))
    with pytest.raises(KdnasError, match="invalid --mini-lr 0.01: the study's candidates were sc"):
        find_student(open_context(Run.open(run.folder, mini_lr=0.01)))
    with pytest.raises(KdnasError, match="begun with --seed 0; it cannot go on with 1"):
        Run.open(run.folder, seed=1)
    report = find_student(open_context(Run.open(run.folder, task_lr=1e-3)))
    assert student_of(run.folder) != first
    assert report.recipe[-1].lr == 1e-3


@pytest.mark.slow
def test_other_class_weights_train_again_where_the_teacher_had_its_head(
    make_run: Callable[..., Run], make_classifier: Callable[..., Path]
) -> None:
    model = str(make_classifier(("not_equivalent", "equivalent")))
    how = {"teacher": model, "teacher_as_is": True, "force": True, "random_control": "off"}
    run = make_run(trials=1, **how)
    find_student(open_context(run))
    first, controls = student_of(run.folder), [*run.folder.glob("controls/*/kdnas.json")]
    find_student(open_context(Run.open(run.folder, class_weights="balanced")))
    assert student_of(run.folder) != first and controls
    for file in (run.folder / "student" / "kdnas.json", *controls):
        recipe = (read_json(file) or {})["key"]["recipe"]
        assert all(stage["class_weights"] == "balanced" for stage in recipe), file


def explode(monkeypatch: pytest.MonkeyPatch, kind: type[DistillationLoss]) -> None:
    """Makes the gradients of a loss overflow."""
    loss = kind.loss
    monkeypatch.setattr(kind, "loss", lambda *given: 1e38 * loss(*given))


def student_of(run: Path) -> object:
    """Sizes and checksums of its files."""
    return (read_json(run / "student" / "kdnas.json") or {})["files"]


def test_a_teacher_that_diverges_is_neither_kept_nor_cached(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))
    explode(monkeypatch, TaskLoss)
    run = make_run(trials=1, teacher_lr=0.5)
    with pytest.raises(DivergedError, match=r"teacher fine-tuning diverged.*--teacher-lr \(0\.5"):
        find_student(open_context(run))
    assert not list(tmp_path.glob("cache/teachers/*/")) and not (run.folder / "teacher").exists()
    monkeypatch.undo()
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))
    steps = Stepwise(Run.open(run.folder, teacher_lr=QUICK.get("teacher_lr", 5e-5)))
    assert steps.teacher.has_head


def test_a_search_asks_for_its_limit_and_prunes_to_more(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    pruned = Pruning("ziplm", speedup=2.16)
    winner = Winner(Candidate(Architecture(2, 2, 16, 32, "gelu"), pruning=pruned))
    searched = {"search_over": "shape,pruning", "speedup": 2.0}
    assert speedup_asked(open_context(make_run(**searched)), winner) == 2.0
    given = {"random_control": "search", "finalists": 3, "screen": 24, "speedup": None}
    family = make_run(**given, pruned="ziplm", speedups=(1.5, 2.16), out=tmp_path / "family")
    assert speedup_asked(open_context(family), winner) == 2.16
