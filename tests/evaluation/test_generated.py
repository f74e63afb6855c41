"""Texts that encoder-decoders write: fine-tuned, scored, predicted."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Said
from support.tiny_writers import PAD, save_captions, save_writer
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import kdnas
from kdnas.config import Settings
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.training import predict
from kdnas.errors import KdnasError
from kdnas.evaluation.closing import closing_lines
from kdnas.evaluation.scores import evaluate_model, scores_and_intervals
from kdnas.runs.run_folder import dump
from kdnas.runtime.device import Runtime
from kdnas.students.checkpoint import load_checked, load_student, student_artifact
from kdnas.tasks import (
    TASK_TYPES,
    EncodedExamples,
    TaskData,
    TaskSpec,
    encode,
    load_data,
    load_spec,
)
from kdnas.teachers.fine_tune import fine_tune
from kdnas.teachers.load import Teacher, load_teacher

FAMILIES = ("bart", "marian", "t5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_captions(tmp_path_factory.mktemp("captions"))


@pytest.fixture(scope="module")
def captions(folder: Path) -> TaskData:
    return load_data(load_spec(folder / "captions.yaml"), folder)


def loaded(place: Path, spec: TaskSpec) -> Teacher:
    options = {"max_target_length": 16, "source_prefix": ""}
    return load_teacher(str(place), spec, options=options)


def encoded(teacher: Teacher, captions: TaskData, split: str, rows: int) -> EncodedExamples:
    kind = captions.spec.task_type
    options = kind.encode_options({"max_target_length": 16}, teacher.model.config)
    some = captions.splits[split].take(range(rows))
    return encode(some, teacher.tokenizer, 32, options=options)


@pytest.fixture(scope="module")
def tuned(
    folder: Path, captions: TaskData, runtime: Runtime, tmp_path_factory: pytest.TempPathFactory
) -> Teacher:
    """A small T5 that has learnt its captions in part."""
    place = tmp_path_factory.mktemp("t5")
    teacher = loaded(save_writer(place / "new", "t5"), captions.spec)
    train = encoded(teacher, captions, "train", 240)
    schedule = Schedule(4, 1e-2, 16, 0)
    fine_tune(teacher, train, schedule, runtime, place / "t5.pt", "t5", "none")
    teacher.name = str(place / "tuned")
    teacher.model.save_pretrained(teacher.name)
    teacher.tokenizer.save_pretrained(teacher.name)
    return teacher


@pytest.mark.parametrize("family", FAMILIES)
def test_fine_tuning_lowers_the_loss(
    family: str, captions: TaskData, runtime: Runtime, tmp_path: Path
) -> None:
    teacher = loaded(save_writer(tmp_path / family, family), captions.spec)
    train = encoded(teacher, captions, "train", 96)
    schedule = Schedule(2, 5e-3, 16, 0)
    result = fine_tune(teacher, train, schedule, runtime, tmp_path / "x.pt", "test", "none")
    losses = [loss for _, loss in result.curve]
    assert losses[-1] < 0.9 * losses[0]


def test_predictions_are_what_transformers_generates(
    tuned: Teacher, captions: TaskData, runtime: Runtime
) -> None:
    """Whatever shares a batch, and in the order of the data."""
    data = encoded(tuned, captions, "validation", 9)
    found = predict(tuned.model, data, runtime, pad_id=tuned.pad_id)
    assert found.dtype == torch.int64 and len(found) == 9
    plain = AutoModelForSeq2SeqLM.from_pretrained(tuned.name)
    for text, ids in zip(captions.splits["validation"].text, found, strict=False):
        given = tuned.tokenizer(text, return_tensors="pt")
        own = plain.generate(**given)[0]
        assert ids[: len(own)].tolist() == own.tolist()
        assert set(ids[len(own) :].tolist()) <= {PAD}


def test_beams_and_sampling_are_those_of_the_generation_config(
    tuned: Teacher, captions: TaskData, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(tuned, captions, "validation", 6)
    greedy = predict(tuned.model, data, runtime, pad_id=PAD)
    with monkeypatch.context() as patch:
        patch.setattr(tuned.model.generation_config, "num_beams", 3)
        patch.setattr(tuned.model.generation_config, "max_new_tokens", 4)
        beams = predict(tuned.model, data, runtime, pad_id=PAD)
        assert beams.shape[1] <= 5 < greedy.shape[1]
    monkeypatch.setattr(tuned.model.generation_config, "do_sample", True)
    before = torch.get_rng_state()
    sampled = [predict(tuned.model, data, runtime, pad_id=PAD) for _ in range(2)]
    assert torch.equal(*sampled) and not torch.equal(sampled[0], greedy)
    assert torch.equal(torch.get_rng_state(), before)


def test_scores_are_of_generated_texts(
    tuned: Teacher, captions: TaskData, runtime: Runtime
) -> None:
    data = encoded(tuned, captions, "validation", 24)
    work = ({"validation": data}, captions.spec, runtime, PAD)
    found = scores_and_intervals(tuned.model, *work)
    assert found["scores"] == evaluate_model(tuned.model, *work)
    low, high = found["intervals"]["chrf"]
    assert 20 < low < found["scores"]["chrf"] < high <= 100
    rows = found["rows"]["validation"]
    assert json.loads(json.dumps(rows)) is not None
    assert rows["truth"][0] == (captions.splits["validation"].labels[0][0],)  # type: ignore[index]


def test_a_checkpoint_is_evaluated_and_writes_a_text_a_line(
    tuned: Teacher, folder: Path, tmp_path: Path
) -> None:
    found = kdnas.evaluate(
        tuned.name,
        str(folder / "captions.yaml"),
        data_dir=folder,
        device="cpu",
        predictions=tmp_path,
    )
    task = found["tasks"]["captions"]
    assert set(task["scores"]) == set(task["intervals"]) == {"bleu", "chrf"}
    assert task["details"]["signatures"]["bleu"].startswith("nrefs:1|")
    assert any("chrf: nrefs:1|case:mixed" in line for line in closing_lines(found))
    written = (tmp_path / "captions.txt").read_text(encoding="utf-8")
    assert written.count("\n") == 8


def test_predict_writes_texts(tuned: Teacher, folder: Path, command: Said) -> None:
    said = kdnas.predict(tuned.name, ["the good cat sees the bad dog"], device="cpu")
    assert set(said[0]) == {"text", "generated"} and "en " in said[0]["generated"]
    code, _ = command("predict", tuned.name, "--file", folder / "captions" / "test.en")
    assert code == 0 and command.all.count("\n") == 8
    assert not any(line.endswith(" ") for line in command.all.splitlines())


def test_what_writes_has_no_probabilities_to_give(tuned: Teacher, command: Said) -> None:
    code, error = command("predict", tuned.name, "good dog", "--probabilities", "--json")
    assert code == 2 and error.count("\n") == 1
    assert "--probabilities does not go with sequence-to-sequence: the model writes a" in error
    with pytest.raises(KdnasError, match="--probabilities does not go with"):
        kdnas.predict(tuned.name, "good dog", probabilities=True, device="cpu")


def test_options_of_encoding_reach_the_command(tuned: Teacher, folder: Path, command: Said) -> None:
    given = ("--task", folder / "captions.yaml", "--data-dir", folder)
    own = ("--source-prefix", "the good ", "--max-target-length", "4", "--device", "cpu")
    assert command("evaluate", tuned.name, *given, *own)[0] == 0
    assert "24 targets are cut at 4 tokens (raise --max-target-length)" in command.all


def test_a_model_remembers_its_prefix(captions: TaskData, runtime: Runtime, tmp_path: Path) -> None:
    place = save_writer(tmp_path / "t5", "t5")
    options = {"max_target_length": 12, "source_prefix": "the good "}
    teacher = load_teacher(str(place), captions.spec, options=options)
    teacher.model.save_pretrained(tmp_path / "kept")
    shutil.copytree(place, tmp_path / "kept", dirs_exist_ok=True, ignore=_weights)
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "kept")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "kept")
    own = model.generate(**tokenizer("the good bad dog", return_tensors="pt"))
    assert own.shape[1] <= 13
    expected = tokenizer.batch_decode(own, skip_special_tokens=True)[0].strip()
    said = kdnas.predict(tmp_path / "kept", "bad dog", device="cpu")
    assert said == [{"text": "bad dog", "generated": expected}]


def _weights(_: str, names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith("tokenizer")]


def test_teachers_that_cannot_do_it(
    folder: Path,
    data_folder: Path,
    make_teacher: Callable[..., Path],
    command: Said,
    tmp_path: Path,
) -> None:
    given = ("--task", folder / "captions.yaml", "--data-dir", folder)
    code, error = command("search", "--teacher", make_teacher(), *given, "--out", tmp_path / "a")
    assert code == 2 and "is an encoder, and the task is sequence-to-sequence" in error
    gpt = save_writer(tmp_path / "gpt2")
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
    (gpt / "config.json").write_text(json.dumps(config))
    code, error = command("evaluate", gpt, *given)
    assert code == 2 and "(gpt2) is a decoder alone" in error
    bart = save_writer(tmp_path / "bart")
    code, error = command("evaluate", bart, "--task", "mrpc", "--data-dir", data_folder)
    assert code == 2 and "(bart) is an encoder-decoder, and the task is classification" in error
    none = ("--speedup", "none", "--out", tmp_path / "b")
    code, error = command("search", "--teacher", bart, *given, *none)
    assert code == 2 and "is not clearly better than a simple model: bleu" in error


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"do_sample": True, "temperature": 0.0}, "temperature 0.0 in the generation config"),
        ({"num_beams": "four"}, "num_beams 'four' in the generation config of the model: expected"),
        ({"num_beams": 0}, "num_beams 0 in"),
        ({"num_beams": 2.5}, "expected a whole number, 1 or more; mend its generation_config.json"),
        ({"max_length": "20", "max_new_tokens": None}, "invalid max_length '20' in"),
        ({"repetition_penalty": "hi"}, "repetition_penalty 'hi' in"),
        (
            {"do_sample": "yes"},
            "do_sample 'yes' in the generation config of the model: expected true",
        ),
        ({"do_sample": True, "top_p": 1.5}, "top_p 1.5 in"),
        ({"decoder_start_token_id": 99_999}, "expected a token id, 0 to "),
    ],
)
def test_values_that_no_model_can_write_by_are_refused(
    asked: dict[str, Any], message: str, tmp_path: Path
) -> None:
    place = save_writer(tmp_path / "bart")
    file = place / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **asked}))
    model = AutoModelForSeq2SeqLM.from_pretrained(place)
    with pytest.raises(KdnasError, match=re.escape(message)):
        TASK_TYPES["sequence-to-sequence"].adapt(model, {})


def test_a_temperature_of_0_is_idle_without_sampling(tmp_path: Path) -> None:
    place = save_writer(tmp_path / "bart")
    file = place / "generation_config.json"
    asked = {"temperature": 0.0, "top_k": None, "max_new_tokens": 8}
    file.write_text(json.dumps({**json.loads(file.read_text()), **asked}))
    model = AutoModelForSeq2SeqLM.from_pretrained(place)
    TASK_TYPES["sequence-to-sequence"].adapt(model, {})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
            "num_beam_groups 2, with which kdnas cannot write; remove num_beam_groups and "
            "diversity_penalty from its generation_config.json",
        ),
        ({"penalty_alpha": 0.6, "top_k": 4}, "penalty_alpha 0.6, with which kdnas cannot write"),
        ({"num_beams": 2, "force_words_ids": [[5]]}, "force_words_ids [[5]], with which"),
        ({"dola_layers": "high"}, "dola_layers high, with which"),
        ({"stop_strings": ["."]}, "stop_strings ['.'], with which"),
        ({"prompt_lookup_num_tokens": 3}, "prompt_lookup_num_tokens 3, with which"),
    ],
)
def test_ways_of_writing_that_need_more_are_refused(
    asked: dict[str, Any], message: str, folder: Path, command: Said, tmp_path: Path
) -> None:
    """Before anything is computed, by every command."""
    place = save_writer(tmp_path / "bart")
    file = place / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **asked}))
    task = ("--task", folder / "captions.yaml", "--data-dir", folder)
    code, _ = command("predict", place, "the good market")
    assert code == 2 and message in command.all and "Traceback" not in command.all, command.all
    code, _ = command("evaluate", place, *task)
    assert code == 2 and message in command.all and "Traceback" not in command.all, command.all
    code, _ = command("search", "--teacher", place, *task, "--out", tmp_path / "run")
    assert code == 2 and message in command.all and "Traceback" not in command.all, command.all
    assert not (tmp_path / "run").exists()


def test_with_beams_some_settings_have_no_effect(folder: Path, tmp_path: Path) -> None:
    place = save_writer(tmp_path / "bart")
    file = place / "generation_config.json"
    more = {"num_beams": 2, "penalty_alpha": 0.6, "dola_layers": "high"}
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))
    assert isinstance(kdnas.predict(place, "the good market")[0]["generated"], str)


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Path:
    """A run whose student writes without an end as long as it may."""
    model = AutoModelForSeq2SeqLM.from_pretrained(save_writer(tmp_path / "bart"))
    tokenizer, place = AutoTokenizer.from_pretrained(tmp_path / "bart"), tmp_path / "run"
    student_artifact(place / "student", {"trial": 3}, tokenizer).write(model)
    own = {"teacher": str(tmp_path / "bart"), "task": str(folder / "captions.yaml")}
    settings = Settings(**own, data_dir=folder, device="cpu")
    (place / "config.yaml").write_text(dump(settings))
    return place


def edit(folder: Path, **changes: Any) -> None:
    file = folder / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_runs_student_writes_as_its_edited_generation_config_says(run: Path) -> None:
    """As from its own folder: no text is longer than the decoder has positions."""
    edit(run / "student", max_new_tokens=500, min_new_tokens=300)
    said = kdnas.predict(run, "the good market")
    assert said == kdnas.predict(run / "student", "the good market")
    assert load_checked(run)[0].generation_config.max_new_tokens == 64
    assert load_student(run / "student").generation_config.max_new_tokens == 64


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"num_beams": 0}, "invalid num_beams 0 in the generation config of the model: expected"),
        ({"dola_layers": "high"}, "asks for dola_layers high, with which kdnas cannot write; rem"),
    ],
)
def test_a_runs_student_that_cannot_write_as_edited_is_refused(
    asked: dict[str, Any], message: str, run: Path, command: Said
) -> None:
    edit(run / "student", **asked)
    for words in (("predict", run, "the good market"), ("export", run)):
        code, error = command(*words)
        assert code == 2 and message in error and error.strip().endswith("generation_config.json")


def test_a_checkpoint_that_returns_more_than_texts_writes_them(tmp_path: Path) -> None:
    place = save_writer(tmp_path / "bart")
    plain = kdnas.predict(place, "the good market")
    file = place / "generation_config.json"
    more = {"return_dict_in_generate": True, "output_scores": True}
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))
    assert kdnas.predict(place, "the good market") == plain


def test_a_teacher_that_writes_nonsense_is_refused_after_some_rows(
    folder: Path, command: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdnas.workflow.preparing.check_teacher.SAMPLE", 3)
    given = ("--task", folder / "captions.yaml", "--data-dir", folder, "--speedup", "none")
    teacher = ("--teacher", save_writer(tmp_path / "bart"), "--out", tmp_path / "run")
    code, error = command("search", *teacher, *given)
    assert code == 2 and "is not clearly better than a simple model: bleu" in error
    assert re.search(r"on 3 of \d+ rows, \S+ for ", error)
    assert not (tmp_path / "run" / "steps" / "evaluate-teacher.json").exists()
