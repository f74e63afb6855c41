"""TED: filters of teacher and student, learnt on labels, in every stage and for every task."""

from __future__ import annotations

import json
import math
import random
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import QUICK
from safetensors.torch import load_file
from support.stepwise import Stepwise
from support.tiny import save_animals, save_squad, save_topics, sentence

import kdnas.distillation.checkpoint as checkpoints
from kdnas.config import load_settings, validated
from kdnas.distillation import training as core
from kdnas.distillation.batches import batches_once, collate
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.losses.filtered import filtered
from kdnas.distillation.outputs import OutputRequest
from kdnas.distillation.signals import LiveSignal, ViewedSignal
from kdnas.distillation.training import heldout_losses
from kdnas.errors import KdnasError
from kdnas.files.cache import cache_folder
from kdnas.files.locks import file_lock
from kdnas.recipes.check import check_recipe
from kdnas.recipes.full import _initialiser, run_recipe, stage_data
from kdnas.recipes.stages import shapes_of, task_epochs, views_of, weighted_losses
from kdnas.recipes.views import learn_views
from kdnas.runs.run_folder import Run
from kdnas.space import Architecture
from kdnas.space.candidate import Candidate
from kdnas.students import build_student
from kdnas.students.checkpoint import load_student, student_artifact
from kdnas.students.state import StudentState

SMALL = Architecture(2, 2, 16, 32, "gelu")
PLAIN = {k: v for k, v in QUICK.items() if k not in ("epochs", "task_epochs")}
OWN = {"mapping": "evenly", "filter_epochs": 0.5}
ALONE = {
    "name": "filters",
    "data": "task",
    "losses": {"filtered": 1},
    "filter_goal": "labels",
    "freeze_student": True,
    "epochs": 0.5,
    "lr": 1e-3,
    **OWN,
}
TOGETHER = {
    "name": "ted",
    "data": "task",
    "losses": {"task": 1, "logits": 1, "filtered": 1},
    "epochs": 0.5,
    "lr": 1e-3,
    **OWN,
}
STAGES = [ALONE, TOGETHER]
TASK = {"name": "task", "data": "task", "losses": {"task": 1}, "epochs": 1, "lr": 1e-4}


def save_rows(kind: str, label: Callable[[str], Any], folder: Path) -> Path:
    """Sentences with a label that can be learnt: folder/rows, and the YAML file of the task."""
    (folder / "rows").mkdir()
    rng = random.Random(3)
    for name, rows in (("train", 120), ("validation", 40)):
        texts = [sentence(rng) for _ in range(rows)]
        lines = [json.dumps({"text": text, "label": label(text)}) for text in texts]
        (folder / "rows" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    entry = f"name: rows\ntype: {kind}\ntext: text\nlabel: label\n"
    (folder / "rows.yaml").write_text(entry)
    return folder


save_classes = partial(save_rows, "classification", lambda text: str("good" in text))
save_scores = partial(save_rows, "regression", lambda text: 10.0 * text.count("good") + 3)


def save_labels(folder: Path) -> Path:
    save_topics(folder)
    entry = "name: topics\ntype: multi-label\ntext: text\nlabel: topics\n"
    (folder / "topics.yaml").write_text(entry)
    return folder


# By type: what saves the data, and the task.
TASKS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "classification": (save_classes, "rows.yaml"),
    "regression": (save_scores, "rows.yaml"),
    "multi-label": (save_labels, "topics.yaml"),
    "token-classification": (save_animals, "animals.yaml"),
    "question-answering": (lambda folder: save_squad(folder, train=120, dev=20), "squad"),
}


@pytest.fixture
def make(
    teacher_folder: Path,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Stepwise]:
    """Makes a pipeline on the small teacher, with a cache of the test's own."""
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))

    def pipeline(name: str, stages: list[Any] = STAGES, **changes: Any) -> Stepwise:
        places = {"teacher": str(teacher_folder), "data_dir": str(data_folder)}
        settings = {**PLAIN, **places, "task": "mrpc", "out": str(tmp_path / name), **changes}
        return Stepwise(Run.create(validated({**settings, "stages": stages})))

    return pipeline


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of all trainings of recipes."""
    titles: list[str] = []

    def watched(*args: Any, title: str = "", **options: Any) -> Any:
        titles.append(title)
        return core.train(*args, title=title, **options)

    for module in ("training", "views"):
        monkeypatch.setattr(f"kdnas.recipes.{module}.train", watched)
    return titles


def run(pipeline: Stepwise, shape: Architecture = SMALL, work: str = "work") -> StudentState:
    folder = pipeline.run.folder / work
    return run_recipe(pipeline.full, Candidate(shape), folder, "student")


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


TEACHERS = ["teacher: filter of layer 1", "teacher: filter of layer 3"]
STUDENTS = ["student: filters", "student: ted"]


def test_the_stages_of_a_student(make: Callable[..., Stepwise], trained: list[str]) -> None:
    pipeline = make("a")
    state = run(pipeline)
    assert trained == [STUDENTS[0], *TEACHERS, STUDENTS[1]]
    alone = StudentState.load(pipeline.run.folder / "work" / "filters")
    assert set(state.parts) == set(alone.parts) == {"filtered"}
    before, after = alone.parts["filtered"], state.parts["filtered"]
    names = {f"filters.{i}.{n}" for i in range(2) for n in ("weight", "bias")} | {"pairs"}
    assert before.keys() == after.keys() == names  # and no head
    assert before["pairs"].tolist() == [[1, 1], [2, 3]]
    assert not torch.equal(before["filters.0.weight"], after["filters.0.weight"])
    # The control is trained as long as the student.
    assert task_epochs(pipeline.settings.full_stages) == 0.5

    importance = _initialiser(pipeline.full, pipeline.settings.full_stages[0]).importance
    first = build_student(pipeline.teacher.model, SMALL, importance=importance).state_dict()
    assert same(alone.model.state_dict(), first)  # frozen
    assert not same(state.model.state_dict(), first)


def test_a_student_ships_without_its_filters(make: Callable[..., Stepwise], tmp_path: Path) -> None:
    pipeline = make("a")
    state = run(pipeline)
    ids = torch.arange(12).view(2, 6)
    with torch.inference_mode():
        expected = state.model(input_ids=ids).logits
    student_artifact(tmp_path / "student", {}, pipeline.teacher.tokenizer).write(state.model)
    with torch.inference_mode():
        torch.testing.assert_close(
            load_student(tmp_path / "student")(input_ids=ids).logits, expected
        )
    plain = build_student(pipeline.teacher.model, SMALL).state_dict()
    shipped = load_file(tmp_path / "student" / "model.safetensors")
    assert {n for n in plain if "position_ids" not in n} == set(shipped)


@pytest.mark.parametrize(
    ("task", "pooling"),
    [*((task, "mean") for task in TASKS), ("classification", "first"), ("regression", "first")],
)
def test_filters_learn_every_kind_of_task(
    task: str, pooling: str, make: Callable[..., Stepwise], tmp_path: Path
) -> None:
    save, name = TASKS[task]
    folder = save(tmp_path)
    named = str(folder / name) if name.endswith(".yaml") else name
    changes = {"data_dir": str(folder), "task": named, "max_length": 48, "window_stride": 16}
    own = {"filter_pooling": pooling, "filter_epochs": 4, "filter_lr": 0.01, "filter_kind": "mlp"}
    stages = [{**ALONE, **own, "epochs": 4, "lr": 0.01}, {**TOGETHER, **own}]
    pipeline = make("a", stages, **changes)
    curves: dict[str, Any] = {}

    def record(name: str, stage: str, points: Any, **_: Any) -> None:
        curves[f"{name}: {stage}"] = points

    folder = pipeline.run.folder / "work"
    run_recipe(replace(pipeline.full, record=record), Candidate(SMALL), folder, "student")
    for name in (STUDENTS[0], *TEACHERS):
        losses = [loss for _, loss in curves[name]]
        assert np.mean(losses[-5:]) < np.mean(losses[:5]), name
    assert all(math.isfinite(loss) for _, loss in curves["student: ted"])


def test_filters_of_the_teacher_are_learnt_once(
    make: Callable[..., Stepwise], trained: list[str]
) -> None:
    first = make("a", [TOGETHER])
    run(first)
    assert trained == [*TEACHERS, STUDENTS[1]]
    run(first, work="again")
    run(first, Architecture(3, 4, 32, 64, "gelu"), "deeper")
    assert trained[3:] == [STUDENTS[1], "teacher: filter of layer 2", STUDENTS[1]]
    del trained[:]
    run(make("b", [TOGETHER], seed=5))
    assert [title for title in trained if title in TEACHERS] == TEACHERS  # another teacher
    del trained[:]
    run(make("c", [TOGETHER], seed=5, out=str(first.run.folder.parent / "d")))
    assert trained == [STUDENTS[1]]
    del trained[:]
    run(make("e", [{**TOGETHER, "filter_lr": 2e-3}]))
    assert trained == [*TEACHERS, STUDENTS[1]]


def test_a_process_waits_for_another_that_trains_the_same_filter(
    make: Callable[..., Stepwise], trained: list[str]
) -> None:
    pipeline = make("a", [TOGETHER])
    run(pipeline)
    kept = sorted((cache_folder() / "views").glob("*.safetensors"))
    aside = [file.rename(file.with_suffix(".aside")) for file in kept]
    del trained[:]
    held = threading.Event()

    def other() -> None:
        with ExitStack() as stack:
            for file in kept:
                stack.enter_context(file_lock(file.with_suffix(".lock"), "the test"))
            held.set()
            time.sleep(0.5)
            for there, file in zip(aside, kept, strict=True):
                there.rename(file)

    thread = threading.Thread(target=other)
    thread.start()
    held.wait()
    run(pipeline, work="again")
    thread.join()
    assert trained == [STUDENTS[1]]


def test_a_damaged_filter_is_learnt_again(
    make: Callable[..., Stepwise], trained: list[str]
) -> None:
    pipeline = make("a", [TOGETHER])
    state = run(pipeline)
    file = min((cache_folder() / "views").glob("*.safetensors"))
    content = file.read_bytes()
    file.write_bytes(content[:-100])
    del trained[:]
    again = run(pipeline, work="again")
    assert len(trained) == 2 and trained[0] in TEACHERS
    for name, value in state.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value, atol=1e-5, rtol=1e-4)


def test_a_run_that_is_killed_in_any_stage_goes_on(
    make: Callable[..., Stepwise], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "SECONDS", -1.0)
    steps, last, compute = 0, 10**6, WeightedLosses.forward

    def counted(self: WeightedLosses, *arguments: Any) -> Any:
        nonlocal steps
        if steps == last:
            raise KeyboardInterrupt
        steps += 1
        return compute(self, *arguments)

    pipeline = make("a")
    job = pipeline.full  # with the teacher
    monkeypatch.setattr(WeightedLosses, "forward", counted)
    folder = pipeline.run.folder
    expected = run_recipe(job, Candidate(SMALL), folder / "whole", "student")
    total = steps
    each = total // 4  # stage I, two filters of the teacher, stage II
    assert each > 3 and total == 4 * each
    shutil.rmtree(cache_folder() / "views")
    steps = 0
    for stage in range(4):
        last = stage * each + 2
        with pytest.raises(KeyboardInterrupt):
            run_recipe(job, Candidate(SMALL), folder / "killed", "student")
    last = 10**6
    found = run_recipe(job, Candidate(SMALL), folder / "killed", "student")
    assert steps == total
    for name, value in expected.model.state_dict().items():
        torch.testing.assert_close(found.model.state_dict()[name], value, atol=1e-5, rtol=1e-4)
    assert not list((cache_folder() / "views").glob("*.pt"))


@pytest.mark.parametrize(("size", "held"), [(8, "filtered"), (32, "hidden"), (None, "hidden")])
def test_what_is_smaller_goes_through_the_store(
    size: int | None, held: str, make: Callable[..., Stepwise]
) -> None:
    stage = {**TOGETHER, "data": "transfer", "filter_size": size}
    pipeline = make("a", [stage], transfer_rows=300)
    job, made = pipeline.full, pipeline.settings.full_stages[0]
    state = StudentState(build_student(pipeline.teacher.model, SMALL))
    data = stage_data(job, made, state)
    keys = [json.loads(f.read_text()) for f in (cache_folder() / "signal").rglob("kdnas.json")]
    stores = {tuple(key["key"]["states"]) for key in keys}
    assert stores == {("hidden-01", "hidden-03"), (f"{held}-01", f"{held}-03")}
    views = views_of(made, shapes_of(pipeline.teacher, state), pipeline.settings)
    learn_views(views, pipeline.teacher, job.resources.task_rows, 16, job.runtime, job.record)
    live = ViewedSignal(LiveSignal(pipeline.teacher.model, job.runtime), views)
    wanted = OutputRequest(frozenset(views), logits=True)
    batch = collate(data.data, np.array([3, 250, 17]), 0, stride=2)
    stored, asked = data.source.fetch(batch, wanted), live.fetch(batch, wanted)
    torch.testing.assert_close(stored.logits, asked.logits, atol=1e-5, rtol=0)
    for name, view in views.items():
        assert stored.states[name].shape == (batch.compared_count, size or 32)
        found, expected = stored.states[name].float(), asked.states[name]
        torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-2)
        assert data.statistics.views[name].shape == (2, view.width)


def test_the_spread_of_a_filter_is_over_real_tokens(make: Callable[..., Stepwise]) -> None:
    pipeline = make("a", [TOGETHER])
    job, stage = pipeline.full, pipeline.settings.full_stages[0]
    state = StudentState(build_student(pipeline.teacher.model, SMALL))
    data = stage_data(job, stage, state)
    name, request = filtered(3), OutputRequest(frozenset([filtered(3)]))
    batches = batches_once(data.data, 0, job.runtime.device)
    made = torch.cat([data.source.fetch(batch, request).states[name] for batch in batches])
    assert len(made) == data.data.offsets[-1]
    expected = torch.stack([made.mean(0), made.var(0, correction=0)])
    torch.testing.assert_close(data.statistics.views[name], expected, atol=1e-4, rtol=1e-3)


def test_a_teacher_that_has_no_head_gives_filters_all_the_same(
    make: Callable[..., Stepwise], trained: list[str]
) -> None:
    stage = {**TOGETHER, "losses": {"task": 1, "filtered": 1}}
    run(make("a", [stage], teacher_as_is=True))
    assert trained == [*TEACHERS, STUDENTS[1]]


def test_filters_that_no_stage_trained_start_at_the_regression(
    make: Callable[..., Stepwise],
) -> None:
    pipeline = make("a", [TOGETHER])
    job, stage = pipeline.full, pipeline.settings.full_stages[0]
    state = StudentState(build_student(pipeline.teacher.model, SMALL))
    data = stage_data(job, stage, state)
    values = []
    for fit in (False, True):
        losses = weighted_losses(
            stage, state, data, pipeline.settings, job.runtime, scored=["filtered"], fit=fit
        )
        rows, source = data.data, data.source
        values.append(heldout_losses(state.model, losses, rows, source, job.runtime, pad_id=0))
    assert values[1]["filtered"] < min(1.0, 0.7 * values[0]["filtered"])


@pytest.mark.parametrize(
    ("stages", "changes", "message"),
    [
        (
            [{**ALONE, "data": "corpus", "teacher": "task"}, TOGETHER],
            {},
            "stage 'filters' learns from filtered, but a corpus has no labels; give it data: task",
        ),
        (
            [{**TOGETHER, "losses": {"filtered": 1}, "data": "corpus"}, TOGETHER],
            {},
            "stage 'ted' learns from filtered, which a general teacher cannot give; give it teach",
        ),
        (
            [{**ALONE, "stride": 2}, TOGETHER],
            {},
            "invalid stride 2 of stage 'filters': filtered reads every token there; leave stride",
        ),
        (
            [{**TASK, "freeze_student": True, "name": "none"}, TASK],
            {},
            "stage 'none' has freeze_student, but its losses have nothing else to train; give it o",
        ),
        (
            [{**TOGETHER, "freeze_student": True}],
            {},
            "the last stage, 'ted', does not train the head; give it a loss that does",
        ),
        (
            [{**TOGETHER, "filter_kind": "conv"}],
            {},
            "stage 'ted': invalid filter_kind 'conv': input should be 'linear' or 'mlp'",
        ),
        ([{**TOGETHER, "filter_sise": 8}], {}, "unknown key 'filter_sise' of stage 'ted'; did you"),
        ([TOGETHER], {"mini_losses": {"filtered": 1}}, "mini_losses has 'filtered', which needs"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    stages: list[Any], changes: dict[str, Any], message: str
) -> None:
    given = [{**stage, "name": stage["name"]} for stage in stages]
    if len(given) == 2 and given[0]["name"] == given[1]["name"]:
        given[1]["name"] = "last"
    with pytest.raises(KdnasError) as caught:
        check_recipe(validated({"stages": given, "corpus": "a", **changes}))
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_encoder_decoders_have_no_filters() -> None:
    """Their outputs are a vocabulary, their labels its words; a search over all leaves it out."""
    pair = Architecture(2, 2, 16, 32, "gelu", num_decoder_layers=2)
    with pytest.raises(KdnasError, match="filtered reads an encoder alone, and the teacher has"):
        check_recipe(load_settings(None, {"recipe": "ted"}), pair)
