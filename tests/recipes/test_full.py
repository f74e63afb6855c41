"""Stages: general students are made once, killed runs go on, losses are what a stage says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK, small_config, small_tokenizer
from support.stepwise import Stepwise
from transformers import AutoModelForMaskedLM

from kdnas.config import Settings, validated
from kdnas.config.recipe import Stage
from kdnas.distillation import training as core
from kdnas.distillation.losses.hidden import HiddenLoss
from kdnas.errors import KdnasError
from kdnas.files.cache import cache_folder
from kdnas.recipes.full import (
    _initialiser,
    _with_task_head,
    general_student,
    run_recipe,
    stage_on_labels,
)
from kdnas.runs.run_folder import Run
from kdnas.space import Architecture
from kdnas.space.candidate import Candidate
from kdnas.students import build_student
from kdnas.students.state import StudentState

SMALL = Architecture(2, 2, 16, 32, "gelu")
GENERAL = {"name": "general", "data": "corpus", "losses": {"hidden": 1}, "epochs": 1, "lr": 1e-3}
TRANSFER = {
    "name": "transfer",
    "data": "transfer",
    "losses": {"task": 1, "logits": 1, "hidden": [1, 0.5]},
    "epochs": 0.5,
    "lr": 1e-3,
}
PLAIN = {k: v for k, v in QUICK.items() if k not in ("epochs", "task_epochs")}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "corpus.txt"
    words = ["good", "bad", "dull", "bright", "slow", "quick"]
    lines = [f"the {a} {b} cat sees a {c} dog" for a in words for b in words for c in words]
    file.write_text("\n".join(lines))
    return file


@pytest.fixture
def make(
    teacher_folder: Path,
    data_folder: Path,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Stepwise]:
    """Makes a pipeline on the small teacher, with a cache of the test's own."""
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))

    def pipeline(name: str, **changes: Any) -> Stepwise:
        settings = {
            **PLAIN,
            "teacher": str(teacher_folder),
            "task": "mrpc",
            "data_dir": str(data_folder),
            "corpus": str(corpus),
            "transfer_rows": 300,
            "out": str(tmp_path / name),
            **changes,
        }
        return Stepwise(Run.create(validated(settings)))

    return pipeline


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of all trainings."""
    titles: list[str] = []

    def watched(*args: Any, title: str = "", **options: Any) -> Any:
        titles.append(title)
        return core.train(*args, title=title, **options)

    monkeypatch.setattr("kdnas.recipes.training.train", watched)
    return titles


def weights(pipeline: Stepwise, work: str = "work") -> dict[str, torch.Tensor]:
    folder = pipeline.run.folder / work
    return run_recipe(pipeline.full, Candidate(SMALL), folder, "student").model.state_dict()


@pytest.mark.slow
def test_one_general_student_serves_other_tasks_and_seeds(
    make: Callable[..., Stepwise], trained: list[str], tmp_path: Path, data_folder: Path
) -> None:
    weights(make("a", stages=[GENERAL, TRANSFER]))
    assert trained == ["student: general", "student: transfer"]
    scores = tmp_path / "data" / "STS-B"
    scores.mkdir(parents=True)
    for name in ("train", "dev"):
        lines = (data_folder / "MRPC" / f"{name}.tsv").read_text().splitlines()[1:]
        rows = [line.split("\t") for line in lines]
        text = "\n".join(f"{i}\t{r[3]}\t{r[4]}\t{5 * int(r[0])}" for i, r in enumerate(rows))
        (scores / f"{name}.tsv").write_text("index\tsentence1\tsentence2\tscore\n" + text + "\n")
    other = {"task": "stsb", "data_dir": str(tmp_path / "data"), "seed": 3}
    weights(make("b", stages=[GENERAL, TRANSFER], **other))
    assert trained[2:] == ["student: transfer"]
    assert len([p for p in (cache_folder() / "students").iterdir() if p.is_dir()]) == 1
    weights(make("c", stages=[{**GENERAL, "lr": 2e-3}, TRANSFER]))
    assert trained[3:] == ["student: general", "student: transfer"]


@pytest.mark.slow
def test_masks_of_the_corpus_are_the_same_for_all_seeds(
    make: Callable[..., Stepwise], trained: list[str]
) -> None:
    for seed in (0, 3):
        weights(make(f"run{seed}", stages=[GENERAL, TRANSFER], mask_probability=0.2, seed=seed))
    assert trained == ["student: general", "student: transfer", "student: transfer"]


@pytest.mark.slow
def test_a_finished_stage_is_not_repeated(
    make: Callable[..., Stepwise], trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    last = {**TRANSFER, "name": "last", "data": "task", "losses": {"task": 1}}
    stages = [GENERAL, TRANSFER, last]
    expected = weights(make("whole", stages=stages))
    del trained[:]
    stopped = make("stopped", stages=stages)
    calls = 0

    def stop(*args: Any, title: str = "", **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return core.train(*args, title=title, **options)

    with monkeypatch.context() as patch:
        patch.setattr("kdnas.recipes.training.train", stop)
        with pytest.raises(KeyboardInterrupt):
            weights(stopped)
    found = weights(make("stopped", stages=stages))
    assert trained == ["student: last"]
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("inherit", "precision"),
    [(True, "fp32"), (False, "fp32"), pytest.param(True, "bf16", marks=pytest.mark.slow)],
)
def test_every_loss_learns(make: Callable[..., Stepwise], inherit: bool, precision: str) -> None:
    losses = {"task": 0.1, "logits": 1, "hidden": 1, "embeddings": 1, "relations": [0, 1]}
    losses |= {"attention": 1, "first-token": 1}
    stage = {**TRANSFER, "losses": losses, "epochs": 3, "freeze_embeddings": False}
    pipeline = make("a", stages=[stage], inherit=inherit, precision=precision)
    curves: list[Any] = []
    record = lambda name, stage, points, **_: curves.append(points)  # noqa: E731
    job = replace(pipeline.full, record=record)
    state = run_recipe(job, Candidate(SMALL), pipeline.run.folder / "work", "student")
    (curve,) = curves
    assert curve[-1][1] < curve[0][1]
    assert state.parts.keys() == {"hidden", "embeddings", "first-token"}
    start = build_student(
        pipeline.teacher.model,
        SMALL,
        inherit=inherit,
        importance=_initialiser(job, pipeline.settings.full_stages[0]).importance,
    ).state_dict()
    for name, value in state.model.state_dict().items():
        if value.is_floating_point() and "position_ids" not in name:
            assert not torch.equal(value, start[name]) or "position" in name, name


def test_a_loss_goes_on_with_the_parameters_of_the_stage_before(
    make: Callable[..., Stepwise], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[str] = []
    original = HiddenLoss.fit

    def watched(self: HiddenLoss, *arguments: Any) -> None:
        fitted.append(type(self).__name__)
        original(self, *arguments)

    monkeypatch.setattr(HiddenLoss, "fit", watched)
    both = {**TRANSFER, "losses": {"hidden": 1, "embeddings": 1}}
    weights(make("a", stages=[both, {**TRANSFER, "name": "last"}]))
    assert fitted == ["HiddenLoss", "EmbeddingsLoss"]


def test_nothing_but_the_model_ships(make: Callable[..., Stepwise]) -> None:
    pipeline = make("a", stages=[TRANSFER])
    folder = pipeline.run.folder / "work"
    state = run_recipe(pipeline.full, Candidate(SMALL), folder, "student")
    again = StudentState.load(folder / "transfer")
    assert again.architecture == SMALL and again.parts.keys() == state.parts.keys() == {"hidden"}
    for name, value in state.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)
    assert not any("projection" in name for name in state.model.state_dict())


def test_a_stage_that_reads_nothing_of_the_teacher_has_no_signal_made(
    make: Callable[..., Stepwise], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {**TRANSFER, "losses": {"task": 1, "hidden": 0, "logits": [0, 0]}}
    asked: list[Any] = []
    monkeypatch.setattr("kdnas.teachers.distillation_data.open_or_build_store", asked.append)
    alone = weights(make("a", stages=[{**labels, "data": "task"}]))
    assert not asked and all(value.isfinite().all() for value in alone.values())


def test_a_teacher_without_a_head_gives_no_logits(make: Callable[..., Stepwise]) -> None:
    with pytest.raises(KdnasError, match="stage 'transfer' learns from logits, but the teacher"):
        make("a", stages=[TRANSFER], teacher_as_is=True).everything()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"relation_heads": 3}, "relation_heads 3 does not divide the hidden size"),
        ({"relation_layer": 4}, "invalid relation_layer 4: the teacher has 3 layers"),
        ({"relation_layers": 4}, "unknown key 'relation_layers' of stage .* 'relation_layer'"),
        ({"temperature": 2}, "unknown key 'temperature' of stage 'transfer'"),
        ({"relation_heads": 0}, "stage 'transfer': invalid relation_heads 0: input should be"),
    ],
)
def test_relations_that_cannot_be_are_refused_before_anything_is_trained(
    change: dict[str, int], message: str, make: Callable[..., Stepwise]
) -> None:
    stage = {**TRANSFER, "losses": {"relations": 1, "task": 1}, **change}
    with pytest.raises(KdnasError, match=message):
        make("a", stages=[stage]).everything()


def test_without_a_disk_for_the_store_the_teacher_is_asked_live(
    make: Callable[..., Stepwise], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = weights(make("a", stages=[GENERAL, TRANSFER]))
    monkeypatch.setattr("kdnas.teachers.store.DISK_SHARE", 0)
    monkeypatch.setenv("KDNAS_CACHE", str(cache_folder().with_name("other")))
    live = weights(make("b", stages=[GENERAL, TRANSFER]))
    for name, value in stored.items():
        torch.testing.assert_close(live[name], value, atol=0.05, rtol=0.05, msg=name)
    assert (make("b", stages=[GENERAL, TRANSFER]).run.folder / "transfer.jsonl.gz").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transfer_tasks": ["nonesuch"]}, "unknown task 'nonesuch'"),
        ({"transfer_tasks": ["sst2"]}, "SST-2"),
        ({"transfer_methods": {"corpus": 1}, "corpus": None}, "transfer_methods has corpus, but"),
        (
            {"transfer_methods": {"refill": 1}},
            "transfer_methods has refill alone, but ",
        ),
        (
            {"transfer_methods": {"mask": 0}},
            "--transfer-methods {'mask': 0}: expected a weight above 0",
        ),
        (
            {"transfer_methods": {"mask": -1, "replace": 2}},
            "--transfer-methods.mask -1: expected a number",
        ),
    ],
)
def test_a_transfer_set_that_cannot_be_made_is_refused_before_anything_is_computed(
    changes: dict[str, Any], message: str, make: Callable[..., Stepwise], trained: list[str]
) -> None:
    with pytest.raises(KdnasError, match=message):
        make("a", stages=[TRANSFER], **changes).everything()
    assert not trained


def test_rows_are_refilled_where_the_general_teacher_has_the_head(
    make: Callable[..., Stepwise], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shares = {"transfer_methods": {"refill": 1, "replace": 1}, "corpus": None}
    made = make("a", stages=[TRANSFER], **shares).full.resources.transfer
    assert made is not None and set(made.methods) == {"own", "replace"}
    assert (
        "no masked-LM head: other augmentations take the share of refill" in capsys.readouterr()[0]
    )
    model = AutoModelForMaskedLM.from_config(small_config())
    model.save_pretrained(tmp_path / "filler")
    small_tokenizer().save_pretrained(tmp_path / "filler")
    filler = {"general_teacher": str(tmp_path / "filler")}
    made = make("b", stages=[TRANSFER], **shares, **filler).full.resources.transfer
    assert made is not None and set(made.methods) == {"own", "replace", "refill"}


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("electra", {}, "model_type electra, the teacher bert"),
        ("bert", {"num_hidden_layers": 2}, "num_hidden_layers 2, the teacher 3"),
        ("bert", {"vocab_size": 300}, "vocab_size 300, the teacher 200"),
    ],
)
def test_a_general_teacher_of_another_make_is_refused(
    family: str,
    changes: dict[str, Any],
    message: str,
    make: Callable[..., Stepwise],
    make_teacher: Callable[..., Path],
) -> None:
    other = str(make_teacher(family, **changes))
    with pytest.raises(KdnasError, match=message):
        make("a", stages=[GENERAL, TRANSFER], general_teacher=other).everything()
    with pytest.raises(KdnasError, match="nowhere"):
        make("b", stages=[GENERAL, TRANSFER], general_teacher="/nowhere").everything()


def test_a_general_teacher_that_does_not_load_is_refused_at_once(
    make: Callable[..., Stepwise],
    make_teacher: Callable[..., Path],
    teacher_folder: Path,
    tmp_path: Path,
    trained: list[str],
) -> None:
    other = shutil.copytree(teacher_folder, tmp_path / "other")
    shutil.copy(make_teacher(intermediate_size=32) / "model.safetensors", other)
    pipeline = make("a", stages=[GENERAL, TRANSFER], general_teacher=str(other))
    with pytest.raises(KdnasError, match="do not fit its config"):
        pipeline.everything()
    assert not trained and not (pipeline.run.folder / "study.db").exists()


@pytest.mark.slow
def test_a_damaged_general_student_is_made_again(
    make: Callable[..., Stepwise], trained: list[str]
) -> None:
    first = weights(make("a", stages=[GENERAL, TRANSFER]))
    (folder,) = (p for p in (cache_folder() / "students").iterdir() if p.is_dir())
    file = folder / "student.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    again = weights(make("b", stages=[GENERAL, TRANSFER]))
    assert trained.count("student: general") == 2
    for name, value in first.items():
        torch.testing.assert_close(again[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_a_finished_general_student_gets_the_head_that_fits_it(
    make: Callable[..., Stepwise], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Head and layers are cut in one basis, on whatever data the stages run."""
    pipeline = make("a", stages=[GENERAL, TRANSFER])
    job, general = pipeline.full, pipeline.settings.full_stages[:1]
    found, importance = general_student(job, Candidate(SMALL), general, "student")
    with monkeypatch.context() as patch:  # a finished student needs no signal
        patch.setattr("kdnas.teachers.distillation_data.open_or_build_store", None)
        _, again = general_student(job, Candidate(SMALL), general, "student")
    assert importance is not None and again is not None
    torch.testing.assert_close(importance.residual, again.residual)
    assert importance.rows.keys() == again.rows.keys()
    student = _with_task_head(job, found, importance).model
    body = found.model.base_model.state_dict()
    for name, value in student.base_model.state_dict().items():
        if not name.startswith("pooler"):
            torch.testing.assert_close(value, body[name], msg=name)
    alike = build_student(pipeline.teacher.model, SMALL, importance=importance)
    torch.testing.assert_close(student.classifier.weight, alike.classifier.weight)
    torch.testing.assert_close(
        student.base_model.pooler.dense.weight, alike.base_model.pooler.dense.weight
    )


TASK = {"name": "task", "data": "task", "losses": {"task": 1}, "epochs": 2, "lr": 1e-3}


def on_labels(*stages: dict[str, Any]) -> Stage:
    settings = Settings(stages=stages)
    return stage_on_labels(settings, settings.full_stages)


def test_the_control_on_labels_has_the_batches_and_the_dropout_of_its_rate() -> None:
    slow = {**TASK, "name": "slow", "lr": 1e-4, "batch_size": 64}
    fast = {**TASK, "batch_size": 8, "dropout": True}
    frozen = {**TASK, "name": "frozen", "lr": 1e-2, "freeze_student": True, "batch_size": 4}
    alone = on_labels(slow, frozen, fast)
    assert (alone.lr, alone.batch_size, alone.dropout) == (1e-3, 8, True)


def test_the_control_on_labels_of_a_plain_recipe_is_as_it_was() -> None:
    said = on_labels(TASK).model_dump(exclude_defaults=True)
    assert said == {**TASK, "name": "labels-alone"}


def test_the_epochs_of_the_control_on_labels_may_be_more_than_a_stage_may_have() -> None:
    assert (
        on_labels({**TASK, "epochs": 900}, {**TASK, "name": "more", "epochs": 800}).epochs == 1700
    )
