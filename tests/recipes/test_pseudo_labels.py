"""Texts that a teacher writes as targets: made once, row by row, and learnt by a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import QUICK, Said, flags_of
from support.tiny_writers import save_captions, save_writer
from torch.nn import functional as F

from kdnas.distillation import generation
from kdnas.files.cache import cache_folder
from kdnas.recipes import pseudo_labels
from kdnas.recipes.pseudo_labels import BEAMS, pseudo_labelled, written_texts
from kdnas.runtime.device import Runtime
from kdnas.tasks import EncodedExamples, encode, load_data, load_spec
from kdnas.tasks.encode import Units
from kdnas.teachers.load import Teacher, load_teacher

OF_A_SEARCH = ("epochs", "task_epochs", "random_control")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = save_captions(tmp_path_factory.mktemp("captions"), train=40, dev=8)
    save_writer(place / "bart")
    return place


@pytest.fixture
def teacher(folder: Path) -> Teacher:
    spec = load_spec(folder / "captions.yaml")
    return load_teacher(str(folder / "bart"), spec, options={"max_target_length": 8})


@pytest.fixture
def options(teacher: Teacher, folder: Path) -> dict[str, Any]:
    kind = load_spec(folder / "captions.yaml").task_type
    return kind.encode_options({"max_target_length": 8}, teacher.model.config)


@pytest.fixture
def rows(teacher: Teacher, folder: Path, options: dict[str, Any]) -> EncodedExamples:
    task = load_data(load_spec(folder / "captions.yaml"), folder)
    return encode(task.splits["train"].take(range(30)), teacher.tokenizer, 16, options=options)


def test_targets_are_what_transformers_writes_with_four_beams(
    teacher: Teacher, rows: EncodedExamples, options: dict[str, Any], runtime: Runtime
) -> None:
    found = pseudo_labelled(teacher, rows, options, runtime)
    assert teacher.model.generation_config.num_beams in (None, 1)  # as before
    assert rows.references is not None
    for row in range(0, 30, 7):
        given = teacher.tokenizer([rows.references[row].read], return_tensors="pt")
        ids = teacher.model.generate(**given, num_beams=BEAMS, max_new_tokens=8)
        [text] = teacher.tokenizer.batch_decode(ids, skip_special_tokens=True)
        wanted = teacher.tokenizer(text_target=text.strip(), truncation=True, max_length=8)
        one = found.take(np.array([row]))
        assert one.labels is not None and one.labels.tolist() == wanted["input_ids"]
        assert one.input_ids.tolist() == rows.take(np.array([row])).input_ids.tolist()


def test_a_killed_job_goes_on_where_it_was(
    teacher: Teacher,
    rows: EncodedExamples,
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Batch by batch, and what is done is read."""
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path))
    monkeypatch.setattr(generation, "forward_tokens", lambda _: 400)
    batches, asked = generation.written_batches, list[int]()

    def cut_off(*given: Any, **named: Any) -> Any:
        asked.append(len(given[1]))
        for i, batch in enumerate(batches(*given, **named)):
            if i == 3 and len(asked) == 1:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(pseudo_labels, "written_batches", cut_off)
    with pytest.raises(KeyboardInterrupt):
        written_texts(teacher, rows, runtime)
    [part] = (cache_folder() / "pseudo-labels").glob("*.jsonl")
    kept = [json.loads(line) for line in part.read_text().splitlines()]
    with part.open("a") as file:
        file.write('{"row": 3, "te')  # cut short
    texts = written_texts(teacher, rows, runtime)
    assert len(texts) == 30 and asked == [30, 30 - len(kept)] and kept
    assert all(texts[line["row"]] == line["text"] for line in kept)
    assert written_texts(teacher, rows, runtime) == texts and len(asked) == 2
    assert not part.exists()


def test_the_task_loss_is_smoothed(folder: Path) -> None:
    kind = load_spec(folder / "captions.yaml").task_type
    logits, labels = torch.randn(5, 9), torch.tensor([1, 2, 0, -100, 8])
    units = Units(torch.zeros(5, dtype=torch.long), torch.arange(5), 1, 5)
    known = labels != -100
    plain = F.cross_entropy(logits[known], labels[known])
    even = -logits[known].log_softmax(-1).mean()
    found = kind.task_loss(logits, labels, units, smoothing=0.1)
    assert found == pytest.approx(float(0.9 * plain + 0.1 * even))
    assert kind.task_loss(logits, labels, units) == pytest.approx(float(plain))


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("data: transfer, losses: {task: 1}", "has data: transfer, rows without a target"),
        ("data: task, losses: {task: 1}, label_smoothing: 2", "invalid label_smoothing 2"),
    ],
)
def test_what_a_recipe_cannot_ask_is_refused(
    stage: str, message: str, folder: Path, command: Said, tmp_path: Path
) -> None:
    recipe = tmp_path / "own.yaml"
    recipe.write_text(f"stages:\n  - {{name: task, {stage}, epochs: 1, lr: 0.001}}\n")
    given = {"teacher": folder / "bart", "task": folder / "captions.yaml", "data_dir": folder}
    quick = {k: v for k, v in QUICK.items() if k not in ("epochs", "task_epochs")}
    more = {"recipe": recipe, "out": tmp_path / "run", "batch_size": 4}
    flags = flags_of({**quick, **given, **more})
    code, _ = command("search", *flags)
    assert code == 2 and message in command.all and "Traceback" not in command.all


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["sequence-level", "wide", "narrow", "logits", "labels"])
def test_a_recipe_trains_students_of_two_stacks(
    recipe: str, folder: Path, command: Said, tmp_path: Path
) -> None:
    given = {"teacher": folder / "bart", "task": folder / "captions.yaml", "data_dir": folder}
    quick = {k: v for k, v in QUICK.items() if k not in OF_A_SEARCH}
    more = {"recipe": recipe, "out": tmp_path / "run", "architecture": "1+1x32-h4"}
    more["batch_size"] = 4
    flags = flags_of({**quick, **given, **more, "max_target_length": 8})
    code, _ = command("distill", *flags)
    assert code == 0, command.all
    assert ("the teacher writes texts for" in command.all) == (recipe == "sequence-level")
