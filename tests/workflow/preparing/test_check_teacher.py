"""A teacher is scored before anything is built on it; its head may be in any order or unit."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import NOUNS, QUICK
from support.stepwise import Stepwise

from kdnas.config import Settings
from kdnas.distillation.schedule import Schedule
from kdnas.errors import KdnasError
from kdnas.evaluation.scores import evaluate_model
from kdnas.files.artifact import json_artifact, key_of
from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.runtime.device import Runtime
from kdnas.tasks import Examples, encode
from kdnas.tasks.spec import TaskSpec
from kdnas.teachers.fine_tune import fine_tune
from kdnas.teachers.head import order_outputs, scale_outputs
from kdnas.teachers.load import load_teacher
from kdnas.workflow.pipeline import find_student
from kdnas.workflow.preparing.check_teacher import check_teacher, evaluated_teacher

MOODS = ("bad bad bad bad", "slow slow slow slow", "good good good good")
SPEC = {"text": ["text"], "labels": ["negative", "neutral", "positive"]}
PRICES = {"text": ["text"], "regression": True}
TRAINING = Schedule(8, 5e-3, batch_size=16)


def rows(count: int, seed: int) -> tuple[list[str], list[int]]:
    """Texts, and which of three moods each begins with."""
    rng = random.Random(seed)
    labels = [rng.randrange(3) for _ in range(count)]
    return [f"{MOODS[label]} {rng.choice(NOUNS)}" for label in labels], labels


def price(mood: int, seed: int) -> float:
    """10,000 to 610,000, more for a better mood."""
    return 10_000 + 250_000 * mood + random.Random(seed).uniform(0, 100_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The task `moods`, and `prices` of the same texts."""
    place = tmp_path_factory.mktemp("data")
    for task in ("moods", "prices"):
        (place / task).mkdir()
        for split, count, seed in (("train", 240, 1), ("validation", 60, 2)):
            texts, labels = rows(count, seed)
            values: list[object] = [SPEC["labels"][label] for label in labels]
            if task == "prices":
                values = [price(label, i) for i, label in enumerate(labels)]
            lines = [
                json.dumps({"text": t, "label": v}) for t, v in zip(texts, values, strict=True)
            ]
            (place / task / f"{split}.jsonl").write_text("\n".join(lines))
    return place


@pytest.fixture(scope="module")
def trained(
    teacher_folder: Path, runtime: Runtime, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Saves a teacher that knows a task, with its head changed."""
    known: dict[str, Any] = {}

    def save(task: str, change: Callable[[Any], None], **config: Any) -> Path:
        if task not in known:
            spec = TaskSpec.model_validate({"name": task, **(SPEC if task == "moods" else PRICES)})
            teacher = load_teacher(str(teacher_folder), spec)
            texts, labels = rows(240, 1)
            values = np.array(labels)
            if task == "prices":
                values = np.array([price(m, i) for i, m in enumerate(labels)], np.float32)
            data = encode(Examples(texts, None, values, task_type=spec.type), teacher.tokenizer, 32)
            out = tmp_path_factory.mktemp("work") / "state.pt"
            fine_tune(teacher, data, TRAINING, runtime, out, "training", "")
            known[task] = teacher, {k: v.clone() for k, v in teacher.model.state_dict().items()}
        teacher, state = known[task]
        teacher.model.load_state_dict(state)
        change(teacher.model)
        place = tmp_path_factory.mktemp("given")
        teacher.model.save_pretrained(place)
        teacher.tokenizer.save_pretrained(place)
        content = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps({**content, **config}))
        return place

    return save


@pytest.fixture
def begin(folder: Path, tmp_path: Path) -> Callable[..., Stepwise]:
    """Begins a run of a task with a teacher; not forced."""

    def make(task: str, teacher: Path, **changes: Any) -> Stepwise:
        entry = SPEC if task == "moods" else PRICES
        given = {**QUICK, "force": False, "tasks": {task: entry}, "out": tmp_path / "run"}
        given |= {"teacher": str(teacher), "task": task, "data_dir": folder, "trials": 1}
        return Stepwise(Run.create(Settings(**{**given, **changes})))

    return make


def scored(steps: Stepwise, capsys: pytest.CaptureFixture[str]) -> str:
    check_teacher(steps.context, steps.inputs, steps.teacher)
    lines = capsys.readouterr().out.splitlines()
    return next(line for line in lines if line.startswith("teacher: "))


NAMELESS = {
    "id2label": {str(i): f"LABEL_{i}" for i in range(3)},
    "label2id": {f"LABEL_{i}": i for i in range(3)},
}


def test_outputs_in_another_order_are_refused_and_mapped(
    trained: Callable[..., Path], begin: Callable[..., Stepwise], capsys: pytest.CaptureFixture[str]
) -> None:
    turned = trained("moods", lambda model: order_outputs(model, [2, 0, 1]), **NAMELESS)
    with pytest.raises(KdnasError, match=r"another order than .* give --label-map 1,2,0"):
        _ = begin("moods", turned).teacher
    run = begin("moods", turned).run.folder
    steps = Stepwise(Run.open(run, label_map="LABEL_1,LABEL_2,LABEL_0"))
    assert float(scored(steps, capsys).split()[2]) > 0.95
    forced = Stepwise(Run.open(run, force=True))
    assert float(scored(forced, capsys).split()[2]) < 0.4
    for wrong in ("1,2", "1,2,2", "a,b,c"):
        with pytest.raises(KdnasError, match="expected the outputs of .*, each once.*LABEL_0, LAB"):
            _ = Stepwise(Run.open(run, label_map=wrong)).teacher


def test_names_that_tell_the_order_need_no_map(
    trained: Callable[..., Path], begin: Callable[..., Stepwise], capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["Positive", "negative", "NEUTRAL"]
    config = {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
    turned = trained("moods", lambda model: order_outputs(model, [2, 0, 1]), **config)
    assert float(scored(begin("moods", turned), capsys).split()[2]) > 0.95


@pytest.mark.slow
def test_a_head_that_was_never_trained_is_refused_before_the_search(
    trained: Callable[..., Path], begin: Callable[..., Stepwise]
) -> None:
    blank = trained("moods", lambda model: scale_outputs(model, 0.0, 0.0), **NAMELESS)
    steps = begin("moods", blank)
    with pytest.raises(KdnasError, match=r"not clearly better than one constant.*--fresh-head tra"):
        find_student(open_context(steps.run))
    assert not steps.open_study().trials
    fresh = Run.open(steps.run.folder, fresh_head=True, teacher_lr=5e-3, teacher_epochs=8)
    report = find_student(open_context(fresh))
    assert report.teacher.scores["accuracy"] > 0.9
    assert [low.name for low in report.baselines] == ["always positive", "TF-IDF, linear"]
    assert (
        "| always positive | 0.3500 |" in (steps.run.folder / "student" / "README.md").read_text()
    )


@pytest.mark.slow
def test_prices_are_learnt_and_shipped_in_their_own_unit(
    teacher_folder: Path, begin: Callable[..., Stepwise]
) -> None:
    steps = begin("prices", teacher_folder, teacher_epochs=8, teacher_lr=5e-3, task_epochs=3)
    report = find_student(steps.context)
    for model in (report.teacher, report.student):
        assert model.scores["pearson"] > 0.9
        assert model.scores["mae"] < 80_000
    assert 120_000 < report.baselines[0].scores["mae"] < 300_000
    for saved in ("student", "teacher"):
        model = load_teacher(str(steps.run.folder / saved), steps.data.spec).model
        rows, spec, runtime = steps.data.evaluation, steps.data.spec, steps.runtime.exact
        found = evaluate_model(model, rows, spec, runtime, steps.teacher.pad_id)
        assert found["mae"] < 80_000  # as it says them
    again = find_student(open_context(Run.open(steps.run.folder)))
    assert again.student.scores == report.student.scores


def test_a_teacher_in_another_unit_is_brought_to_that_of_the_labels(
    trained: Callable[..., Path], begin: Callable[..., Stepwise], capsys: pytest.CaptureFixture[str]
) -> None:
    shares = trained("prices", lambda model: scale_outputs(model, 1e-5, -2.0))
    steps = begin("prices", shares)
    assert float(scored(steps, capsys).split()[2]) > 0.9
    scale = steps.teacher.scale
    assert scale.mean == pytest.approx(310_000, rel=0.1)
    check = json.loads((steps.run.folder / "steps" / "teacher-outputs.json").read_text())
    assert check["unit"][1] == pytest.approx(1e5, rel=0.2)
    found = evaluated_teacher(steps.context, steps.inputs, steps.teacher)
    assert found["scores"]["mae"] < 60_000


def test_another_machine_keeps_a_teachers_scores_and_not_its_pace(
    trained: Callable[..., Path], begin: Callable[..., Stepwise], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = begin("moods", trained("moods", lambda model: None))
    first = evaluated_teacher(steps.context, steps.inputs, steps.teacher)
    assert first["seconds_per_1000"] > 0
    first = json.loads(json.dumps(first))
    monkeypatch.setattr("kdnas.workflow.preparing.check_teacher._evaluate", None)
    for name in ("platform.node", "platform.platform"):
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(name, lambda: "elsewhere")
            there = evaluated_teacher(steps.context, steps.inputs, steps.teacher)
            assert there == {**first, "seconds_per_1000": None}
    assert evaluated_teacher(steps.context, steps.inputs, steps.teacher) == first
    file = steps.run.folder / "steps" / "evaluate-teacher.json"
    older = {
        k: v for k, v in json.loads(file.read_text()).items() if k not in steps.context.machine
    }
    key = key_of(file)
    assert key is not None
    json_artifact(file, key).write(older)
    read = evaluated_teacher(steps.context, steps.inputs, steps.teacher)
    assert read == {**older, "seconds_per_1000": None}


def test_a_teacher_whose_scores_fall_where_labels_rise_is_refused(
    trained: Callable[..., Path], begin: Callable[..., Stepwise]
) -> None:
    reverse = trained("prices", lambda model: scale_outputs(model, -1.0, 0.0))
    with pytest.raises(KdnasError, match=r"not clearly better.*pearson -0\.9.*--fresh-head"):
        find_student(begin("prices", reverse).context)
