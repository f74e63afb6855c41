"""`kdnas predict`: texts from anywhere get the labels that a plain loop gives them."""

from __future__ import annotations

import io
import json
import random
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import QUICK, Said, sentence, small_config, small_tokenizer
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from kdnas.config import Settings
from kdnas.distillation import training
from kdnas.errors import KdnasError
from kdnas.evaluation.predict import (
    _settings_of,
    load_classifier,
    predict,
    predict_rows,
    prediction_line,
)
from kdnas.evaluation.texts import Row, rows_of
from kdnas.recipes.run_data import encode_options
from kdnas.runs.run_folder import dump
from kdnas.runtime.device import start_runtime
from kdnas.students.checkpoint import student_artifact
from kdnas.tasks import TASK_TYPES, Examples, encode
from kdnas.tasks.types import threshold_of
from kdnas.tasks.types.classification import Classification

LABELS = ("negative", "positive")
RNG = random.Random(4)
TEXTS = [" ".join(sentence(RNG) for _ in range(RNG.choice((1, 1, 2, 20)))) for _ in range(40)]


def expected(model: Path, texts: list[str], pairs: list[str] | None = None) -> list[list[float]]:
    """The logits of a plain loop."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    classifier = AutoModelForSequenceClassification.from_pretrained(model)
    rows = zip(texts, pairs, strict=True) if pairs else ((text,) for text in texts)
    found = []
    for row in rows:
        inputs = tokenizer(*row, truncation=True, max_length=64, return_tensors="pt")
        found.append(classifier(**inputs).logits[0].tolist())
    return found


def make_run(folder: Path, classifier: Path, task: str) -> Path:
    """A finished run whose student is a classifier."""
    model = AutoModelForSequenceClassification.from_pretrained(classifier)
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    student_artifact(folder / "student", {"trial": 1}, tokenizer).write(model)
    (folder / "config.yaml").write_text(dump(Settings(task=task, **QUICK)))
    (folder / "report.json").write_text("{}")
    (folder / "log.jsonl").touch()
    return folder


@pytest.fixture(scope="module")
def model(make_classifier: Callable[..., Path]) -> Path:
    return make_classifier(LABELS)


@pytest.fixture
def said(command: Said, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`kdnas predict` with some standard input: its lines on standard output."""

    def call(*arguments: object, stdin: bytes = b"") -> list[str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        command.capfd.readouterr()  # what making the model printed
        before = len(command.all)
        code, error = command("predict", *arguments)
        assert code == 0, error
        return command.all[before:].removesuffix(error).splitlines()

    return call


@pytest.fixture
def refused(command: Said, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`kdnas predict` with arguments that it refuses: its one line."""

    def call(*arguments: object, stdin: bytes = b"") -> str:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        command.capfd.readouterr()
        code, error = command("predict", *arguments)
        assert code == 2 and error.count("\n") == 1, error
        return error

    return call


def test_a_class_and_its_probability(model: Path) -> None:
    found = predict(model, TEXTS, threads=1)
    assert [row["text"] for row in found] == TEXTS
    for row, logits in zip(found, expected(model, TEXTS), strict=True):
        chances = torch.tensor(logits).softmax(0).tolist()
        assert row["label"] == LABELS[chances[1] > chances[0]]
        assert row["score"] == pytest.approx(max(chances), abs=1e-5)
        assert list(row["probabilities"].values()) == pytest.approx(chances, abs=1e-5)
    assert len({row["label"] for row in found}) == 2
    assert predict(str(model), TEXTS[0])[0]["label"] == found[0]["label"]


def test_a_regression_gives_numbers(
    make_classifier: Callable[..., Path], said: Callable[..., list[str]]
) -> None:
    model = make_classifier(None)
    pairs = TEXTS[::-1]
    found = predict(model, TEXTS, pairs=pairs)
    wanted = [logits[0] for logits in expected(model, TEXTS, pairs)]
    assert [row["score"] for row in found] == pytest.approx(wanted, abs=1e-4)
    assert set(found[0]) == {"text", "text_pair", "score"}
    (line,) = said(model, "the cat", "--text-pair", "the dog")
    assert line.endswith("  the cat | the dog") and float(line.split()[0])


def test_one_line_a_text(model: Path, said: Callable[..., list[str]]) -> None:
    lines = said(model, "the good cat", "the bad\n city")
    assert len(lines) == 2
    label, score, text = lines[1].split(maxsplit=2)
    assert label in LABELS and 0.5 <= float(score) <= 1 and text == "the bad city"


def test_the_task_type_says_how_an_answer_looks(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stars(self: Any, answer: dict[str, Any], labels: Sequence[str]) -> str:
        return "*" * (labels.index(answer["label"]) + 1)

    monkeypatch.setattr(Classification, "answer_line", stars)
    (answer,) = predict(model, "the good cat")
    line = prediction_line(load_classifier(model), answer)
    assert line == "*" * (LABELS.index(answer["label"]) + 1) + "  the good cat"


def test_json_lines(model: Path, said: Callable[..., list[str]]) -> None:
    rows = [json.loads(line) for line in said(model, "the good cat", "the dog", "--json")]
    assert rows == predict(model, ["the good cat", "the dog"])


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_tables(suffix: str, model: Path, tmp_path: Path, said: Callable[..., list[str]]) -> None:
    frame = pd.DataFrame({"idx": range(7, 47), "sentence": TEXTS})
    file = tmp_path / f"texts{suffix}"
    if suffix == ".jsonl":
        frame.to_json(file, orient="records", lines=True)
    elif suffix == ".parquet":
        frame.to_parquet(file)
    else:
        frame.to_csv(file, sep="," if suffix == ".csv" else "\t", index=False)
    rows = [json.loads(line) for line in said(model, "--file", file, "--json")]
    assert [str(row.pop("id")) for row in rows] == [str(i) for i in range(7, 47)]
    assert rows == predict(model, TEXTS)


def test_lines_of_a_file_and_of_standard_input(
    model: Path, tmp_path: Path, said: Callable[..., list[str]]
) -> None:
    text = "\n".join(TEXTS)
    (tmp_path / "texts.txt").write_text(text)
    lines = said(model, "--file", tmp_path / "texts.txt")
    assert [line.split(maxsplit=2)[2] for line in lines] == TEXTS
    for arguments in ((), ("-",)):
        assert said(model, *arguments, stdin=text.encode()) == lines


def test_a_question_and_its_context_come_by_standard_input(
    tmp_path: Path, said: Callable[..., list[str]]
) -> None:
    AutoModelForQuestionAnswering.from_config(small_config()).save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    (line,) = said(tmp_path, "-", "--json", stdin=b"the cat sees what?\tthe cat sees the dog\n")
    found = json.loads(line)
    assert (found["text"], found["text_pair"]) == ("the cat sees what?", "the cat sees the dog")


def test_many_rows_keep_their_order(model: Path) -> None:
    in_chunks = predict_rows(load_classifier(model), rows_of(TEXTS), chunk=7)
    for one, other in zip(in_chunks, predict(model, TEXTS), strict=True):
        assert one["text"] == other["text"] and one["score"] == pytest.approx(other["score"])


def test_a_text_without_a_second_one_among_pairs_is_refused(model: Path) -> None:
    classifier = load_classifier(model)
    rows = [Row("good", "bad"), Row("the film"), Row("bird", "")]
    with pytest.raises(KdnasError, match="the text 'the film' has no second text, and others"):
        list(predict_rows(classifier, rows))
    assert len(list(predict_rows(classifier, rows[::2]))) == 2


def test_a_missing_second_text_is_an_empty_one(model: Path) -> None:
    assert predict(model, ["a"], pairs=[None]) == predict(model, ["a"], pairs=[""])


def test_files_of_other_programs_beside_a_model_say_nothing_of_its_task(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(model, tmp_path / "clf")
    monkeypatch.chdir(tmp_path)
    told = predict("clf", ["a good film"])
    for text in ("site_name: docs", "task: mrpc"):
        Path("config.yaml").write_text(text)
        assert predict("clf", ["a good film"]) == told


def test_a_run_knows_its_columns(
    make_classifier: Callable[..., Path], tmp_path: Path, said: Callable[..., list[str]]
) -> None:
    classifier = make_classifier(("0", "1"))
    run = make_run(tmp_path / "run", classifier, "mrpc")
    file = tmp_path / "pairs.csv"
    pd.DataFrame({"#2 String": TEXTS[1:], "#1 String": TEXTS[:-1]}).to_csv(file, index=False)
    rows = [json.loads(line) for line in said(run, "--file", file, "--json")]
    assert rows == predict(classifier, TEXTS[:-1], pairs=TEXTS[1:])
    lines = "".join(f"{a}\t{b}\n" for a, b in pairwise(TEXTS))
    for place in (run, run / "student"):
        found = said(place, "--json", stdin=lines.encode())
        assert [json.loads(line) for line in found] == rows
    with pytest.raises(
        KdnasError, match="'mrpc' reads pairs; give a second text for each text .--text-pair"
    ):
        predict(run, TEXTS)


def test_a_run_cuts_texts_where_it_was_scored(
    make_classifier: Callable[..., Path], tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", make_classifier(("0", "1")), "sst2")
    long = " ".join(TEXTS)
    settings = {"task": "sst2", **QUICK, "max_length": 8}
    (run / "config.yaml").write_text(dump(Settings(**settings)))
    (tmp_path / "alone").mkdir()
    for file in (run / "student").glob("*.*"):
        shutil.copy(file, tmp_path / "alone")
    [whole], [cut] = predict(tmp_path / "alone", [long]), predict(run, [long])
    classifier = load_classifier(run, device="cpu")
    assert classifier.length == 8
    assert cut["probabilities"] != whole["probabilities"]
    assert predict(run / "student", [long]) == [cut]
    for place in ("students/trial-1/controls/hand-picked", "students/trial-1/seeds/1/student"):
        shutil.copytree(run / "student", run / place)
        assert predict(run / place, [long]) == [cut], place


def test_a_run_says_nothing_of_models_elsewhere(
    make_classifier: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "runs" / "one", make_classifier(("0", "1")), "mrpc")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(run)
    assert _settings_of(Path("../../other")) is None
    assert _settings_of(Path("someone/model")) is None  # of the hub
    for inside in ("student", "./student", "../one", str(run / "student")):
        settings = _settings_of(Path(inside))
        assert settings is not None and settings.task == "mrpc"


def test_a_run_answers_by_the_windows_that_were_scored(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AutoModelForQuestionAnswering.from_config(small_config(initializer_range=0.3)).eval()
    tokenizer = small_tokenizer()
    student_artifact(tmp_path / "student", {"trial": 1}, tokenizer).write(model)
    settings = Settings(task="squad", **{**QUICK, "max_length": 24, "window_stride": 3})
    (tmp_path / "config.yaml").write_text(dump(settings))
    (tmp_path / "log.jsonl").touch()
    asked, contexts = TEXTS[:8], [" ".join(TEXTS[i : i + 8]) for i in range(8)]
    kind = TASK_TYPES["question-answering"]
    rows, runtime = (
        Examples(asked, contexts, task_type=kind.name),
        start_runtime(device="cpu", precision="fp32"),
    )

    def answers(options: Mapping[str, Any]) -> list[tuple[int, int]]:
        data = encode(rows, tokenizer, 24, options=options)
        logits = training.predict(model, data, runtime, pad_id=0).numpy()
        found = kind.row_answers(logits, (), data, threshold_of(model.config))
        return [(one["start"], one["end"]) for one in found]

    scored = answers(encode_options(settings, kind, model.config))
    assert scored != answers({})
    for place in (tmp_path, tmp_path / "student"):
        found = predict(place, asked, pairs=contexts, device="cpu")
        assert [(one["start"], one["end"]) for one in found] == scored


def test_an_unfinished_run_is_said_to_be_one(
    make_classifier: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", make_classifier(LABELS), "sst2")
    predict(run, TEXTS)
    assert "not finished" not in capsys.readouterr().out
    (run / "report.json").unlink()
    predict(run, TEXTS)
    assert "run is not finished: another student may ship in the end" in capsys.readouterr().out


def test_bad_input(
    model: Path,
    teacher_folder: Path,
    make_classifier: Callable[..., Path],
    tmp_path: Path,
    refused: Callable[..., str],
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("review,stars\ngood,1\n")
    assert "no text column; found 'review', 'stars'; name it with --text-column" in refused(
        model, "--file", table
    )
    assert "no column 'txt'" in refused(model, "--file", table, "--text-column", "txt")
    table.write_text("text,stars\ngood,1\nbad\n")
    assert "t.csv, line 3: has 1 fields instead of 2" in refused(model, "--file", table)
    assert "no such file" in refused(model, "--file", tmp_path / "gone.csv")
    assert "exclude each other" in refused(model, "a", "--file", table)
    line = refused(model, "--file", table, "--text-pair", "b")
    assert "--text-pair goes with TEXT, not with --file: name the file's column" in line
    line = refused(model, "-", "--text-pair", "b", stdin=b"good\n")
    assert "--text-pair goes with TEXT, not with standard input" in line
    assert "--text-column names a column of --file" in refused(model, "a", "--text-column", "txt")
    assert "one --text-pair a text" in refused(model, "a", "b", "--text-pair", "c")
    assert "input is not UTF-8: byte 0xe4 in line 2" in refused(model, stdin=b"good\nb\xe4d\n")
    assert "no trained head" in refused(teacher_folder, "a")
    assert "has no config.json" in refused(tmp_path, "a")
    assert "does not exist" in refused(tmp_path / "gone", "a")
    run = make_run(tmp_path / "run", make_classifier(LABELS), "sst2")
    assert "reads one text a row" in refused(run, "a", "--text-pair", "b")
    (run / "student" / "model.safetensors").write_bytes(b"")
    line = refused(run, "a")
    assert "model.safetensors is damaged" in line and f"`kdnas resume {run}`" in line
    assert "damaged" in refused(run / "student", "a")
    (run / "student").rename(run / "elsewhere")
    line = refused(run, "a")
    assert "student does not exist yet; make it with `kdnas resume" in line
