"""Validation data held out of the training data."""

from pathlib import Path

import numpy as np
import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import Examples, hold_out, load_data, load_spec

SPEC = load_spec("mine", {"mine": {"text": "text", "labels": ["neg", "pos"]}})


def make(labels: list[int]) -> Examples:
    texts = [f"text {i}" for i in range(len(labels))]
    return Examples(texts, None, np.array(labels, dtype=np.int64))


def write(path: Path, count: int) -> None:
    rows = [f"text {i},{'pos' if i % 4 else 'neg'}\n" for i in range(count)]
    path.write_text("text,label\n" + "".join(rows))


def test_a_missing_validation_split_is_held_out_of_train(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", 200)
    data = load_data(SPEC, tmp_path)
    train, validation = data.splits["train"], data.splits["validation"]
    assert (len(train), len(validation)) == (180, 20)
    assert not set(train.text) & set(validation.text)
    assert validation.labels is not None
    assert np.bincount(validation.labels).tolist() == [5, 15]
    stands = "no validation file: a tenth of the training rows, held out, stands in"
    assert data.held_out == "validation" and data.assumed == (stands,)


def test_files_that_may_be_the_validation_split_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "train.csv", 200)
    write(tmp_path / "test.csv", 20)
    (tmp_path / "README.md").write_text("Tickets")
    assert load_data(SPEC, tmp_path).held_out
    assert "not read" not in capsys.readouterr().out
    write(tmp_path / "eval.CSV", 20)
    assert load_data(SPEC, tmp_path).held_out
    told = "eval.CSV is not read; call the validation split validation.csv, or name its file under"
    assert f"{tmp_path}: {told} `files:` in the task\n" in capsys.readouterr().out
    write(tmp_path / "v2.validaton.tsv", 20)
    load_data(SPEC, tmp_path, splits=["validation"], optional=[])
    assert "eval.CSV, v2.validaton.tsv are not read; call the" in capsys.readouterr().out
    load_data(SPEC, tmp_path, splits=["train"], optional=[])
    assert "not read" not in capsys.readouterr().out
    named = SPEC.changed(files={"validation": ["scored.csv"]})
    assert load_data(named, tmp_path).held_out
    assert "call the validation split scored.csv, or" in capsys.readouterr().out
    (tmp_path / "eval.CSV").rename(tmp_path / "dev.csv")
    assert load_data(SPEC, tmp_path).held_out is None
    assert "not read" not in capsys.readouterr().out


def test_the_held_out_rows_are_always_the_same(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", 200)
    both = load_data(SPEC, tmp_path).splits
    assert load_data(SPEC, tmp_path, splits=["train"]).splits["train"].text == both["train"].text
    alone = load_data(SPEC, tmp_path, splits=["validation"]).splits
    assert list(alone) == ["validation"]
    assert alone["validation"].text == both["validation"].text
    wished = load_data(SPEC, tmp_path, splits=(), optional=("validation",)).splits
    assert wished["validation"].text == both["validation"].text


def test_nothing_is_held_out_where_there_is_a_validation_file(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", 20)
    write(tmp_path / "valid.csv", 4)
    data = load_data(SPEC, tmp_path)
    assert {split: len(part) for split, part in data.splits.items()} == {
        "train": 20,
        "validation": 4,
    }


@pytest.mark.parametrize("validation_file", [True, False])
def test_scores_may_be_of_some_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], validation_file: bool
) -> None:
    write(tmp_path / "train.csv", 400)
    if validation_file:
        write(tmp_path / "validation.csv", 40)
    whole = load_data(SPEC, tmp_path).splits
    capsys.readouterr()
    some = load_data(SPEC, tmp_path, most_scored=20).splits
    assert some["train"].text == whole["train"].text
    assert len(some["validation"]) == 20
    assert set(some["validation"].text) < set(whole["validation"].text)
    assert some["validation"].labels is not None
    assert np.bincount(some["validation"].labels).tolist() == [5, 15]
    told = "scores are of 20 of the 40 rows of validation (--max-eval-rows)"
    assert told in capsys.readouterr().out
    again = load_data(SPEC, tmp_path, most_scored=20).splits
    assert again["validation"].text == some["validation"].text
    capsys.readouterr()
    assert len(load_data(SPEC, tmp_path, most_scored=40).splits["validation"]) == 40
    assert "max-eval-rows" not in capsys.readouterr().out


@pytest.mark.parametrize("labels", [[0] * 9 + [1], [0, 1], list(range(12))])
def test_classes_too_small_to_be_on_both_sides(labels: list[int]) -> None:
    train, held_out = hold_out(make(labels))
    assert (len(train), len(held_out)) == (len(labels) - 1, 1)


def test_one_example_cannot_be_split() -> None:
    with pytest.raises(KdnasError, match="give a validation file"):
        hold_out(make([1]))


def test_scores_are_held_out_without_strata() -> None:
    scores = np.linspace(0, 5, 30, dtype=np.float32)
    train, held_out = hold_out(Examples(["a"] * 30, None, scores, task_type="regression"))
    assert (len(train), len(held_out)) == (27, 3)
