"""Texts that a teacher writes as targets: made once, row by row, and learnt by a recipe."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import QUICK, Said, flags_of
from support.tiny_writers import save_captions, save_writer
from torch.nn import functional as F
from transformers import AutoModelForSeq2SeqLM

from kdnas import load_run
from kdnas.distillation import generation
from kdnas.files.artifact import Artifact
from kdnas.files.cache import cache_folder
from kdnas.files.curves import Curves
from kdnas.recipes import pseudo_labels
from kdnas.recipes.pseudo_labels import BEAMS, completed, pseudo_labelled, written_texts
from kdnas.recipes.transfer_set import TransferSet, _followed
from kdnas.runtime.device import Runtime
from kdnas.tasks import EncodedExamples, encode, load_data, load_spec
from kdnas.tasks.encode import Units
from kdnas.teachers.load import Teacher, load_teacher

OF_A_SEARCH = ("epochs", "task_epochs", "random_control", "finalists", "screen")


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


@pytest.mark.parametrize(("own", "used"), [(None, BEAMS), (2, BEAMS), (5, 5)])
def test_a_person_reads_how_many_beams_there_are(
    own: int | None,
    used: int,
    teacher: Teacher,
    rows: EncodedExamples,
    runtime: Runtime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path))
    teacher.model.generation_config.num_beams = own
    written_texts(teacher, rows.take(np.arange(2)), runtime)
    assert f"(pseudo-labels, {used} beams)" in "".join(capsys.readouterr())


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


def test_a_job_that_is_killed_when_all_is_written_loses_nothing(
    teacher: Teacher,
    rows: EncodedExamples,
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not even between the last text and the file of all."""
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Artifact, "write", killed)
        written_texts(teacher, rows, runtime)
    [part] = (cache_folder() / "pseudo-labels").glob("*.jsonl")
    kept = [json.loads(line) for line in part.read_text().splitlines()]
    assert len(kept) == 30
    texts = written_texts(teacher, rows, runtime)
    assert "writes texts for 0 rows" in "".join(capsys.readouterr())
    assert [texts[line["row"]] for line in kept] == [line["text"] for line in kept]
    assert not part.exists()


def test_rows_without_a_target_get_the_teachers_text(
    teacher: Teacher, folder: Path, options: dict[str, Any], runtime: Runtime
) -> None:
    """Those of a transfer set; the others keep their references."""
    own = load_data(load_spec(folder / "captions.yaml"), folder).splits["train"].take(range(6))
    new = ["the good cat finds the bad city", "the slow film likes the bank"]
    transfer = TransferSet(_followed(own, [(text, None) for text in new]), ["own"] * 6 + ["x"] * 2)
    rows = encode(transfer.examples, teacher.tokenizer, 16, options=options)
    found, targets = completed(teacher, rows, options, runtime)
    assert own.labels is not None and targets[:6] == [references[0] for references in own.labels]
    given = teacher.tokenizer([new[0]], return_tensors="pt")
    ids = teacher.model.generate(**given, num_beams=BEAMS, max_new_tokens=8)
    assert targets[6] == teacher.tokenizer.decode(ids[0], skip_special_tokens=True).strip()
    learnt = teacher.tokenizer(text_target=targets, truncation=True, max_length=8)["input_ids"]
    assert found.labels is not None
    assert found.labels.tolist() == [token for ids in learnt for token in ids]
    file = folder / "transfer.jsonl.gz"
    replace(transfer, targets=targets).write(file, None)
    with gzip.open(file, "rt") as written:
        lines = [json.loads(line) for line in written]
    assert lines[7] == {"text": new[1], "method": "x", "target": targets[7]}
    assert len(lines) == 8


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
        ("data: corpus, teacher: task, losses: {logits: 1}", "texts without a target, from which"),
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
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the good cat\nthe bad dog\n")
    flags = flags_of({**quick, **given, **more, "corpus": corpus})
    code, _ = command("search", *flags)
    assert code == 2 and message in command.all and "Traceback" not in command.all


@pytest.mark.slow
@pytest.mark.parametrize("with_corpus", [False, True])
def test_a_transfer_set_has_targets_that_the_teacher_wrote(
    with_corpus: bool, folder: Path, command: Said, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.txt"
    texts = [f"the good cat finds the {noun}" for noun in ("film", "city", "bank", "river")]
    corpus.write_text("\n".join(texts))
    given = {"teacher": folder / "bart", "task": folder / "captions.yaml", "data_dir": folder}
    quick = {k: v for k, v in QUICK.items() if k not in OF_A_SEARCH}
    more = {"recipe": "transfer", "out": tmp_path / "run", "architecture": "1+1x32-h4"}
    more |= {"batch_size": 4, "max_target_length": 8, "transfer_rows": 44}
    more |= {"corpus": corpus} if with_corpus else {}
    code, _ = command("distill", *flags_of({**quick, **given, **more}))
    assert code == 0, command.all
    with gzip.open(tmp_path / "run" / "transfer.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    assert all("target" in line and "logits" not in line for line in lines)
    new = [line for line in lines if line["method"] != "own"]
    assert len(new) == 4 if with_corpus else len(lines) == 44
    assert f"the teacher writes texts for {len(new)} rows" in command.all
    assert {line["text"] for line in new} == set(texts) or not with_corpus
    assert {line["method"] for line in new} <= ({"corpus"} if with_corpus else {"replace", "span"})


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["sequence-level", "logits", "labels"])
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


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["bart", "t5"])
@pytest.mark.parametrize(("recipe", "shape"), [("wide", "1+1"), ("narrow", "1+1x16-h4")])
def test_recipes_of_two_stacks_do_what_they_say(
    recipe: str, shape: str, model_type: str, folder: Path, command: Said, tmp_path: Path
) -> None:
    """A plain student of the width asked for, no projection in it, whose losses fell."""
    place, run = folder / model_type, tmp_path / "run"
    if not place.exists():
        save_writer(place, model_type)
    given = {"teacher": place, "task": folder / "captions.yaml", "data_dir": folder}
    quick = {k: v for k, v in QUICK.items() if k not in OF_A_SEARCH}
    more = {"recipe": recipe, "out": run, "architecture": shape, "batch_size": 4}
    code, _ = command("distill", *flags_of({**quick, **given, **more, "max_target_length": 8}))
    assert code == 0, command.all
    report = load_run(run).report
    assert report is not None
    own = "controls/distilled" if report.selection.shipped != "distilled" else "student"
    student = AutoModelForSeq2SeqLM.from_pretrained(run / own)
    assert student.config.d_model == (32 if recipe == "wide" else 16)
    fresh = AutoModelForSeq2SeqLM.from_config(student.config)
    assert set(student.state_dict()) == set(fresh.state_dict())
    curves = {(curve["name"], curve["stage"]): curve["points"] for curve in Curves(run).read()}
    losses = [loss for _, loss in curves["student", "task"]]
    assert len(losses) > 10 and np.mean(losses[-5:]) < np.mean(losses[:5])
    stages = load_run(run).settings.full_stages
    compared = {name for stage in stages for name in stage.losses}
    assert compared >= {"task", "logits", "hidden", "decoder-hidden"}
    assert (
        ("cross-attention" in compared)
        == ("decoder-embeddings" in compared)
        == (recipe == "narrow")
    )
