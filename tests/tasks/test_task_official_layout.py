"""The nine GLUE tasks in the layout of the official download, each with its own oddities."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import Examples, TaskData, load_data, load_spec

BOM = "\ufeff"
GOLD = ("neutral", "contradiction", "entailment")


def write(folder: Path, name: str, *rows: str) -> None:
    """Rows written with `|` for a tab."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(row.replace("|", "\t") for row in rows) + "\n"
    (folder / name).write_text(text, encoding="utf-8", newline="")


def load(task: str, data_dir: Path) -> TaskData:
    return load_data(load_spec(task), data_dir)


def labels(examples: Examples) -> list[Any]:
    assert examples.labels is not None
    return list(examples.labels.tolist())


def test_mrpc_has_a_byte_order_mark_and_unpaired_quotes(tmp_path: Path) -> None:
    header = "Quality|#1 ID|#2 ID|#1 String|#2 String"
    write(tmp_path / "MRPC", "train.tsv", BOM + header, '1|1|2|He said|"He said', '0|3|4|"A" b|c"')
    write(tmp_path / "MRPC", "dev.tsv", BOM + header, "1|5|6|x|y")
    write(tmp_path / "MRPC", "test.tsv", "index|#1 ID|#2 ID|#1 String|#2 String", "0|7|8|p|q")
    data = load("mrpc", tmp_path)
    assert data.splits["train"].text == ["He said", '"A" b']
    assert data.splits["train"].text_pair == ['"He said', 'c"']
    assert labels(data.splits["train"]) == [1, 0]
    assert data.splits["train"].labels.dtype == np.int64  # type: ignore[union-attr]
    assert labels(data.splits["validation"]) == [1]
    assert data.splits["test"].labels is None
    assert data.splits["test"].text_pair == ["q"]


def test_cola_has_a_header_in_test_only(tmp_path: Path) -> None:
    write(tmp_path / "CoLA", "train.tsv", "gj04|1||They sing.", "gj04|0|*|They sings.")
    write(tmp_path / "CoLA", "dev.tsv", "ks08|1||Good.")
    write(tmp_path / "CoLA", "test.tsv", "index|sentence", "0|Who knows.", "1|Nobody.")
    data = load("cola", tmp_path)
    assert data.splits["train"].text == ["They sing.", "They sings."]
    assert data.splits["train"].text_pair is None
    assert labels(data.splits["train"]) == [1, 0]
    assert len(data.splits["validation"]) == 1
    assert data.splits["test"].text == ["Who knows.", "Nobody."]


def test_sst2(tmp_path: Path) -> None:
    write(tmp_path / "SST-2", "train.tsv", "sentence|label", "it 's \" fine |1", "bad |0")
    write(tmp_path / "SST-2", "dev.tsv", "sentence|label", "good|1")
    write(tmp_path / "SST-2", "test.tsv", "index|sentence", "0|who knows")
    data = load("sst2", tmp_path)
    assert data.splits["train"].text == ["it 's \" fine ", "bad "]
    assert labels(data.splits["train"]) == [1, 0]


def test_stsb_scores(tmp_path: Path) -> None:
    header = "index|genre|filename|year|old_index|source1|source2|sentence1|sentence2"
    row = '0|main|MSR|2012|1|none|none|a plane|an "air plane'
    write(tmp_path / "STS-B", "train.tsv", header + "|score", row + "|5.000", row + "|3.8")
    write(tmp_path / "STS-B", "dev.tsv", header + "|score", row + "|0")
    write(tmp_path / "STS-B", "test.tsv", header, row)
    data = load("stsb", tmp_path)
    assert labels(data.splits["train"]) == pytest.approx([5.0, 3.8])
    assert data.splits["train"].labels.dtype == np.float32  # type: ignore[union-attr]
    assert data.splits["test"].labels is None


def test_qqp_with_a_header_and_without(tmp_path: Path) -> None:
    header, row = "id|qid1|qid2|question1|question2|is_duplicate", "7|1|2|Why?|How?|1"
    write(tmp_path / "QQP", "train.tsv", header, row, "broken", f"{row[:-1]}0")
    write(tmp_path / "QQP", "dev.tsv", "8|1|2|Why? 0", row, row)
    write(tmp_path / "QQP", "test.tsv", "id|question1|question2", "0|Who?|What?")
    with pytest.raises(KdnasError, match="line 3 has 1 field instead of 6; repair them, or leave"):
        load("qqp", tmp_path)
    data = load_data(load_spec("qqp"), tmp_path, skip_malformed=True)
    assert labels(data.splits["train"]) == [1, 0]
    assert data.splits["train"].dropped == 1
    # The first row of the headerless file is the malformed one, as in the sample at hand.
    assert (len(data.splits["validation"]), data.splits["validation"].dropped) == (2, 1)
    assert data.splits["test"].text == ["Who?"]


def test_qnli_labels_are_words(tmp_path: Path) -> None:
    header = "index|question|sentence"
    write(
        tmp_path / "QNLI",
        "train.tsv",
        header + "|label",
        "0|When?|Then.|entailment",
        "1|Where?|Then.|not_entailment",
    )
    write(tmp_path / "QNLI", "dev.tsv", header + "|label", "0|When?|Then.|not_entailment")
    write(tmp_path / "QNLI", "test.tsv", header, "0|When?|Then.")
    data = load("qnli", tmp_path)
    assert labels(data.splits["train"]) == [0, 1]
    assert data.splits["train"].text_pair == ["Then.", "Then."]


@pytest.mark.parametrize(
    ("task", "cells", "ids"),
    [("rte", ("entailment", "not_entailment"), [0, 1]), ("wnli", ("0", "1"), [0, 1])],
)
def test_rte_and_wnli(tmp_path: Path, task: str, cells: tuple[str, str], ids: list[int]) -> None:
    header = "index|sentence1|sentence2"
    rows = [f"{i}|The text.|Hypothesis.|{cell}" for i, cell in enumerate(cells)]
    write(tmp_path / task.upper(), "train.tsv", header + "|label", *rows)
    write(tmp_path / task.upper(), "dev.tsv", header + "|label", *rows)
    write(tmp_path / task.upper(), "test.tsv", header, "0|The text.|Hypothesis.")
    data = load(task, tmp_path)
    assert labels(data.splits["train"]) == ids
    assert data.splits["test"].labels is None


def test_mnli_has_many_columns_two_dev_files_and_rows_without_a_gold_label(tmp_path: Path) -> None:
    front = "index|promptID|pairID|genre|sentence1_binary_parse|sentence2_binary_parse|"
    front += "sentence1_parse|sentence2_parse|sentence1|sentence2"
    cells = "0|1|2|fiction|( a )|( b )|(ROOT a)|(ROOT b)|Premise.|Hypothesis."
    folder = tmp_path / "MNLI"
    write(
        folder,
        "train.tsv",
        front + "|label1|gold_label",
        *(f"{cells}|neutral|{gold}" for gold in (*GOLD * 33, "-")),
    )
    for name, gold in (("dev_matched", "entailment"), ("dev_mismatched", "neutral")):
        votes = "|".join(f"label{i}" for i in range(1, 6))
        row = f"{cells}|{'|'.join(['neutral'] * 5)}|{gold}"
        write(folder, f"{name}.tsv", f"{front}|{votes}|gold_label", row)
    write(folder, "test_matched.tsv", front, cells)
    data = load("mnli", tmp_path)
    assert labels(data.splits["train"]) == [1, 2, 0] * 33
    assert data.splits["train"].dropped == 1
    assert data.splits["train"].text == ["Premise."] * 99
    assert data.splits["train"].text_pair == ["Hypothesis."] * 99
    assert labels(data.splits["validation_matched"]) == [0]
    assert labels(data.splits["validation_mismatched"]) == [1]
    assert data.splits["test_matched"].labels is None
    assert "test_mismatched" not in data.splits


@pytest.mark.parametrize("place", ["RTE", "rte", "glue/RTE", "GLUE/rte", "."])
def test_places_of_a_task(tmp_path: Path, place: str) -> None:
    for name in ("train.tsv", "dev.tsv"):
        rows = ("0|a|b|entailment", "1|a|c|not_entailment")
        write(tmp_path / place, name, "index|sentence1|sentence2|label", *rows)
    assert len(load("rte", tmp_path).splits["train"]) == 2


def test_only_newlines_end_a_line(tmp_path: Path) -> None:
    odd = "one\u2028two\x85three\x0cfour"
    write(tmp_path, "train.tsv", "sentence|label", f"{odd}|1\r", "b|0\r", "")
    write(tmp_path, "dev.tsv", "sentence|label\r", "b|0\r")
    assert load("sst2", tmp_path).splits["train"].text == [odd, "b"]
