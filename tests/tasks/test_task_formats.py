"""Data as it comes: encodings, delimiters, what Excel writes, classes and categories in files."""
# ruff: noqa: RUF001

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import TaskData, TaskSpec, load_corpus, load_data, load_spec, read_corpus
from kdnas.tasks.formats.corpus import Corpus
from kdnas.tasks.formats.delimited import find_delimiter
from kdnas.tasks.formats.text import find_encoding
from kdnas.tasks.spec import Column

TEXTS = ["schön, oder nicht?", "да; нет", 'sie sagte "ja"', "zwei\nZeilen", "影上片"]
LABELS = ["ja", "nein", "ja", "nein", "ja"]
TABLE = pd.DataFrame({"text": TEXTS, "label": LABELS})


def read(folder: Path, **entry: Any) -> TaskData:
    """The task whose training file is also its validation file."""
    files = {"validation": "train"}
    spec = load_spec("mine", {"mine": {"text": "text", "files": files, **entry}})
    return load_data(spec, folder, splits=["train"], optional=[])


def scores(data: TaskData) -> list[float]:
    labels = data.splits["train"].labels
    assert labels is not None
    return [round(float(label), 4) for label in labels]


def as_text(ending: str) -> str:
    if ending == "jsonl":
        return TABLE.to_json(orient="records", lines=True, force_ascii=False)
    return TABLE.to_csv(sep="\t" if ending == "tsv" else ",", index=False)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize(
    ("encoding", "mark", "said"),
    [
        ("utf-8", "", ""),
        ("utf-8", "\ufeff", ""),
        ("utf-16-le", "\ufeff", "read as UTF-16-LE"),
        ("utf-16-be", "\ufeff", "read as UTF-16-BE"),
        ("utf-16-le", "", "read as UTF-16-LE"),
        ("utf-16-be", "", "read as UTF-16-BE"),
        ("utf-32-le", "\ufeff", "read as UTF-32-LE"),
    ],
)
def test_unicode_of_any_kind(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    ending: str,
    encoding: str,
    mark: str,
    said: str,
) -> None:
    path = tmp_path / f"train.{ending}"
    path.write_bytes((mark + as_text(ending)).encode(encoding))
    data = read(tmp_path)
    assert data.splits["train"].text == TEXTS and scores(data) == [0, 1, 0, 1, 0]
    assert data.assumed == ((f"train.{ending}: {said}",) if said else ())
    assert (f"{path}: {said}\n" in capsys.readouterr().out) == bool(said)


@pytest.mark.parametrize(
    "text",
    [
        "text,label\na,b\n",
        "да\nнет, нет\n",
        "καλό\nκακό, κακό\n",
        "טוב מאוד\nרע\n",
        "جيد جدا\nسيئ\n",
        "अच्छी फिल्म\nबुरी फिल्म\n",
    ],
)
def test_utf_16_without_a_mark_is_found_in_alphabets(text: str) -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        assert find_encoding((text * 9).encode(encoding)) == encoding
    assert find_encoding((text * 9).encode()) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"text,label\na\0b,pos\nc,neg\n",
        b"ab\0\n" * 9,
        b"text,label\na,pos\n" + bytes(4096),
        b"\n\0" + b"\n" * 20,
        bytes(range(256)) * 9,
        "影上片很好看\n".encode("utf-16-le") * 9,
        b"",
    ],
)
def test_what_is_not_surely_utf_16(raw: bytes) -> None:
    assert find_encoding(raw) is None


@pytest.mark.parametrize("encoding", ["cp1252", "iso-2022-jp", "shift-jis", "utf-16-le", "koi8-r"])
def test_the_encoding_that_the_task_names(tmp_path: Path, encoding: str) -> None:
    words = {"cp1252": "café", "koi8-r": "да", "utf-16-le": "影片很好看"}
    word = words.get(encoding, "映画")
    table = pd.DataFrame({"text": [word, "b"] * 9, "label": ["x", "y"] * 9}).to_csv(index=False)
    for used in (encoding, "utf-8", "utf-16"):
        (tmp_path / "train.csv").write_bytes(table.encode(used))
        data = read(tmp_path, encoding=encoding)
        assert data.splits["train"].text[:2] == [word, "b"]
        if used == encoding:
            assert data.assumed == (f"train.csv: read as {encoding.upper()}",)


@pytest.mark.parametrize("ending", ["csv", "tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [0, 1])
def test_delimiters(tmp_path: Path, ending: str, delimiter: str, quoting: int) -> None:
    frame = TABLE.assign(n=["1,5", "2,5", "3,5", "4,5", "5,5"])
    text = frame.to_csv(sep=delimiter, index=False, quoting=quoting, lineterminator="\r\n")
    (tmp_path / f"train.{ending}").write_bytes(text.encode())
    data = read(tmp_path)
    assert data.splits["train"].text == TEXTS and scores(data) == [0, 1, 0, 1, 0]
    names = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
    usual = delimiter == ("\t" if ending == "tsv" else ",")
    said = f"train.{ending}: fields separated by {names[delimiter]}"
    assert data.assumed == (() if usual else (said,))


@pytest.mark.parametrize(
    ("text", "columns", "width", "delimiter"),
    [
        ("text;label\na, b;3,5\n", ["text"], 0, ";"),
        ("text;label\na, b;3,5\nc;1,5\n", [], 0, ";"),
        ('"text";"label"\n"a, b";"x"\n', ["text"], 0, ";"),
        ("text\na;b\nc;d\n", ["text"], 0, ","),
        ("text,label\na;b;c,x\nd;e;f,y\n", [], 0, ","),
        ("id,a|b|c\n1,x|y|z\n", [], 0, ","),
        ("a\tb\nx, y\tz\n", [], 0, "\t"),
        ("some words\nothers, and more\n", [], 0, ","),
        ("a, b;x\nc, d;y\n", ["text"], 2, ","),
        ("a;x\nc, d;y\n", ["text"], 2, ";"),
        ("a;b;;\nx;y\nz;;;\n", [], 0, ";"),
        ('a;b\n"open;x\n', [], 0, ","),
        ("", [], 0, ","),
    ],
)
def test_which_delimiter_it_is(text: str, columns: list[str], width: int, delimiter: str) -> None:
    wanted = [Column(name=name) for name in columns]
    assert find_delimiter(text, ",", columns=wanted, width=width) == delimiter


def test_of_a_long_table_its_beginning_tells_the_delimiter(tmp_path: Path) -> None:
    rows = "".join(f'"line {i},\n{"x" * 300_000}";y;{i},5\n' for i in range(5))
    for header, wanted in (("text;label;n\n", ["text"]), ("a;b;c\n", [])):
        columns = [Column(name=name) for name in wanted]
        assert find_delimiter(header + rows, ",", columns=columns) == ";"


def test_a_headerless_table_with_semicolons(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("ja;eins\nnein;zwei, drei\n")
    assert read(tmp_path, headerless=["label", "text"]).splits["train"].text == [
        "eins",
        "zwei, drei",
    ]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;;;", "sep=;\r"])
def test_the_first_line_of_excel(tmp_path: Path, first: str) -> None:
    (tmp_path / "train.csv").write_bytes(f"{first}\ntext;label\na,b;x\nc;y\nd;z;9\n".encode())
    with pytest.raises(KdnasError, match="1 of 3 lines cannot be used: line 5 has 3 fields"):
        read(tmp_path)
    assert read(tmp_path, skip_malformed=True).splits["train"].text == ["a,b", "c"]


def test_an_export_of_excel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mark, semicolons, CRLF, cells of several lines, empty columns and rows, decimal commas."""
    lines = ["text;label;;", '"eins\nzwei; ""drei""";3,5;;', "vier, fünf;4;;", "sechs;0,25", ";;;"]
    raw = ("\ufeff" + "\r\n".join([*lines, ";;;", ""])).encode()
    path = tmp_path / "train.csv"
    path.write_bytes(raw)
    data = read(tmp_path, type="regression")
    assert data.splits["train"].text == ['eins\nzwei; "drei"', "vier, fünf", "sechs"]
    assert scores(data) == [3.5, 4.0, 0.25]
    told = (
        "fields separated by semicolons; 2 empty rows at the end left out; labels with a decimal "
        "comma: 3,5 is 3.5"
    )
    assert data.assumed == (f"train.csv: {told}",)
    assert f"{path}: {told}\n" in capsys.readouterr().out


def test_empty_fields_behind_the_last_column_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,x,,\nb,y\n")
    data = read(tmp_path)
    assert data.splits["train"].text == ["a", "b"]
    assert data.assumed == ("train.csv: 1 row without the empty fields behind the last column",)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["3,5", "4", "-1,25"], [3.5, 4.0, -1.25]),
        (["0,125", "1,500"], [0.125, 1.5]),
        ([" 1234,567", "2"], [1234.567, 2.0]),
        (["1,500", "2"], "1,500"),
        (["1,500.5", "2"], "1,500.5"),
        (["1,5", "2.5"], "1,5"),
        (["1.234,5", "2"], "1.234,5"),
    ],
)
def test_decimal_commas_are_read_where_they_can_be_nothing_else(
    tmp_path: Path, cells: list[str], expected: Any
) -> None:
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(len(cells))], "label": cells})
    frame.to_csv(tmp_path / "train.csv", index=False)
    if isinstance(expected, list):
        assert scores(read(tmp_path, type="regression")) == expected
        return
    with pytest.raises(KdnasError, match=f"line [23]: invalid label '{expected}'; expected a num"):
        read(tmp_path, type="regression")


@pytest.mark.parametrize("splits", [None, ()])
def test_decimal_commas_of_train_are_those_of_other_splits(splits: Any, tmp_path: Path) -> None:
    for split, cells in (("train", ("0,025", "1,5")), ("validation", ("1,125", "2,250"))):
        rows = "".join(f"a text {i}\t{cell}\n" for i, cell in enumerate(cells))
        (tmp_path / f"{split}.tsv").write_text(f"text\tlabel\n{rows}")
    spec = TaskSpec.model_validate({"name": "t", "text": "text", "regression": True})
    optional = None if splits is None else ("validation",)
    data = load_data(spec, tmp_path, splits=splits, optional=optional)
    labels = data.splits["validation"].labels
    assert labels is not None and labels.tolist() == [1.125, 2.25]


def test_a_parquet_file_of_the_hub_names_its_classes(tmp_path: Path) -> None:
    names = ["red", "green", "blue"]
    ids, kind = [2, 0, 1, 0, 2, 1], datasets.ClassLabel(names=names)

    def write(label: list[int]) -> None:
        data = datasets.Dataset.from_dict({"text": list("abcdef"), "label": label})
        path = tmp_path / "train-00000-of-00001.parquet"
        data.cast_column("label", kind).to_parquet(path)

    write(ids)
    found = read(tmp_path)
    assert found.spec.labels == tuple(names) and scores(found) == ids
    [told] = found.assumed
    assert told.endswith("ids under 'label' are those of the classes that the file names")
    listed = read(tmp_path, labels=["blue", "green", "red"])
    assert scores(listed) == [0, 2, 1, 2, 0, 1]
    with pytest.raises(KdnasError, match="row 1: invalid label 'blue'; expected one of x, y, z"):
        read(tmp_path, labels=["x", "y", "z"])
    write([-1, *ids[1:]])
    with pytest.raises(KdnasError, match="no label under 'label', as its mark says"):
        read(tmp_path)


@pytest.mark.parametrize("index", ["text", ["label", "text"], ["label", "other"]])
def test_an_index_of_pandas_is_columns(tmp_path: Path, index: Any) -> None:
    frame = pd.DataFrame({"other": [5, 6, 7], "text": list("abc"), "label": [1, 0, 1]})
    frame.set_index(index).to_parquet(tmp_path / "train.parquet")
    found = read(tmp_path)
    assert (found.splits["train"].text, scores(found)) == (["a", "b", "c"], [1, 0, 1])


def test_a_column_goes_before_an_index_of_its_name(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": list("abc"), "label": [1, 0, 1]}, index=list("xyz"))
    frame.rename_axis("text").to_parquet(tmp_path / "train.parquet")
    assert read(tmp_path).splits["train"].text == ["a", "b", "c"]


@pytest.mark.parametrize(
    "kept", ["nonsense", '{"info": []}', '{"info": {"features": {"label": 1}}}']
)
def test_other_words_where_parquet_keeps_features(tmp_path: Path, kept: str) -> None:
    table = pa.table({"text": ["a", "b"], "label": [0, 1]})
    pq.write_table(table.replace_schema_metadata({"huggingface": kept}), tmp_path / "train.parquet")
    assert read(tmp_path).spec.labels == ("0", "1")


@pytest.mark.parametrize("ordered", [False, True])
def test_categories_are_their_values_whatever_their_order(tmp_path: Path, ordered: bool) -> None:
    words = ["low", "high", "mid", "high"]
    labels = pd.Categorical(words, categories=["mid", "low", "high", "none"], ordered=ordered)
    texts = pd.Categorical(["a", "b", "c", "b"])
    pd.DataFrame({"text": texts, "label": labels}).to_parquet(tmp_path / "train.parquet")
    data = read(tmp_path)
    assert data.spec.labels == ("high", "low", "mid") and scores(data) == [1, 0, 2, 0]
    assert data.splits["train"].text == ["a", "b", "c", "b"] and not data.assumed
    listed = read(tmp_path, labels=["low", "mid", "high"])
    assert scores(listed) == [0, 2, 1, 2]


@pytest.mark.parametrize("values", [["7", "3"], [7, 3], [True, False]])
def test_dictionaries_of_arrow_are_their_values(tmp_path: Path, values: list[Any]) -> None:
    labels = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1, 0]), pa.array(values))
    table = pa.table({"text": ["a", "b", "c", "d"], "label": labels})
    pq.write_table(table, tmp_path / "train.parquet")
    first, second = (str(value).lower() for value in values)
    data = read(tmp_path)
    assert data.spec.labels == (second, first) and scores(data) == [1, 0, 0, 1]


def test_a_corpus_in_utf_16(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes("ein Text\r\nдва\r\n".encode("utf-16"))
    corpus = read_corpus(path)
    assert corpus == Corpus(["ein Text", "два"], ("corpus.txt: read as UTF-16-LE",))
    assert f"{path}: read as UTF-16-LE\n" in capsys.readouterr().out
    records = "\n".join(json.dumps({"text": text}) for text in TEXTS)
    (tmp_path / "corpus.jsonl").write_bytes(records.encode("utf-16-be"))
    assert load_corpus(tmp_path / "corpus.jsonl") == TEXTS
