"""Label cells that hold several labels, as the files and data sets of the world write them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import TaskData, TaskSpec, load_data, load_spec
from kdnas.tasks.types.joined_labels import joined
from kdnas.tasks.types.label_cells import find_separator

NAMES = ("insult", "threat", "toxic")
SETS: list[tuple[str, ...]] = [
    ("toxic", "insult"),
    ("threat",),
    (),
    ("toxic",),
    ("insult", "toxic"),
]
WANTED = [[1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 1]]


def load(folder: Path, content: Any, suffix: str = "jsonl", **entry: Any) -> TaskData:
    """Data of one training file, with the same rows to validate on."""
    for split in ("train", "validation"):
        for other in folder.glob(f"{split}.*"):
            other.unlink()
        path = folder / f"{split}.{suffix}"
        if isinstance(content, pd.DataFrame):
            content.to_parquet(path)
        else:
            path.write_text(content, encoding="utf-8")
    task = {"text": "text", "type": "multi-label", **entry}
    return load_data(load_spec("mine", {"mine": task}), folder)


def json_lines(cells: list[Any]) -> str:
    return "\n".join(json.dumps({"text": f"text {i}", "label": c}) for i, c in enumerate(cells))


def table(cells: list[str], header: str = "text\tlabel") -> str:
    return "\n".join([header, *(f"text {i}\t{cell}" for i, cell in enumerate(cells))]) + "\n"


def refusal(folder: Path, content: Any, suffix: str = "jsonl", **entry: Any) -> str:
    with pytest.raises(KdnasError) as refused:
        load(folder, content, suffix, **entry)
    message = str(refused.value)
    assert "\n" not in message
    return message.replace(f"{folder}/", "")


@pytest.mark.parametrize("separator", ["|", ",", "; ", " , "])
def test_joined_words(separator: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load(tmp_path, table([separator.join(labels) for labels in SETS]), "tsv")
    assert data.spec.labels == NAMES
    labels = data.splits["train"].labels
    assert labels is not None and labels.dtype == np.float32 and labels.tolist() == WANTED
    told = "\n".join(data.assumed)
    assert f"labels of a row are separated by {separator.strip()!r}; 1 row without a label" in told
    assert told.splitlines()[0].removeprefix("train.tsv: ") in capsys.readouterr().out


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param([list(labels) for labels in SETS], id="lists of names"),
        pytest.param([str(list(labels)) for labels in SETS], id="lists of names as Python text"),
        pytest.param([json.dumps(labels) for labels in SETS], id="lists of names as JSON text"),
        pytest.param([dict.fromkeys(labels, 1) for labels in SETS], id="objects"),
    ],
)
def test_lists_of_names(cells: list[Any], tmp_path: Path) -> None:
    data = load(tmp_path, json_lines(cells))
    assert data.spec.labels is not None and sorted(data.spec.labels) == sorted(NAMES)
    order = [data.spec.labels.index(name) for name in NAMES]
    assert data.splits["train"].labels is not None
    assert data.splits["train"].labels[:, order].tolist() == WANTED


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param([[2, 0], [1], [], [2], [0, 2]], id="ids"),
        pytest.param(WANTED, id="vectors"),
        pytest.param([[bool(v) for v in row] for row in WANTED], id="booleans"),
        pytest.param([[float(v) for v in row] for row in WANTED], id="floats"),
        pytest.param([str(row) for row in WANTED], id="vectors as text"),
        pytest.param(["2,0", "1", "", 2, "0,2"], id="joined ids"),
    ],
)
@pytest.mark.parametrize("parquet", [False, True])
def test_ids_and_vectors_of_listed_labels(cells: list[Any], parquet: bool, tmp_path: Path) -> None:
    content: Any = json_lines(cells)
    if parquet:
        cells = [str(c) for c in cells] if isinstance(cells[0], str) else cells
        content = pd.DataFrame({"text": [f"text {i}" for i in range(5)], "label": cells})
    data = load(tmp_path, content, "parquet" if parquet else "jsonl", labels=list(NAMES))
    assert data.splits["train"].labels is not None
    assert data.splits["train"].labels.tolist() == WANTED


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_columns_of_0_and_1(suffix: str, tmp_path: Path) -> None:
    columns = ("toxic", "threat", "insult")
    cells = {name: [int(name in labels) for labels in SETS] for name in columns}
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(5)], **cells})
    content: Any = frame
    if suffix != "parquet":
        frame["toxic"] = frame["toxic"].astype(bool)
        frame["threat"] = frame["threat"].map("{:.2f}".format)
        as_csv = suffix == "csv"
        content = frame.to_csv(index=False) if as_csv else frame.to_json(orient="records")
        content = content if as_csv else content.replace("},{", "}\n{").strip("[]")
    data = load(tmp_path, content, suffix, label=list(columns))
    assert data.spec.labels == columns
    assert data.splits["train"].labels is not None
    assert data.splits["train"].labels[:, [2, 1, 0]].tolist() == WANTED


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_key_that_an_object_lacks_says_no(suffix: str, tmp_path: Path) -> None:
    cells: list[Any] = [{"a": 1}, {"b": 1}, {"a": 1, "b": 1}, {"a": 0}]
    rows = [{"text": f"text {i}", "label": cell} for i, cell in enumerate(cells)]
    lines = "\n".join(map(json.dumps, rows))
    data = load(tmp_path, pd.DataFrame(rows) if suffix == "parquet" else lines, suffix)
    labels = data.splits["train"].labels
    assert labels is not None and labels.tolist() == [[1, 0], [0, 1], [1, 1], [0, 0]]


def test_empty_cells_of_columns_and_vectors_are_malformed(tmp_path: Path) -> None:
    rows: list[Any] = [{"text": str(i), "a": 1, "b": i % 2} for i in range(4)]
    table = pd.DataFrame([*rows, {"text": "x", "a": None, "b": 1}])
    assert "1 of 5 rows cannot be used" in refusal(tmp_path, table, "parquet", label=["a", "b"])
    lists = json_lines([[1, 0], [0, 1], [1, 1], [1, None]])
    assert "1 of 4 lines cannot be used" in refusal(tmp_path, lists, labels=["a", "b"])


def test_class_names_of_a_parquet_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"text": [f"text {i}" for i in range(5)], "label": [[2, 0], [1], [], [2], [0, 2]]}
    for kind in ("Sequence", "List"):
        feature = {"feature": {"names": list(NAMES), "_type": "ClassLabel"}, "_type": kind}
        kept = json.dumps({"info": {"features": {"label": feature}}}).encode()
        found = pa.table(columns).replace_schema_metadata({b"huggingface": kept})
        for split in ("train", "validation"):
            pq.write_table(found, tmp_path / f"{split}.parquet")
        entry = {"mine": {"text": "text", "type": "multi-label"}}
        data = load_data(load_spec("mine", entry), tmp_path)
        assert data.spec.labels == NAMES
        assert data.splits["train"].labels is not None
        assert data.splits["train"].labels.tolist() == WANTED


def test_class_names_of_a_hub_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value

    from kdnas.tasks.formats import hub

    features = Features({"text": Value("string"), "label": Sequence(ClassLabel(names=[*NAMES]))})
    rows = {"text": [f"text {i}" for i in range(5)], "label": [[2, 0], [1], [], [2], [0, 2]]}
    found = Dataset.from_dict(rows, features=features)
    whole = DatasetDict({"train": found, "validation": found})
    monkeypatch.setattr(hub, "fetch", lambda *_: whole)
    entry = {"mine": {"text": "text", "type": "multi-label", "hub": "org/set"}}
    data = load_data(load_spec("mine", entry), None)
    assert data.spec.labels == NAMES
    assert data.splits["train"].labels is not None
    assert data.splits["train"].labels.tolist() == WANTED


@pytest.mark.parametrize(
    ("words", "labels", "found"),
    [
        (["a|b, c", "b, c"], (), "|"),
        (["a, b", "b"], (), ","),
        (["a; b, c", "b, c"], (), ";"),
        (["a", "b"], (), None),
        (["a, b", "c"], ("a, b", "c"), None),
        (["a b", "b c"], ("a", "b", "c"), " "),
        (["a b", "b c"], (), None),
        (["0,1", "2"], ("a", "b", "c"), ","),
    ],
)
def test_separators_are_found(words: list[str], labels: tuple[str, ...], found: str | None) -> None:
    assert find_separator(words, labels) == found


def test_a_separator_that_the_task_names(tmp_path: Path) -> None:
    cells = ["New York, NY / Paris", "Paris", "", "New York, NY", "Paris / Rome"]
    data = load(tmp_path, table(cells), "tsv", separator="/")
    assert data.spec.labels == ("New York, NY", "Paris", "Rome")


def test_a_validation_split_is_read_as_the_classes_of_train(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text(table(["x, y|b", "b|c", "x, y|c", "c", "b"]))
    (tmp_path / "validation.tsv").write_text(table(["x, y", "b", ""]))
    entry = {"mine": {"text": "text", "type": "multi-label"}}
    data = load_data(load_spec("mine", entry), tmp_path)
    assert data.spec.labels == ("b", "c", "x, y")
    labels = data.splits["validation"].labels
    assert labels is not None and labels.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]


def test_ids_of_two_classes_are_no_vectors(tmp_path: Path) -> None:
    """Lists of ids in train; all those of validation could be vectors."""
    (tmp_path / "train.jsonl").write_text(json_lines([[0], [1], [0, 1], []]))
    (tmp_path / "validation.jsonl").write_text(json_lines([[0, 1], [1, 0]]))
    data = load_data(load_spec("m", {"m": {"text": "text", "type": "multi-label"}}), tmp_path)
    labels = data.splits["validation"].labels
    assert labels is not None and labels.tolist() == [[1, 1], [1, 1]]


def test_marked_rows_have_no_label(tmp_path: Path) -> None:
    cells = ["a|b", "-", "b", "", *["a"] * 200]
    data = load(tmp_path, table(cells), "tsv", unlabelled="-")
    assert len(data.splits["train"]) == 203 and data.spec.labels == ("a", "b")
    rows = ["text,a,b", *(f"text {i},1,{i % 2}" for i in range(200)), "text,-1,-1"]
    data = load(tmp_path, "\n".join(rows), "csv", label=["a", "b"], unlabelled=-1)
    assert len(data.splits["train"]) == 200
    hub_rows: list[Any] = [["a"], ["a", "b"], ["-"], *[["b"]] * 200]
    data = load(tmp_path, json_lines(hub_rows), unlabelled="-")
    assert len(data.splits["train"]) == 202


def test_a_test_split_may_lack_the_columns(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("text\nwhat\n")
    data = load(tmp_path, "text,a,b\none,1,0\ntwo,0,1\n", "csv", label=["a", "b"])
    assert data.splits["test"].labels is None


@pytest.mark.parametrize(
    ("cells", "entry", "message"),
    [
        (
            ["a|b", "a|a|b"],
            {},
            "train.jsonl, line 2: the label 'a' stands there twice; give each label of a row once",
        ),
        (
            ["a|b", "a|c"],
            {"labels": ["a", "b"]},
            "train.jsonl, line 2: invalid label 'c'; expected some of a, b, or ids from 0 to 1",
        ),
        (
            [["a"], ["b", ["a"]]],
            {},
            "train.jsonl, line 2: invalid labels ['b', ['a']]; expected a list of names, such as "
            "['a', 'b'], or of ids",
        ),
        (
            [["a"], ["b", None]],
            {},
            "train.jsonl, line 2: invalid labels ['b', None]; expected a list of names, such as "
            "['a', 'b'], or of ids",
        ),
        (
            [{"a": 1, "b": 0}, {"a": 2, "b": 0}],
            {},
            "train.jsonl, line 2: invalid label '2' under 'a'; expected 0 or 1",
        ),
        (
            [{"a": 1, "b": 0}, {"a": "maybe", "b": 0}],
            {},
            "train.jsonl, line 2: invalid label 'maybe' under 'a'; expected 0 or 1",
        ),
        (
            [{"a": 1, "b": 0}, {"a": [1], "b": 0}],
            {},
            "train.jsonl, line 2: invalid label '[1]' under 'a'; expected 0 or 1",
        ),
        (
            [[1, 0, 1], [0, 0, 1], [1, 1]],
            {"labels": ["a", "b", "c"]},
            "train.jsonl, line 3: invalid labels [1, 1]; expected 3 values of 0 or 1, for a, b, c",
        ),
        (
            [[1, 0, 1], [0, 0, 1], [1, 2, 0]],
            {"labels": ["a", "b", "c"]},
            "train.jsonl, line 3: invalid label '2' under 'b'; expected 0 or 1",
        ),
        (
            [[1, 0, 1], [0, 0, 1]],
            {},
            "train.jsonl: the labels are lists of 3 values of 0 or 1, which name no classes; list "
            "3 names under `labels:` in the task",
        ),
        (
            [["a"], [2]],
            {"labels": ["a", "b"]},
            "train.jsonl, line 2: invalid label '2'; expected some of a, b, or ids from 0 to 1",
        ),
        (["a", "a"], {}, "train.jsonl: found only the label 'a'; multi-label needs two or more"),
        (["", ""], {}, "train.jsonl: found no label; multi-label needs two or more"),
        (
            ["a|b", "a|b"],
            {},
            "train.jsonl: all 2 rows have the label 'a, b'; multi-label needs two or more",
        ),
        (
            [f"word {i}" for i in range(30)],
            {},
            "train.jsonl: found 30 different labels in 30 rows, such as 'word 0'; name what stands "
            "between the labels of a row with `separator:` in the task, or list the classes under "
            "`labels:`",
        ),
    ],
)
def test_bad_cells_in_one_line(
    cells: list[Any], entry: dict[str, Any], message: str, tmp_path: Path
) -> None:
    assert refusal(tmp_path, json_lines(cells), **entry) == message


@pytest.mark.parametrize(
    ("cell", "said"), [("2", "2"), ("maybe", "maybe"), ("0.5", "0.5"), ("01", "01")]
)
def test_bad_columns_in_one_line(cell: str, said: str, tmp_path: Path) -> None:
    content = f"text,a,b\none,1,0\ntwo,0,{cell}\n"
    expected = f"train.csv, line 3: invalid label {said!r} under 'b'; expected 0 or 1"
    assert refusal(tmp_path, content, "csv", label=["a", "b"]) == expected
    short = refusal(tmp_path, "text,a,b\none,1,0\ntwo,,1\n", "csv", label=["a", "b"])
    assert short.startswith("train.csv: 1 of 2 lines cannot be used: line 3 has no label under 'a'")
    lacks = refusal(tmp_path, "text,a\none,1\n", "csv", label=["a", "b"])
    assert lacks == "train.csv lacks the column 'b'; found 'text', 'a'"


def test_labels_that_train_lacks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text(table(["a|b", "b"]))
    (tmp_path / "validation.tsv").write_text(table(["a", "a|c"]))
    with pytest.raises(KdnasError) as refused:
        load_data(load_spec("m", {"m": {"text": "text", "type": "multi-label"}}), tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}/validation.tsv, line 3: invalid label 'c'; expected some of a, b (found in "
        "train; list others under `labels:` in the task)"
    )


@pytest.mark.parametrize("cell", [["a", "b"], "['a', 'b']"])
def test_classification_points_to_multi_label(cell: Any, tmp_path: Path) -> None:
    message = refusal(tmp_path, json_lines([cell, "a", "b"]), type="classification")
    assert "`type: multi-label`" in message


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "b", "a,b"], ("a,b", ",")),
        (["sport; news", "news; arts", "sport", "arts"], ("sport; news", ";")),
        (["comp,graphics", "comp,os"], None),
        (["a", "b"], None),
        ([], None),
    ],
)
def test_golden_joined(names: list[str], said: tuple[str, str] | None) -> None:
    assert joined(names) == said


def test_joined_labels_as_classes_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hint = "'a,b' looks like several labels joined by ',': if so, set `type: multi-label`"
    data = load(tmp_path, json_lines(["a", "b", "a,b"] * 4), type="classification")
    assert data.spec.labels == ("a", "a,b", "b")
    assert hint in capsys.readouterr().out
    assert any(hint in each for each in data.assumed)
    load(tmp_path, json_lines(["a", "b", "a,b"] * 4), type="multi-label")
    assert "if so" not in capsys.readouterr().out


def test_refused_classes_that_join_labels_point_to_multi_label(tmp_path: Path) -> None:
    many = [f"{i},{j}" for i in range(6) for j in range(6) if i != j]
    message = refusal(tmp_path, json_lines(many), type="classification")
    assert "found 30 different labels in 30 rows" in message and "`type: multi-label`" in message
    (tmp_path / "train.jsonl").write_text(json_lines(["a", "b"]))
    (tmp_path / "validation.jsonl").write_text(json_lines(["a", "a,b"]))
    hint = "labels:` in the task); 'a,b' looks like several labels joined by ','"
    with pytest.raises(KdnasError, match=re.escape(hint)):
        load_data(load_spec("m", {"m": {"text": "text"}}), tmp_path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"label": ["a", "b"]},
            "several label columns is for rows with several labels; classification takes one: "
            "leave it out, or set `type: multi-label`",
        ),
        ({"separator": "|"}, "`separator` is for rows with several labels; classification takes"),
        ({"label": ["a", "a"], "type": "multi-label"}, "give two or more labels, all different"),
        (
            {"label": ["a", "b"], "labels": ["b", "c"], "type": "multi-label"},
            "the columns under `label` are a, b and name the classes; leave `labels` out",
        ),
        (
            {"label": ["a", "b"], "separator": ",", "type": "multi-label"},
            "`separator` is for one label column; leave it out",
        ),
        ({"label": [], "type": "multi-label"}, "label has 0 columns; give one or more"),
        ({"positive": "a", "type": "multi-label"}, "multi-label has no metric of one class; leave"),
        ({"metrics": ["accuracy"], "type": "multi-label"}, "metric 'accuracy' does not fit"),
    ],
)
def test_bad_entries_in_one_line(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(KdnasError) as refused:
        load_spec("mine", {"mine": {"text": "text", **entry}})
    assert message in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("splits", [None, ()])
def test_train_decides_whether_lists_are_ids(splits: Any, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(json_lines([[0], [1], [0, 1], []]))
    (tmp_path / "validation.jsonl").write_text(json_lines([[0, 1], [0, 1]]))
    spec = TaskSpec.model_validate(
        {"name": "t", "type": "multi-label", "text": "text", "labels": ["x", "y"]}
    )
    optional = None if splits is None else ("validation",)
    data = load_data(spec, tmp_path, splits=splits, optional=optional)
    labels = data.splits["validation"].labels
    assert labels is not None and labels.tolist() == [[1, 1], [1, 1]]
