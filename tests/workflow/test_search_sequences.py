"""Texts from texts the whole way: search, resume, worker, report, predict."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK, Said, flags_of
from support.tiny_pairs import VARIANTS, pair_config
from support.tiny_writers import WORDS, save_captions, save_writer, writers_tokenizer
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer

from kdnas import distill, load_run, predict, resume, search
from kdnas.measure import latency
from kdnas.space import Architecture

FEW: dict[str, Any] = {
    **QUICK,
    "trials": 2,
    "proxy_fraction": 1.0,
    "max_length": 16,
    "max_target_length": 16,
    "space": {"hidden_size": [16, 32], "num_attention_heads": [4], "intermediate_size": [64]},
}
del FEW["force"]


@pytest.fixture(scope="module", autouse=True)
def brief_timing() -> Iterator[None]:
    """Every generation is timed, twice only."""
    few = {"FEWEST": 2, "FEWER_WRITTEN": 100, "WARM_UP": 1, "CALM": 1e9, "CELL_SECONDS": 0.2}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in few.items():
            patch.setattr(latency, name, value)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_captions(tmp_path_factory.mktemp("captions"))


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """A finished search for a student of a T5 that was fine-tuned in it."""
    teacher = save_writer(folder / "t5", "t5")
    learning = {"fine_tune": True, "teacher_epochs": 10, "teacher_lr": 1e-2, "batch_size": 8}
    options = {**FEW, **learning, "task_epochs": 2, "task_lr": 2e-3, "data_dir": folder}
    return search(teacher, folder / "captions.yaml", out=folder / "run", **options).folder


@pytest.mark.slow
def test_a_student_of_an_encoder_decoder_is_found(run: Path) -> None:
    report, trials = load_run(run).report, load_run(run).trials
    assert report is not None and report.main_score == "bleu" and report.search is not None
    assert set(report.student.scores) == {"bleu", "chrf"}
    assert report.teacher.scores["bleu"] > report.baselines[0].scores["bleu"] > 10
    assert report.baselines[0].name == "target of the nearest source"
    named = {one.name.partition(",")[0] for one in report.controls}
    assert {"fine-tuned without KD", "hand-picked"} <= named | {report.selection.shipped}
    assert report.student.scores["chrf"] > 15
    assert report.details is not None and "tok:13a" in report.details.signatures["bleu"]
    assert report.disagreement is not None and report.disagreement.samples
    assert [cell.batch for cell in report.latency if cell.repeats] == [1, 8, 32]
    assert trials.num_decoder_layers.notna().all() and (trials.speedup > 0).all()
    shape = Architecture.from_params(report.student.architecture.params)
    assert shape.num_decoder_layers and "+" in report.student.name


@pytest.mark.slow
def test_both_stacks_are_learnt_and_scored(run: Path) -> None:
    """By mini-KD and by the recipe, unless someone says otherwise."""
    settings = load_run(run).settings
    assert settings.mini_losses == settings.hidden_losses == {"hidden": 1, "decoder-hidden": 1}
    assert settings.scored_losses == ("hidden", "decoder-hidden")
    hidden, task = settings.full_stages
    assert set(hidden.losses) == {"hidden", "decoder-hidden"}
    assert set(task.losses) == {"task", "logits", "hidden", "decoder-hidden"}


@pytest.mark.slow
def test_the_files_of_the_run_tell_of_both_stacks(run: Path) -> None:
    with (run / "trials.csv").open() as file:
        [first, *_] = csv.DictReader(file)
    assert int(first["num_decoder_layers"]) in (1, 2)
    told = json.loads((run / "report.json").read_text())
    assert told["student"]["architecture"]["num_decoder_layers"] in (1, 2)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "decoder layers" in page and "tok:13a" in page and "write texts" in page
    card = (run / "student" / "README.md").read_text(encoding="utf-8")
    assert "AutoModelForSeq2SeqLM" in card and "model.generate" in card


@pytest.mark.slow
def test_the_student_is_a_plain_checkpoint_that_writes(run: Path, command: Said) -> None:
    model = AutoModelForSeq2SeqLM.from_pretrained(run / "student")
    tokenizer = AutoTokenizer.from_pretrained(run / "student")
    text = "the good market likes the bad film"
    ids = model.generate(**tokenizer([text], return_tensors="pt"))
    [plain] = tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert predict(run, [text])[0]["generated"] == plain.strip()
    code, _ = command("predict", run, text)
    assert code == 0 and plain.strip() in command.all


@pytest.mark.slow
def test_the_student_is_exported_to_onnx(run: Path, command: Said, tmp_path: Path) -> None:
    """fp32 writes what PyTorch writes, int8 has a score beside it."""
    code, _ = command(
        *("export", run, "--format", "torch,onnx,int8", "--out", tmp_path / "out"),
        *("--max-drop", 1),
    )
    assert code == 0, command.all
    found = json.loads((tmp_path / "out" / "export.json").read_text())
    rows = {(row["model"], row["runtime"]): row for row in found["models"]}
    assert found["main_score"] == "bleu" and found["writing"]["texts_compared"] == 24
    for who in ("teacher", "student"):
        scores = [rows[who, runtime]["scores"]["bleu"] for runtime in ("PyTorch", "ONNX")]
        assert scores[0] == pytest.approx(scores[1], abs=0.5) and rows[who, "ONNX"]["latency"]
    assert "bleu" in rows["student", "int8"]["scores"] and "bleu" in found["int8_change"]
    report = load_run(run).report
    assert report is not None
    scored = report.student.scores["bleu"]
    assert rows["student", "PyTorch"]["scores"]["bleu"] == pytest.approx(scored, abs=0.5)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert f"kdnas export {run} --format onnx,int8" in page


@pytest.mark.slow
def test_candidates_are_timed_in_onnx_runtime(folder: Path) -> None:
    teacher = save_writer(folder / "timed", "bart")
    options = {**FEW, "latency_runtime": "onnx", "data_dir": folder, "force": True}
    found = search(teacher, folder / "captions.yaml", out=folder / "timed-run", **options)
    assert found.report is not None and found.report.environment.timed_on.startswith("cpu in onnx")
    assert (found.trials.speedup > 0).all()


@pytest.mark.slow
def test_a_run_goes_on_and_a_worker_joins_it(
    run: Path, folder: Path, command: Said, tmp_path: Path
) -> None:
    """Nothing that is there is made again."""
    again = tmp_path / "again"
    shutil.copytree(run, again)
    before = (again / "student" / "model.safetensors").read_bytes()
    resume(again)
    assert (again / "student" / "model.safetensors").read_bytes() == before
    seconds = load_run(again).report.seconds["teacher"]  # type: ignore[union-attr]
    resume(again, trials=3)
    code, _ = command("worker", again)
    assert code == 0
    found = load_run(again)
    assert len(found.scored) == 3 and found.report is not None
    assert found.report.seconds["teacher"] == seconds
    code, _ = command("distill", again, "--trial", "0")
    assert code == 0


@pytest.mark.slow
def test_one_shape_is_distilled_without_a_search(folder: Path) -> None:
    teacher = save_writer(folder / "bart", "bart")
    options = {name: value for name, value in FEW.items() if name not in ("trials", "space")}
    options |= {"out": folder / "one", "data_dir": folder, "force": True}
    made = distill(
        teacher=teacher, task=folder / "captions.yaml", architecture="1+2x16-h2", **options
    )
    assert made.report.student.name == "1+2x16 h2 f32 gelu"
    assert made.report.search is None
    model = AutoModelForSeq2SeqLM.from_pretrained(made.student)
    assert (model.config.encoder_layers, model.config.decoder_layers) == (1, 2)
    assert model.config.d_model == 16


@pytest.mark.slow
def test_a_student_goes_without_its_teachers_prefix(
    folder: Path, command: Said, tmp_path: Path
) -> None:
    """It is left out in training, prediction and export, in the card and the config."""
    teacher = save_writer(tmp_path / "t5", "t5", prefix="the good ")
    options = {name: value for name, value in FEW.items() if name not in ("trials", "space")}
    options |= {"out": tmp_path / "run", "data_dir": folder, "force": True, "source_prefix": ""}
    distill(teacher=teacher, task=folder / "captions.yaml", architecture="1+1x16-h2", **options)
    assert AutoConfig.from_pretrained(tmp_path / "run" / "student").prefix == ""
    [found] = predict(tmp_path / "run", ["the bad film"])
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "run" / "student")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / "student")
    ids = model.generate(**tokenizer(["the bad film"], return_tensors="pt"))
    assert found["generated"] == tokenizer.decode(ids[0], skip_special_tokens=True).strip()
    code, _ = command("export", tmp_path / "run", "--format", "onnx", "--out", tmp_path / "out")
    assert code == 0, command.all
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    assert told["writing"]["prefix"] == "" and told["writing"]["texts_compared"] == 24


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "bert"}, "is an encoder, and the task is sequence-to-sequence; give an"),
        (
            {"model_type": "gpt2"},
            "(gpt2) is a decoder alone; kdnas distils encoders and",
        ),
        (
            {"max_target_length": 99},
            "invalid --max-target-length 99: the decoder has 64 positions; give at most 64",
        ),
        ({"architecture": "1+3x16"}, "3 decoder layers are more than the teacher's 2; give 1 to 2"),
        ({"empty": 3}, "3 of 40 lines cannot be used: 3 lines have no label under 'de'"),
        ({"cut": True}, "train.en has 40 lines"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    changed: dict[str, Any], message: str, command: Said, tmp_path: Path, teacher_folder: Path
) -> None:
    changed, place = dict(changed), save_captions(tmp_path, train=40, dev=8)
    file = place / "captions" / "train.de"
    lines = file.read_text().splitlines()
    if changed.pop("empty", None):
        file.write_text("\n".join(["", "", "", *lines[3:]]) + "\n")
    if changed.pop("cut", None):
        file.write_text("\n".join(lines[:-1]) + "\n")
    named = changed.pop("model_type", None)
    teacher = teacher_folder if named == "bert" else save_writer(tmp_path / "bart")
    if named == "gpt2":
        config = AutoConfig.for_model("gpt2", n_layer=1, n_embd=16, n_head=2)
        config.save_pretrained(teacher)
    given = {"teacher": teacher, "task": place / "captions.yaml", "data_dir": place}
    quick = {
        k: v
        for k, v in QUICK.items()
        if k not in ("random_control", "finalists", "screen", "batch_size")
    }
    flags = {"architecture": "1+1x16", **quick, **given, "batch_size": 4, **changed}
    code, _ = command("distill", *flags_of({**flags, "out": tmp_path / "run"}))
    assert code == 2 and message in command.all and "Traceback" not in command.all, command.all
    assert command.all.strip().splitlines()[-1].startswith("kdnas: ")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "changes"), VARIANTS)
def test_every_family_goes_the_whole_way(
    model_type: str, changes: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    config = pair_config(model_type, vocab_size=WORDS, **changes)
    tokenizer = writers_tokenizer(begins=True)
    config.update({"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id})
    if model_type in ("mbart", "plbart"):  # they learn to begin with what ends a target
        config.update({"decoder_start_token_id": tokenizer.eos_token_id})
    model = AutoModelForSeq2SeqLM.from_config(config)
    model.save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    options = {**FEW, "trials": 1, "force": True, "data_dir": folder, "max_train_rows": 100}
    options["space"] = {"hidden_size": [16], "num_hidden_layers": [2], "num_decoder_layers": [1]}
    found = search(tmp_path / "teacher", folder / "captions.yaml", out=tmp_path / "run", **options)
    assert found.report is not None and found.report.student.params < found.report.teacher.params
    assert isinstance(predict(found.folder, ["the good film"])[0]["generated"], str)


@pytest.mark.slow
def test_heads_of_their_own_size_go_the_whole_way(
    folder: Path, command: Said, tmp_path: Path
) -> None:
    """A T5 of three heads of 16 in a hidden size of 32: searched, resumed, exported."""
    changes = {"num_heads": 3, "d_kv": 16, "feed_forward_proj": "gated-gelu"}
    teacher = save_writer(folder / "own-heads", "t5", **changes)
    space = {**FEW["space"], "hidden_size": [20, 32], "num_attention_heads": [1, 2, 3]}
    options = {**FEW, "space": space, "data_dir": folder, "force": True}
    found = search(teacher, folder / "captions.yaml", out=tmp_path / "run", **options)
    assert found.report is not None
    told = json.loads((found.folder / "report.json").read_text())
    assert told["teacher"]["architecture"]["own_head_size"] == 16
    assert set(found.trials.own_head_size.dropna()) <= {16}
    config = AutoConfig.from_pretrained(found.student)
    assert config.d_kv == 16 and config.num_heads in (1, 2, 3)
    (found.folder / "study.db").unlink()  # its trials come back from the rows on record
    code, _ = command("resume", found.folder, "--rebuild-study", "--trials", 3)
    assert code == 0, command.all
    again = load_run(found.folder)
    assert len(again.scored) == 3
    assert predict(again.folder, ["the good market"])[0]["generated"] is not None
    code, _ = command("export", again.folder, "--format", "onnx", "--out", tmp_path / "out")
    assert code == 0, command.all
    rows = json.loads((tmp_path / "out" / "export.json").read_text())
    assert rows["writing"]["texts_compared"] == 24


@pytest.mark.slow
def test_a_given_shape_has_its_teachers_heads(folder: Path, tmp_path: Path) -> None:
    teacher = save_writer(folder / "three-heads", "t5", num_heads=3, d_kv=16)
    options = {name: value for name, value in FEW.items() if name not in ("trials", "space")}
    options |= {"out": tmp_path / "one", "data_dir": folder, "force": True}
    made = distill(
        teacher=teacher, task=folder / "captions.yaml", architecture="2+1x20-h3", **options
    )
    assert made.report.student.name == "2+1x20 h3 f40 relu"
    assert made.report.student.architecture.own_head_size == 16
    config = AutoConfig.from_pretrained(made.student)
    assert (config.d_model, config.num_heads, config.d_kv) == (20, 3, 16)
