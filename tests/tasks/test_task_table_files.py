"""Generic files: formats, names, label cells, and labels found in the data."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import Examples, TaskSpec, load_data, load_spec

ROWS = [
    {"idx": 0, "premise": 'a, "quoted" one', "hypothesis": "b", "label": 1},
    {"idx": 1, "premise": "c", "hypothesis": "d\te", "label": 0},
]


def spec_of(**entry: Any) -> TaskSpec:
    return load_spec("mine", {"mine": {"text": "text", **entry}})


def labels(examples: Examples) -> list[Any]:
    assert examples.labels is not None
    return list(examples.labels.tolist())


def write_csv(folder: Path, cells: list[Any], name: str = "train.csv") -> None:
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(len(cells))], "label": cells})
    frame.to_csv(folder / name, index=False)


def read(folder: Path, spec: TaskSpec) -> Examples:
    """The whole training file: one that is also called the validation file loses nothing to it."""
    whole = spec.model_copy(update={"files": {"validation": ("train",), **spec.files}})
    return load_data(whole, folder, splits=["train"]).splits["train"]


@pytest.fixture(params=["csv", "jsonl", "json", "array.json", "parquet"])
def hub_like(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """MNLI with the hub's columns and ids, in every format; the validation set is held out."""
    folder, frame = tmp_path / "mnli", pd.DataFrame(ROWS)
    folder.mkdir()
    path = folder / f"train.{request.param.removeprefix('array.')}"
    if request.param == "csv":
        frame.to_csv(path, index=False)
    elif request.param == "parquet":
        frame.to_parquet(folder / "train-00000-of-00001.parquet")
    elif request.param == "array.json":
        path.write_text(json.dumps(ROWS))
    else:
        path.write_text("\n".join(json.dumps(row) for row in ROWS))
    return tmp_path


def test_formats(hub_like: Path) -> None:
    train = load_data(load_spec("mnli"), hub_like, splits=["train"]).splits["train"]
    assert train.text == ['a, "quoted" one', "c"]
    assert train.text_pair == ["b", "d\te"]
    assert labels(train) == [1, 0]


def test_a_generic_tsv_has_no_quoting(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text('text\tlabel\n"a\tp\nb"\tq\n')
    assert read(tmp_path, spec_of()).text == ['"a', 'b"']


def test_a_quoted_csv_cell_may_hold_a_line_break(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('text,label\n"a\nb",p\nc,q\n')
    assert read(tmp_path, spec_of()).text == ["a\nb", "c"]


def test_words_that_pandas_takes_for_nothing_are_text(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\nNA,p\nnull,q\nNone,p\n")
    assert read(tmp_path, spec_of()).text == ["NA", "null", "None"]


@pytest.mark.parametrize("stem", ["validation", "dev", "valid", "val"])
def test_names_of_the_validation_split(tmp_path: Path, stem: str) -> None:
    write_csv(tmp_path, ["p", "q"])
    write_csv(tmp_path, ["q"], f"{stem}.csv")
    assert labels(load_data(spec_of(), tmp_path).splits["validation"]) == [1]


@pytest.mark.parametrize("stem", ["validation_matched", "dev_matched", "valid_matched"])
def test_names_of_the_matched_split(tmp_path: Path, stem: str) -> None:
    (tmp_path / f"{stem}.jsonl").write_text(json.dumps({**ROWS[0], "label": "Neutral"}))
    data = load_data(load_spec("mnli"), tmp_path, splits=["validation_matched"])
    assert labels(data.splits["validation_matched"]) == [1]


@pytest.mark.parametrize("file", ["part_one", "part_one.csv"])
def test_a_file_may_be_named_in_the_task(tmp_path: Path, file: str) -> None:
    write_csv(tmp_path, ["p", "q"], "part_one.csv")
    write_csv(tmp_path, ["p", "p", "p"])
    assert len(read(tmp_path, spec_of(files={"train": file}))) == 2


def test_headers_differ_in_letter_case(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("Text, LABEL \na,p\nb,q\n")
    assert labels(read(tmp_path, spec_of())) == [0, 1]


def test_a_headerless_csv(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("p,one\nq,two\n")
    train = read(tmp_path, spec_of(headerless=["label", "text"]))
    assert (train.text, labels(train)) == (["one", "two"], [0, 1])


@pytest.mark.parametrize(
    "cells",
    [
        ["neg", "Pos", "NEG "],
        [0, 1, 0],
        ["0", "1", "0"],
        [0.0, 1.0, 0.0],
        [False, True, False],
        ["neg", 1, "0.0"],
    ],
)
def test_cells_may_be_names_or_ids(tmp_path: Path, cells: list[Any]) -> None:
    write_csv(tmp_path, cells)
    assert labels(read(tmp_path, spec_of(labels=["neg", "pos"]))) == [0, 1, 0]


def test_parquet_keeps_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "label": pd.array([1, 0], dtype="Int64")})
    frame.to_parquet(tmp_path / "train.parquet")
    assert labels(read(tmp_path, spec_of(labels=["neg", "pos"]))) == [1, 0]


def test_a_name_comes_before_an_id(tmp_path: Path) -> None:
    write_csv(tmp_path, [1, 2, 3])
    assert labels(read(tmp_path, spec_of(labels=[1, 2, 3]))) == [0, 1, 2]


@pytest.mark.parametrize(
    ("cells", "names", "ids"),
    [
        (["pos", "neg", "mixed", "NEG"], ("mixed", "NEG", "pos"), [2, 1, 0, 1]),
        ([10, 9, 2], ("2", "9", "10"), [2, 1, 0]),
        ([1, -1, 0], ("-1", "0", "1"), [2, 0, 1]),
        ([True, False], ("False", "True"), [1, 0]),
    ],
)
def test_labels_are_found_in_the_training_data(
    tmp_path: Path, cells: list[Any], names: tuple[str, ...], ids: list[int]
) -> None:
    write_csv(tmp_path, cells)
    write_csv(tmp_path, cells, "dev.csv")
    data = load_data(spec_of(), tmp_path, splits=["train"])
    assert data.spec.labels == names
    assert data.spec.num_labels == len(names)
    assert labels(data.splits["train"]) == ids


def test_labels_come_from_train_also_where_only_validation_is_asked_for(tmp_path: Path) -> None:
    write_csv(tmp_path, ["p", "q", "r"])
    write_csv(tmp_path, ["r"], "dev.csv")
    data = load_data(spec_of(), tmp_path, splits=["validation"])
    assert list(data.splits) == ["validation"]
    assert (data.spec.labels, labels(data.splits["validation"])) == (("p", "q", "r"), [2])


@pytest.mark.parametrize("cell", [-1, "-1", -1.0, "-", ""])
def test_an_unlabelled_test_split(tmp_path: Path, cell: Any) -> None:
    write_csv(tmp_path, ["p", "q"])
    write_csv(tmp_path, ["p", "q"], "dev.csv")
    write_csv(tmp_path, [cell] * 30, "test.csv")
    test = load_data(spec_of(), tmp_path).splits["test"]
    assert (len(test), test.labels, test.dropped) == (30, None, 0)


def test_minus_one_is_a_score_unless_every_score_is(tmp_path: Path) -> None:
    spec = spec_of(regression=True)
    write_csv(tmp_path, [-1, 0.5])
    write_csv(tmp_path, [-1, 0.5], "dev.csv")
    write_csv(tmp_path, [-1.0, -1.0], "test.csv")
    data = load_data(spec, tmp_path, splits=["train"])
    assert labels(data.splits["train"]) == [-1.0, 0.5]
    assert data.splits["test"].labels is None


def test_rows_said_to_be_unlabelled_are_left_out_of_train(tmp_path: Path) -> None:
    write_csv(tmp_path, [0, 1, -1] * 20)  # a third of them, which would be too many malformed rows
    train = read(tmp_path, spec_of(labels=["neg", "pos"]))
    assert (len(train), train.dropped) == (40, 20)


def test_rows_without_text_are_left_out(tmp_path: Path) -> None:
    rows: list[Any] = [{"text": "a", "label": 0}, {"text": None, "label": 1}]
    rows += [{"text": " ", "label": 1}, {"text": "b", "label": 1}, {"label": 1}]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    train = read(tmp_path, spec_of())
    assert (train.text, labels(train), train.dropped) == (["a", "b"], [0, 1], 3)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([0.5, 1.5, 2.0], "set `type: regression`"),
        ([f"id{i}" for i in range(30)], "found 30 different labels in 30 rows"),
        (["p", "p"], "found only the label 'p'"),
        (["", ""], "found no label"),
    ],
)
def test_labels_that_cannot_be_classes(tmp_path: Path, cells: list[Any], message: str) -> None:
    write_csv(tmp_path, cells)
    with pytest.raises(KdnasError, match=message):
        read(tmp_path, spec_of())


@pytest.mark.parametrize("array", [False, True])
def test_columns_of_json_come_from_all_records(tmp_path: Path, array: bool) -> None:
    rows = [{"text": "a"}, {"text": "b", "label": "p"}, {"label": "q", "text": "c"}]
    rows += [{"text": f"text {i}", "label": "p"} for i in range(9)]
    text = json.dumps(rows) if array else "\n".join(map(json.dumps, rows))
    (tmp_path / "train.jsonl").write_text(text)
    train = read(tmp_path, spec_of())
    assert (train.text[:2], labels(train)[:2], train.dropped) == (["b", "c"], [0, 1], 1)
