"""A black-box teacher: what kdnas predict writes of a teacher teaches as the teacher does."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import QUICK
from safetensors.torch import load_file
from scipy.special import expit, softmax
from support.tiny import save_animals, save_squad, save_topics

import kdnas
from kdnas.distillation.training import predict
from kdnas.errors import KdnasError
from kdnas.recipes.transfer_set import OWN, RECORDED
from kdnas.runs.context import Context, open_context
from kdnas.runs.run_folder import Run
from kdnas.runtime.device import Runtime
from kdnas.space import Candidate
from kdnas.tasks import TaskData, encode, load_data, load_spec
from kdnas.tasks.teacher_predictions import with_predictions
from kdnas.teachers.head import scale_outputs
from kdnas.teachers.load import load_teacher
from kdnas.workflow.distilling.distil import distil
from kdnas.workflow.preparing.inputs import check_inputs, load_given_teacher, read_inputs
from kdnas.workflow.preparing.prepare import Prepared, prepare

PRICES = {"text": ["text"], "regression": True}
TASKS: dict[str, dict[str, Any]] = {
    "prices": PRICES,
    "topics": {"type": "multi-label", "text": "text", "label": "topics"},
    "animals": {"type": "token-classification"},
}
# Losses on outputs alone, for a teacher of either kind.
BOTH = {"task": 1, "logits": 1}
LOGITS: dict[str, Any] = {
    **{name: value for name, value in QUICK.items() if name not in ("epochs", "task_epochs")},
    "stages": [
        {"name": "logits", "data": "task", "losses": {"logits": 1}, "epochs": 1, "lr": 2e-3},
        {
            "name": "task",
            "data": "task",
            "losses": {"task": 1, "logits": 1},
            "epochs": 1,
            "lr": 2e-3,
        },
    ],
    "mini_losses": {"logits": 1},
    "mini_score": "logits",
    "tasks": TASKS,
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Path:
    """A task of each type."""
    folder = tmp_path_factory.mktemp("black-box")
    save_topics(folder)
    save_animals(folder)
    save_squad(folder, sentences=1)
    (folder / "MRPC").symlink_to(data_folder / "MRPC")
    (folder / "prices").mkdir()
    for split in ("train", "validation"):
        rows = map(json.loads, (folder / "topics" / f"{split}.jsonl").read_text().splitlines())
        told = [{"text": r["text"], "label": 1000.0 * len(r["text"])} for r in rows]
        text = "".join(json.dumps(row) + "\n" for row in told)
        (folder / "prices" / f"{split}.jsonl").write_text(text)
    return folder


@pytest.fixture(scope="module")
def data_of(places: Path) -> Callable[[str], TaskData]:
    return lambda task: load_data(load_spec(task, TASKS), places)


@pytest.fixture(scope="module")
def asked(
    places: Path, teacher_folder: Path, data_of: Callable[[str], TaskData]
) -> Callable[[str], tuple[Path, Path]]:
    """Makes a teacher of a task, and the file with what it says of all rows."""

    def make(task: str) -> tuple[Path, Path]:
        teacher, file = places / f"{task}-teacher", places / f"{task}.jsonl"
        if not file.exists():
            data = data_of(task)
            made = load_teacher(str(teacher_folder), data.spec)
            far, shift = (9000.0, 34_000.0) if task == "prices" else (20.0, 0.0)
            scale_outputs(made.model, far, shift)
            made.model.save_pretrained(teacher)
            made.tokenizer.save_pretrained(teacher)
            lines = [
                json.dumps(said) for split in data.splits for said in _said(data, split, teacher)
            ]
            file.write_text("\n".join(lines) + "\n")
        return teacher, file

    return make


def _said(data: TaskData, split: str, teacher: Path) -> list[dict[str, Any]]:
    examples, texts = data.splits[split], list[Any](data.splits[split].text)
    if examples.words is not None:
        pairs = zip(texts, examples.words, strict=True)
        texts = [[text[a:b] for a, b in words] for text, words in pairs]
    return kdnas.predict(teacher, texts, pairs=examples.text_pair, probabilities=True)


@pytest.mark.parametrize("task", ["mrpc", "prices", "topics", "animals", "squad"])
def test_logits_are_those_of_the_teacher(
    asked: Callable[[str], tuple[Path, Path]],
    data_of: Callable[[str], TaskData],
    runtime: Runtime,
    task: str,
) -> None:
    teacher, file = asked(task)
    data = with_predictions(data_of(task), file)
    assert data.further is None
    loaded = load_teacher(str(teacher), data.spec)
    for split in ("train", "validation"):
        rows = encode(data.splits[split], loaded.tokenizer, 64)
        live = predict(loaded.model, rows, runtime, pad_id=loaded.pad_id).numpy()
        found = rows.teacher_logits
        assert found is not None and found.shape == live.shape
        if task == "prices":
            assert np.allclose(found, live, rtol=1e-4)
        elif task == "topics":
            assert np.allclose(expit(found), expit(live), atol=1e-4)
        elif task == "squad":
            assert len(rows) == rows.row_count  # one window each, so that no place is lost
            for start, end in pairwise(rows.unit_offsets):
                both = (softmax(each[start:end], axis=0) for each in (found, live))
                assert np.allclose(*both, atol=1e-3)
        else:
            assert np.allclose(softmax(found, -1), softmax(live, -1), atol=1e-4)


def context_of(places: Path, out: Path, **changes: Any) -> Context:
    """The context of a run that nobody has begun."""
    options = {**LOGITS, "data_dir": places, "out": out, "jobs": 1, **changes}
    return open_context(Run.create(kdnas.config.Settings(**options)))


def prepared_for(context: Context) -> Prepared:
    inputs = read_inputs(context)
    check_inputs(context, inputs)
    return prepare(context, inputs, load_given_teacher(context, inputs))


@pytest.mark.parametrize("task", ["mrpc", "prices"])
def test_the_same_student_as_with_the_teacher(
    asked: Callable[[str], tuple[Path, Path]], places: Path, tmp_path: Path, task: str
) -> None:
    """From the same start, by outputs alone, up to rounding."""
    teacher, file = asked(task)
    open_box = prepared_for(context_of(places, tmp_path / "a", task=task, teacher=str(teacher)))
    known = {"teacher_predictions": file, "student_base": str(teacher)}
    black_box = prepared_for(context_of(places, tmp_path / "b", task=task, **known))
    assert black_box.teacher.recorded and black_box.teacher.scale == pytest.approx(
        open_box.teacher.scale, rel=1e-4
    )
    candidate = Candidate(black_box.inputs.space.smallest)
    losses, weights = [], []
    for each in (open_box, black_box):
        state = each.mini.start(candidate)
        losses.append(each.mini.train(state))
        folder = each.context.run.folder / "student"
        distil(each, candidate, None, folder)
        weights.append(load_file(folder / "model.safetensors"))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], rtol=1e-2, atol=2e-4), name


def test_nothing_runs_for_the_signal(
    asked: Callable[[str], tuple[Path, Path]],
    places: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from kdnas.teachers import store

    def never(*_: object) -> None:
        raise AssertionError("the base ran")

    base, file = asked("mrpc")
    context = context_of(
        places, tmp_path / "run", task="mrpc", teacher_predictions=file, student_base=str(base)
    )
    monkeypatch.setattr(store.LiveSignal, "fetch", never)
    prepared = prepared_for(context)
    assert prepared.mini.proxy.store.logits is not None
    assert not prepared.mini.proxy.store.states


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"mini_losses": {"hidden": 1}},
            "stage 'mini-kd' learns from hidden, which reads more of a teacher than its "
            "predictions; of a black-box teacher use task, logits (e.g. --recipe logits)",
        ),
        (
            {"mini_score": "mean"},
            "invalid --mini-score mean: hidden reads more of a teacher than its predictions; of a "
            "black-box teacher give logits",
        ),
        (
            {
                "stages": [
                    {
                        "name": "a",
                        "data": "task",
                        "losses": {"relations": 1},
                        "epochs": 1,
                        "lr": 0.1,
                    }
                ]
            },
            "stage 'a' learns from relations, which reads more of a teacher than its predictions; "
            "of a black-box teacher use task, logits (e.g. --recipe logits)",
        ),
    ],
)
def test_hidden_states_are_not_known(
    asked: Callable[[str], tuple[Path, Path]],
    places: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    base, file = asked("mrpc")
    known = {"task": "mrpc", "teacher_predictions": file, "student_base": str(base)}
    context = context_of(places, tmp_path / "run", **{**known, **changes})
    with pytest.raises(KdnasError) as caught:
        check_inputs(context, read_inputs(context))
    assert str(caught.value) == message


@pytest.fixture(scope="module")
def finished(
    places: Path,
    teacher_folder: Path,
    asked: Callable[[str], tuple[Path, Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A finished search: more texts than training rows, of which a few lack a prediction."""
    teacher, file = asked("mrpc")
    folder = tmp_path_factory.mktemp("run")
    lines = file.read_text().splitlines()
    firsts = [json.loads(line) for line in lines]
    mixed = [(a["text"], b["text_pair"]) for a in firsts[:20] for b in firsts[20:40]][:300]
    more = kdnas.predict(teacher, [a for a, _ in mixed], pairs=[b for _, b in mixed])
    said = [*lines[2:], *map(json.dumps, more)]
    (folder / "said.jsonl").write_text("\n".join(said) + "\n")
    options = {**QUICK, "data_dir": places, "out": folder / "run", "trials": 2, "task": "mrpc"}
    options |= {"teacher_predictions": folder / "said.jsonl", "student_base": str(teacher_folder)}
    return kdnas.search(**options).folder


def test_a_search(finished: Path) -> None:
    run = kdnas.load_run(finished)
    report = run.report
    assert report is not None and len(run.scored) == 2
    assert run.settings.mini_losses == {"logits": 1.0} and run.settings.mini_score == "logits"
    assert [(stage.name, stage.data) for stage in report.recipe] == [
        ("logits", "transfer"),
        ("task", "transfer"),
    ]
    assert report.teacher.name == "said.jsonl" and not report.teacher.own_costs
    assert report.teacher.scores and report.student_base
    assert report.kept is not None or report.teacher.scores[report.main_score] == 0
    assert [name for name, _ in report.models][-1] == "student base"
    assert "times the student base's speed" in report.verdict
    assert report.data is not None and report.data.splits["further texts"].rows > 290
    assert (finished / "report.html").exists() and (finished / "transfer.jsonl.gz").exists()
    card = (finished / "student" / "README.md").read_text()
    assert "times as fast as its student base" in card and "| teacher | " in card


def test_all_that_is_labelled_is_learnt(finished: Path) -> None:
    import gzip

    lines = gzip.decompress((finished / "transfer.jsonl.gz").read_bytes()).decode().splitlines()
    rows = [json.loads(line) for line in lines]
    methods = [row["method"] for row in rows]
    assert methods.count(RECORDED) > 290 and methods.count(OWN) > 200
    assert all(len(row["logits"]) == 2 for row in rows)


def test_resuming_trains_nothing(finished: Path) -> None:
    before = (finished / "student" / "model.safetensors").stat().st_mtime_ns
    kdnas.resume(finished)
    assert (finished / "student" / "model.safetensors").stat().st_mtime_ns == before


def test_the_file_must_stay_as_it_is(finished: Path) -> None:
    file = finished.parent / "said.jsonl"
    text = file.read_text()
    first = json.loads(text.splitlines()[0])
    first["probabilities"] = {name: 0.5 for name in first["probabilities"]}
    file.write_text("\n".join([json.dumps(first), *text.splitlines()[1:]]))
    try:
        with pytest.raises(KdnasError, match="data changed since"):
            kdnas.resume(finished, trials=3)
    finally:
        file.write_text(text)


@pytest.mark.slow
def test_without_scores_of_the_teacher(
    places: Path,
    asked: Callable[[str], tuple[Path, Path]],
    data_of: Callable[[str], TaskData],
    tmp_path: Path,
) -> None:
    """A file of training rows alone: no line of the report breaks."""
    base, file = asked("topics")
    count = len(data_of("topics").splits["train"])
    (tmp_path / "said.jsonl").write_text("\n".join(file.read_text().splitlines()[:count]))
    options = {**QUICK, "data_dir": places, "out": tmp_path / "run", "trials": 1, "tasks": TASKS}
    options |= {"teacher_predictions": tmp_path / "said.jsonl", "student_base": str(base)}
    report = kdnas.search(task="topics", **options).report
    assert report is not None and report.teacher.scores == {} and report.kept is None
    assert "The student reaches f1_micro" in report.verdict
    assert report.baselines[0].name.startswith("always ")
