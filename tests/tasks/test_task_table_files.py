"""Generic files: formats, names, label cells, and labels found in the data."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import Examples, TaskSpec, compute_metrics, load_data, load_spec

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


def test_a_tsv_is_quoted_as_pandas_writes_it_unless_the_task_says_otherwise(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ['say "a"', "b\nc", "d\te", "f"], "label": ["p", "q"] * 2})
    frame.to_csv(tmp_path / "train.tsv", sep="\t", index=False)
    assert read(tmp_path, spec_of()).text == frame["text"].tolist()
    (tmp_path / "train.tsv").write_text('text\tlabel\n"a\tp\nb"\tq\n')
    assert read(tmp_path, spec_of(quoting=False)).text == ['"a', 'b"']


def test_stray_quotes_around_several_rows_of_a_tsv_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.tsv").write_text('text\tlabel\n"a\tp\nb"\tq\nc\tp\n')
    assert len(read(tmp_path, spec_of())) == 2
    said = capsys.readouterr().out
    assert "train.tsv, line 2: a quoted field holds tabs and line breaks" in said


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
        (["01", "1", "007"], ("01", "1", "007"), [0, 1, 2]),
        (["+1", "-1", " +1"], ("-1", "+1"), [1, 0, 1]),
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
    test = load_data(spec_of(unlabelled=["-", -1, "-1.0"]), tmp_path).splits["test"]
    assert (len(test), test.labels, test.dropped) == (30, None, 0)
    write_csv(tmp_path, [cell] * 29 + ["p"], "test.csv")  # each row needs a prediction
    test = load_data(spec_of(unlabelled=["-", -1, "-1.0"]), tmp_path).splits["test"]
    assert (len(test), test.labels, test.dropped) == (30, None, 0)


def test_minus_one_is_a_score_unless_the_task_says_otherwise(tmp_path: Path) -> None:
    write_csv(tmp_path, [-1, 0.5])
    write_csv(tmp_path, [-1, 0.5], "dev.csv")
    write_csv(tmp_path, [-1.0, -1.0], "test.csv")
    data = load_data(spec_of(regression=True), tmp_path, splits=["train"])
    assert labels(data.splits["train"]) == [-1.0, 0.5]
    assert data.splits["test"].labels is not None
    write_csv(tmp_path, [1.5, 0.5])
    write_csv(tmp_path, [1.5, 0.5], "dev.csv")
    marked = spec_of(regression=True, unlabelled="-1.0")
    assert load_data(marked, tmp_path, splits=["train"]).splits["test"].labels is None


@pytest.mark.parametrize(
    ("kind", "mark", "cell", "labels"),
    [
        ("classification", -1.0, "-1.0", ["0", "1"]),
        ("classification", "-1.0", -1, ["0", "1"]),
        ("classification", "N/A", "n/a", ["0", "1"]),
        ("regression", -1, "-1.0", [0, 1]),
        ("multi-label", -1.0, "-1.0", ["0", "1"]),
        ("sequence-to-sequence", -1.0, "-1.0", ["0", "1"]),
    ],
)
def test_a_mark_is_found_however_its_number_is_written(
    tmp_path: Path, kind: str, mark: Any, cell: Any, labels: list[Any]
) -> None:
    write_csv(tmp_path, labels * 150 + [cell] * 3)
    text = {"label": "label"} if kind == "sequence-to-sequence" else {}
    train = read(tmp_path, spec_of(type=kind, unlabelled=mark, **text))
    assert (len(train), train.dropped) == (300, 3)


@pytest.mark.parametrize("cells", [["+", "-", "0"], [-1, 0, 1], ["yes", "-", "no"]])
def test_minus_is_a_class_where_the_task_names_no_mark(tmp_path: Path, cells: list[Any]) -> None:
    write_csv(tmp_path, cells * 20)
    write_csv(tmp_path, cells, "dev.csv")
    data = load_data(spec_of(), tmp_path)
    assert set(data.spec.labels or ()) == set(map(str, cells))
    assert np.bincount(labels(data.splits["train"])).tolist() == [20, 20, 20]
    listed = spec_of(labels=["negative", "neutral", "positive"])
    with pytest.raises(
        KdnasError, match=r"invalid label '(\+|-1|yes)'; expected one of negative, n"
    ):
        read(tmp_path, listed)


def test_rows_that_a_mark_leaves_out_are_told_and_limited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = spec_of(labels=["neg", "pos"], unlabelled="-")
    write_csv(tmp_path, [0, 1] * 150 + ["-"] * 3)
    train = read(tmp_path, spec)
    assert (len(train), train.dropped) == (300, 3)
    told = (
        "left out 3 of 303 lines: 3 lines have no label under 'label', as its mark says (the first"
    )
    assert told in capsys.readouterr().out
    write_csv(tmp_path, [0, 1, "-"] * 20)
    with pytest.raises(KdnasError, match="20 of 60 lines cannot be used: 20 lines have no label"):
        read(tmp_path, spec)
    assert len(read(tmp_path, spec.model_copy(update={"skip_malformed": True}))) == 40


def test_rows_without_text_are_left_out(tmp_path: Path) -> None:
    rows: list[Any] = [{"text": "a", "label": 0}, {"text": None, "label": 1}]
    rows += [{"text": " ", "label": 1}, {"text": "b", "label": 1}, {"label": 1}]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    train = read(tmp_path, spec_of(skip_malformed=True))
    assert (train.text, labels(train), train.dropped) == (["a", "b"], [0, 1], 3)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([0.5, 1.5, 2.0], "looks like a regression task: set `regression: true`"),
        ([1e-5, 2.0, 3.0], "looks like a regression task: set `regression: true`"),
        (
            [float(i) for i in range(50)] * 20,
            "found 50 different labels in 1000 rows, such as '0.0'",
        ),
        (["['a']", "['a', 'b']"], "a list; classification takes one label a row"),
        ([f"id{i}" for i in range(30)], "found 30 different labels in 30 rows"),
        (["p", "p"], "found only the label 'p'"),
        (["", ""], "none of 2 lines can be used: 2 lines have no label under 'label'"),
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
    train = read(tmp_path, spec_of(skip_malformed=True))
    assert (train.text[:2], labels(train)[:2], train.dropped) == (["b", "c"], [0, 1], 1)


def test_spellings_of_one_class_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(tmp_path, ["neg"] * 10 + ["NEG", "pos ", "pos"] + ["pos"] * 10)
    assert len(read(tmp_path, spec_of())) == 23
    said = capsys.readouterr().out
    assert "labels read as one class: 'NEG' and 'neg' as 'neg'; 'pos' and 'pos ' as 'pos'" in said
    write_csv(tmp_path, ["neg", "1", "pos", "0"] * 10)
    read(tmp_path, spec_of(labels=["neg", "pos"]))
    assert "'0' and 'neg' as 'neg'; '1' and 'pos' as 'pos'" in capsys.readouterr().out
    write_csv(tmp_path, ["neg", "pos"] * 10)
    read(tmp_path, spec_of())
    assert not capsys.readouterr().out


@pytest.mark.parametrize("cell", ["01", "+1", "2", "1.5"])
def test_other_spellings_of_a_number_are_no_ids(tmp_path: Path, cell: str) -> None:
    write_csv(tmp_path, ["neg", "pos", cell])
    with pytest.raises(KdnasError, match="line 4: invalid label"):
        read(tmp_path, spec_of(labels=["neg", "pos"]))


def test_classes_with_few_rows_or_none_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(tmp_path, ["a"] * 10 + ["b"] * 9)
    write_csv(tmp_path, ["a", "a"], "dev.csv")
    load_data(spec_of(labels=["a", "b", "c"]), tmp_path)
    said = capsys.readouterr().out
    assert "train.csv: classes with fewer than 10 rows: b (9), c (0)" in said
    assert "dev.csv: classes without a row: b (0), c (0); scores say nothing of them" in said


def test_the_rarer_class_is_positive_where_none_are_listed(tmp_path: Path) -> None:
    write_csv(tmp_path, ["legit"] * 90 + ["fraud"] * 10)
    entry = {"metrics": ["accuracy", "f1"]}
    always = np.array([[0.0, 1.0]] * 4)
    for spec, positive, score in (
        (spec_of(**entry), "fraud", 0.0),
        (spec_of(**entry, positive="LEGIT"), "legit", 6 / 7),
        (spec_of(**entry, labels=["fraud", "legit"]), "legit", 6 / 7),
        (spec_of(**entry, labels=["fraud", "legit"], positive="fraud"), "fraud", 0.0),
    ):
        found = load_data(spec, tmp_path, splits=["train"], optional=[]).spec
        assert found.positive_class == positive
        scores = compute_metrics(found, always, [1, 1, 1, 0])
        assert scores == {"accuracy": 0.75, f"f1 ({positive})": pytest.approx(score)}
        assert TaskSpec.model_validate(found.model_dump()) == found


@pytest.mark.parametrize(
    ("cells", "entry", "main"),
    [
        (["a"] * 60 + ["b"] * 31 + ["c"] * 9, {}, "f1_macro"),
        (["a"] * 60 + ["b"] * 31 + ["c"] * 9, {"labels": ["c", "b", "a"]}, "f1_macro"),
        (["a"] * 60 + ["b"] * 40, {"labels": ["a", "b", "c"]}, "f1_macro"),
        (["a"] * 60 + ["b"] * 30 + ["c"] * 10, {}, "accuracy"),
        (["a"] * 60 + ["b"] * 31 + ["c"] * 9, {"metrics": "accuracy"}, "accuracy"),
        (["a"] * 60 + ["b"] * 31 + ["c"] * 9, {"metrics": ["mcc", "accuracy"]}, "mcc"),
        (["a"] * 95 + ["b"] * 5, {}, "accuracy"),
        ([0.5, 1.5, 2.5] * 9, {"type": "regression"}, "pearson"),
    ],
)
def test_f1_macro_is_the_main_score_where_one_of_many_classes_is_rare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cells: list[Any], entry: Any, main: str
) -> None:
    write_csv(tmp_path, cells)
    write_csv(tmp_path, cells[:1] + cells[-1:], "dev.csv")
    for splits in (["train"], ["validation"]):
        found = load_data(spec_of(**entry), tmp_path, splits=splits, optional=[]).spec
        assert found.main_score == main
        assert ("so f1_macro is the main score" in capsys.readouterr().out) == (main == "f1_macro")
        assert "accuracy" in found.metrics or main in ("mcc", "pearson")
        assert TaskSpec.model_validate(found.model_dump()) == found


@pytest.mark.parametrize(
    ("names", "entry", "main"),
    [
        (["ham", "spam"] * 20, {}, "accuracy"),
        (["ham", "spam"] * 20 + ["rare"], {"labels": ["ham", "spam", "rare"]}, "f1_macro"),
        (["ham", "spam"] * 20, {"files": {"test": ["test"], "validation": ["dev"]}}, "accuracy"),
    ],
)
def test_a_test_split_is_scored_like_one_to_validate_on(
    tmp_path: Path, names: list[str], entry: Any, main: str
) -> None:
    write_csv(tmp_path, names)
    write_csv(tmp_path, names[:6], "test.csv")
    found = load_data(spec_of(**entry).on_tests, tmp_path, splits=(), optional=["test"])
    assert labels(found.splits["test"]) == [0, 1] * 3
    assert (found.spec.evaluation, found.spec.main_score) == (("test",), main)


def test_without_training_rows_the_metrics_are_those_of_the_type(tmp_path: Path) -> None:
    write_csv(tmp_path, ["a", "b", "c"], "dev.csv")
    spec = spec_of(labels=["a", "b", "c"])
    data = load_data(spec, tmp_path, splits=["validation"], optional=[])
    assert data.spec.metrics == ("accuracy",)


def test_lone_surrogates_become_replacement_characters(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(
        r"""{"text": "a \ud83d b", "label": "x\udc00"}
{"text": "\ud83d\ude00", "label": "y"}"""
    )
    data = load_data(spec_of(), tmp_path, splits=["train", "validation"])
    assert {*data.splits["train"].text, *data.splits["validation"].text} == {"a \ufffd b", "😀"}
    assert data.spec.labels == ("x\ufffd", "y")


def test_json_booleans_and_numbers_are_labels(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": True}, {"text": "b", "label": False}]
    (tmp_path / "train.json").write_text(json.dumps(rows, indent=1))
    assert labels(read(tmp_path, spec_of())) == [1, 0]
    assert load_data(spec_of(), tmp_path, splits=["train"]).spec.labels == ("false", "true")


@pytest.mark.parametrize("cell", ["c", "1", "True"])
def test_where_classes_are_found_in_train_nothing_else_is_a_label(
    tmp_path: Path, cell: str
) -> None:
    write_csv(tmp_path, ["a", "b"] * 10)
    write_csv(tmp_path, ["a", cell], "dev.csv")
    with pytest.raises(
        KdnasError, match=rf"dev.csv, line 3: invalid label '{cell}'; expected one of a, b"
    ):
        load_data(spec_of(), tmp_path)


def test_a_headerless_test_file_may_lack_the_labels(tmp_path: Path) -> None:
    write = {
        "train": "0,hi,neg\n1,bye,pos\n",
        "validation": "2,so,neg\n",
        "test": "0,hello there\n",
    }
    for split, content in write.items():
        (tmp_path / f"{split}.csv").write_text(content)
    spec = spec_of(headerless=["id", "text", "label"], labels=["neg", "pos"])
    found = load_data(spec, tmp_path).splits["test"]
    assert found.text == ["hello there"] and found.labels is None
    (tmp_path / "validation.csv").write_text("2,so\n")
    with pytest.raises(
        KdnasError, match="validation.csv lacks the column 'label'; found 'id', 'text'"
    ):
        load_data(spec, tmp_path)
