"""Data that change between two sessions: the teacher is made again, or the data are refused."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from conftest import QUICK
from support.stepwise import Stepwise

from kdnas.config import Settings
from kdnas.distillation.training import predict
from kdnas.errors import KdnasError
from kdnas.files.artifact import content_of, manifest_of
from kdnas.files.atomic import read_json
from kdnas.recipes import full
from kdnas.recipes.run_data import prepare_data
from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.runtime.plan import Plan
from kdnas.scoring.mini_kd import MiniKD
from kdnas.study.attributes import FINGERPRINTS
from kdnas.tasks.sampling import stratified_sample
from kdnas.teachers.load import load_parts, teacher_source
from kdnas.workflow.distilling import distil
from kdnas.workflow.pipeline import find_student, plan_search, work_on_study
from kdnas.workflow.planning.forecast import Forecast
from kdnas.workflow.preparing import prepare
from kdnas.workflow.preparing.early import task_data
from kdnas.workflow.preparing.inputs import check_same_data, read_inputs
from kdnas.workflow.searching.search import finish_search

CHANGED = "data changed since"
SCORED = {
    **{"loss": 0.5, "reward": 0.5, "speedup": 2.0, "params": 1, "macs": 1, "seconds": 1.0},
    **{"latency_ms": 1.0, "latency_iqr_ms": 0.1, "teacher_latency_ms": 2.0},
}
OF_A_SEARCH = ("random_control", "finalists", "screen", "mini_epochs")


class StoppedError(Exception):
    """As by Ctrl-C."""


def interrupt(*_: object, **__: object) -> None:
    raise StoppedError


def go_on(run: Run, **changes: Any) -> None:
    """Another session of a run, which is interrupted."""
    with pytest.raises(StoppedError):
        find_student(open_context(Run.open(run.folder, **changes)))


def flip(file: Path) -> None:
    """Turns the labels of MRPC the other way round."""
    head, *lines = file.read_text().splitlines()
    turned = [f"{1 - int(line[0])}{line[1:]}" for line in lines]
    file.write_text("\n".join([head, *turned]) + "\n")


@pytest.fixture(autouse=True)
def unplanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions begin at once: nothing is timed for a plan."""
    facts: Any = None
    empty = Forecast(facts, Plan([]), [])
    monkeypatch.setattr("kdnas.workflow.pipeline.forecast", lambda *_, **__: empty)


@pytest.fixture
def rows(data_folder: Path, tmp_path: Path) -> Path:
    """A copy of MRPC that a test may change."""
    return Path(shutil.copytree(data_folder / "MRPC", tmp_path / "data" / "MRPC"))


@pytest.fixture
def make_one(teacher_folder: Path, data_folder: Path, tmp_path: Path) -> Callable[..., Run]:
    """Makes a run of one student of a given shape."""

    def make(**changes: Any) -> Run:
        given: dict[str, Any] = {"teacher": str(teacher_folder), "task": "mrpc", **QUICK}
        given |= {"data_dir": data_folder, "out": tmp_path / "run", "architecture": "1x16"}
        left_out = {*OF_A_SEARCH, *(("epochs", "task_epochs") if "stages" in changes else ())}
        kept = {name: value for name, value in given.items() if name not in left_out}
        return Run.create(Settings(**{**kept, **changes}))

    return make


def test_the_teacher_of_mended_data_is_trained_and_scored_again(
    rows: Path,
    make_one: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(prepare, "prepare_mini_kd", interrupt)  # the teacher has its scores
    run = make_one(data_dir=rows.parent)
    teacher, scores = run.folder / "teacher", run.folder / "steps" / "evaluate-teacher.json"
    go_on(run)
    before, said = content_of(teacher), read_json(scores)
    for name in ("train", "dev"):
        flip(rows / f"{name}.tsv")
    plan_search(open_context(Run.open(run.folder)))
    assert read_json(scores) == said and content_of(teacher) == before  # a plan changes nothing
    capsys.readouterr()
    go_on(run)
    told = " ".join(capsys.readouterr().out.split())
    assert f"the train {CHANGED} {run.folder} began: its teacher is prepared and scored" in told
    steps, now = Stepwise(Run.open(run.folder)), read_json(scores)
    labels = steps.data.evaluation["validation"].labels
    assert labels is not None and now["rows"]["validation"]["truth"] == labels.tolist()
    assert now["scores"] == steps.score(steps.teacher.model) and content_of(teacher) != before
    # A run that was begun before there was a record has none: its teacher stays.
    trained, record = (teacher / "model.safetensors").stat(), run.folder / "steps" / "data.json"
    for file in (record, manifest_of(record)):
        file.unlink()
    go_on(run)
    assert CHANGED not in capsys.readouterr().out and read_json(scores) == now and record.exists()
    assert (teacher / "model.safetensors").stat().st_mtime_ns == trained.st_mtime_ns


def test_a_search_that_has_begun_refuses_other_data(
    rows: Path, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdnas.workflow.pipeline.prepare", interrupt)
    steps = Stepwise(make_run(data_dir=rows.parent))
    check_same_data(steps.context, steps.data)
    study = steps.open_study()
    flip(rows / "dev.tsv")
    old = pytest.raises(KdnasError, match=f"the validation {CHANGED} .*run began; restore the old")
    with old:  # a worker may not train this run's teacher again
        work_on_study(open_context(Run.open(steps.run.folder)), check=False)
    go_on(steps.run)
    study.set_user_attr(FINGERPRINTS, {"source": "a", "tuned": "b"})
    flip(rows / "dev.tsv")
    with old:
        find_student(open_context(Run.open(steps.run.folder)))


@pytest.mark.parametrize("changes", [{"fine_tune": True}, {"teacher_epochs": 1.0}])
def test_a_search_without_a_scored_candidate_goes_on_with_another_teacher(
    make_run: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
) -> None:
    run = make_run()
    if "fine_tune" in changes:  # of a teacher that has its head
        with monkeypatch.context() as patched:
            patched.setattr(prepare, "prepare_mini_kd", interrupt)
            go_on(run)
        own = {"teacher": str(run.folder / "teacher"), "out": tmp_path / "with-head"}
        run = Run.create(run.settings.model_copy(update=own))
    monkeypatch.setattr("kdnas.workflow.searching.search._optimize", interrupt)  # no trial yet
    go_on(run)
    study = Stepwise(run).open_study()
    before = study.user_attrs[FINGERPRINTS]
    for again in (changes, {}):
        go_on(run, **again)
        now = study.user_attrs[FINGERPRINTS]
        assert now["source"] == before["source"] and now["tuned"] != before["tuned"]


@pytest.mark.parametrize("finish", [False, True])
def test_a_search_with_a_scored_candidate_refuses_other_data(
    rows: Path, make_run: Callable[..., Run], finish: bool
) -> None:
    steps = Stepwise(make_run(data_dir=rows.parent, trials=1))
    check_same_data(steps.context, steps.data)
    study = steps.open_study()
    spaces, best = steps.space.distributions, steps.space.candidates[0].params
    known = {"params": {name: best[name] for name in spaces}, "distributions": spaces}
    study.add_trial(optuna.create_trial(**known, value=0.5, user_attrs=SCORED))
    flip(rows / "dev.tsv")
    old = pytest.raises(KdnasError, match=f"the validation {CHANGED} .*run began; restore the old")
    again = Stepwise(Run.open(steps.run.folder))
    with old:
        find_student(again.context, finish=finish)
    prepared: Any = SimpleNamespace(context=again.context, inputs=again.inputs)
    with old:
        finish_search(prepared, study)


def test_a_run_keeps_the_rows_that_it_drew_before_a_rare_class_had_one(
    rows: Path, make_run: Callable[..., Run]
) -> None:
    file = rows / "train.tsv"
    head, *lines = file.read_text().splitlines()
    few = [f"{int(i == 3)}{line[1:]}" for i, line in enumerate(lines)]
    file.write_text("\n".join([head, *few]) + "\n")
    run = make_run(data_dir=rows.parent, max_train_rows=40)
    context = open_context(run)
    now = read_inputs(context).data
    task, parts = task_data(run.settings), load_parts(teacher_source(run.settings.base))
    before = prepare_data(task, run.settings, parts[1], parts[0], stratified_sample)
    assert [{*map(int, data.examples.labels)} for data in (now, before)] == [{0, 1}, {0}]
    check_same_data(context, before)
    again = read_inputs(context).data
    assert again.train.fingerprint() == before.train.fingerprint()
    check_same_data(context, again)
    flip(file)
    with pytest.raises(KdnasError, match=f"the train {CHANGED}"):
        check_same_data(context, read_inputs(context).data)


def test_the_transfer_set_holds_the_logits_of_the_teacher_that_replaced_another(
    make_one: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full, "train_by_stage", interrupt)  # the file is written
    stage = {"name": "a", "data": "transfer", "losses": {"logits": 1}, "epochs": 1, "lr": 1e-3}
    run = make_one(stages=[stage], transfer_rows=250)
    go_on(run)
    go_on(run, teacher_epochs=1.0)
    steps = Stepwise(Run.open(run.folder))
    lines = gzip.decompress((run.folder / "transfer.jsonl.gz").read_bytes()).splitlines()
    kept = np.array([json.loads(line)["logits"] for line in lines])
    own = steps.full.resources.transfer_rows
    assert own is not None
    theirs = predict(steps.teacher.model, own, steps.runtime, pad_id=steps.teacher.pad_id).numpy()
    assert np.allclose(kept, theirs, atol=1e-5)


def test_a_teacher_that_was_replaced_leaves_nothing_that_students_learnt_of_it(
    make_one: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_one(recipe="states")
    with monkeypatch.context() as patched:
        patched.setattr(full, "train_by_stage", interrupt)  # behind mini-KD
        go_on(run)
    assert [*run.folder.glob("work/**/mini-KD")]
    with monkeypatch.context() as patched:
        patched.setattr(distil, "after_mini_kd", interrupt)
        go_on(run, teacher_epochs=1.0)
    assert not [*run.folder.glob("work/**/*")]


def test_a_short_training_with_other_settings_is_done_again(
    make_one: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    train, trained = MiniKD.train, list[float]()

    def noted(mini: MiniKD, *args: Any, **named: Any) -> float:
        trained.append(mini.settings.mini_epochs)
        return train(mini, *args, **named)

    monkeypatch.setattr(MiniKD, "train", noted)
    monkeypatch.setattr(full, "train_by_stage", interrupt)  # behind mini-KD
    run = make_one(recipe="states", mini_epochs=0.25)
    for changes in ({}, {"mini_epochs": 0.5}, {"mini_epochs": 0.5}):
        go_on(run, **changes)
    assert trained == [0.25, 0.5]
