"""Damaged files: the error is one line with the place, what was found and what to give."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import TaskSpec, load_data, load_spec

GOOD = b"text,label\na,pos\nb,neg\n"
SPEC = load_spec("mine", {"mine": {"text": "text", "labels": ["neg", "pos"]}})


def error_of(spec: TaskSpec, folder: Path | None, **arguments: list[str]) -> str:
    with pytest.raises(KdnasError) as caught:
        load_data(spec, folder, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def broken(tmp_path: Path) -> Callable[[str, bytes], str]:
    """The error of a folder with this training file beside a sound validation file."""

    def error(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        (tmp_path / "dev.csv").write_bytes(GOOD)
        message = error_of(SPEC, tmp_path)
        assert str(tmp_path / name) in message
        return message

    return error


def test_missing_data_folder(tmp_path: Path) -> None:
    message = error_of(SPEC, tmp_path / "absent")
    assert message == f"the data folder {tmp_path / 'absent'} does not exist"


def test_missing_task_folder(tmp_path: Path) -> None:
    (tmp_path / "MRPC").mkdir()
    message = error_of(load_spec("sst2"), tmp_path)
    assert "no folder for task 'sst2'; found MRPC" in message
    assert "name the folder sst2 or SST-2 (letter case aside)" in message


def test_missing_split_file(tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_bytes(GOOD)
    message = error_of(SPEC, tmp_path)
    assert "has no train file for task 'mine'; found dev.csv; name it train" in message


def test_a_link_to_nowhere(tmp_path: Path) -> None:
    (tmp_path / "train.csv").symlink_to(tmp_path / "nowhere.csv")
    (tmp_path / "dev.csv").write_bytes(GOOD)
    message = error_of(SPEC, tmp_path)
    assert message == f"cannot read {tmp_path / 'train.csv'}: No such file or directory"


def test_missing_validation_of_a_task_with_two(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(b"premise,hypothesis,label\na,b,0\n")
    message = error_of(load_spec("mnli"), tmp_path)
    assert "no validation_matched file" in message
    assert "validation_matched or dev_matched" in message


def test_two_files_for_one_split(tmp_path: Path) -> None:
    for name in ("train.csv", "train.txt", "train.jsonl"):
        (tmp_path / name).write_bytes(GOOD)
    assert "more than one train file: train.csv, train.jsonl" in error_of(SPEC, tmp_path)


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(GOOD)
    (tmp_path / "dev.csv").mkdir()
    message = error_of(SPEC, tmp_path)
    told = "is a folder; give the validation split as a file of this name"
    assert message == f"{tmp_path / 'dev.csv'} {told}"


def test_unknown_split(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(GOOD)
    message = error_of(SPEC, tmp_path, splits=["validatoin"])
    assert "no split 'validatoin'; did you mean 'validation'?" in message


def test_no_place_is_known() -> None:
    assert error_of(SPEC, None).endswith("names no hub data set; give its folder with --data-dir")


def test_missing_text_column(broken: Callable[[str, bytes], str]) -> None:
    message = broken("train.csv", b"review,label\na,pos\n")
    assert "lacks the column 'text'; found 'review', 'label'" in message


def test_missing_label_column(broken: Callable[[str, bytes], str]) -> None:
    assert "lacks the column 'label'; found 'text'" in broken("train.csv", b"text\na\n")


@pytest.mark.parametrize("key", ["group", "id"])
def test_missing_columns_of_groups_and_ids(tmp_path: Path, key: str) -> None:
    (tmp_path / "train.csv").write_text("text,label,articel\na,pos,1\nb,neg,2\n")
    (tmp_path / "dev.csv").write_text("text,label\na,pos\nb,neg\n")
    entry = {"text": "text", "labels": ["neg", "pos"]}
    message = error_of(load_spec("m", {"m": {**entry, key: {"article": ["doc"]}}}), tmp_path)
    assert "lacks the column 'article' or 'doc'; found 'text', 'label', 'articel'" in message
    data = load_data(load_spec("m", {"m": {**entry, key: "articel"}}), tmp_path)
    assert len(data.splits["train"]) == 2
    usual = {"text": "text", "label": "label", "type": "sequence-to-sequence"}
    assert len(load_data(load_spec("m", {"m": usual}), tmp_path).splits["train"]) == 2


def test_missing_columns_name_every_accepted_header(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_bytes(b"a\tb\n1\t2\n")
    message = error_of(load_spec("mrpc"), tmp_path, splits=["train"])
    assert "'sentence1' or '#1 String', 'sentence2' or '#2 String'" in message


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("train.csv", b"text,label\na,pos\nb,great\n", "line 3"),
        ("train.csv", b'text,label\n"a\nb",pos\nb,great\n', "line 4"),
        ("train.tsv", b"text\tlabel\n\na\tpos\nb\tgreat\n", "line 4"),
        ("train.jsonl", b'{"text": "a", "label": 1}\n{"text": "b", "label": "great"}', "line 2"),
    ],
)
def test_unknown_label(
    broken: Callable[[str, bytes], str], name: str, content: bytes, place: str
) -> None:
    message = broken(name, content)
    assert f"{name}, {place}: invalid label 'great'" in message
    assert "expected one of neg, pos, or an id from 0 to 1" in message


def test_where_labels_are_numbers_another_number_is_no_id(tmp_path: Path) -> None:
    rows = b"text,label\na,1\nb,2\nc,4\nd,5\n"
    (tmp_path / "train.csv").write_bytes(rows)
    (tmp_path / "validation.csv").write_bytes(rows + b"e,3\n")
    message = error_of(load_spec("mine", {"mine": {"text": "text"}}), tmp_path)
    assert "line 6: invalid label '3'; expected one of 1, 2, 4, 5 (found in train; li" in message


def test_a_metric_that_does_not_fit_the_labels_found(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(b"text,label\na,x\nb,y\nc,z\n")
    spec = load_spec("mine", {"mine": {"text": "text", "metrics": ["f1"]}})
    message = error_of(spec, tmp_path, splits=["train"])
    assert "train.csv has the labels x, y, z; task 'mine': " in message and "f1" in message


@pytest.mark.parametrize("cell", [b"2", b"-2", b"0.5", b"0_1", b"\xd9\xa1"])
def test_id_out_of_range(broken: Callable[[str, bytes], str], cell: bytes) -> None:
    message = broken("train.csv", b"text,label\na,pos\nb," + cell + b"\n")
    assert f"line 3: invalid label {cell.decode()!r}" in message


@pytest.mark.parametrize("cell", ["good", "nan", "1,5", "1_000", "1e999", "\u0663", "0x1"])
def test_unknown_score(tmp_path: Path, cell: str) -> None:
    spec = load_spec("mine", {"mine": {"text": "text", "regression": True}})
    (tmp_path / "train.tsv").write_text(f"text\tlabel\na\t1.5\nb\t{cell}\n")
    message = error_of(spec, tmp_path, splits=["train"])
    assert f"line 3: invalid label {cell!r}; expected a number" in message


@pytest.mark.parametrize("name", ["train.csv", "train.tsv", "train.jsonl"])
@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_empty_file(broken: Callable[[str, bytes], str], name: str, content: bytes) -> None:
    assert "is empty" in broken(name, content)


def test_header_only(broken: Callable[[str, bytes], str]) -> None:
    assert "is empty: it has a header and no line below it" in broken("train.csv", b"text,label\n")


def test_empty_json_array(broken: Callable[[str, bytes], str]) -> None:
    assert "is empty" in broken("train.json", b"[]")


@pytest.mark.parametrize("name", ["train.csv", "train.tsv", "train.jsonl"])
def test_not_utf8(broken: Callable[[str, bytes], str], name: str) -> None:
    message = broken(name, "text,label\ncafé,pos\n".encode("latin-1"))
    assert "is not UTF-8: byte 0xe9 in line 2" in message


def test_what_an_encoding_of_the_task_cannot_be(tmp_path: Path) -> None:
    for name in ("cp9999", "zip", "idna", "unicode_escape"):
        with pytest.raises(KdnasError, match=f"unknown encoding '{name}'; give one that Python kn"):
            load_spec("mine", {"mine": {"text": "text", "encoding": name}})
    spec = load_spec("mine", {"mine": {"text": "text", "encoding": "cp1252"}})
    (tmp_path / "train.csv").write_bytes(b"text,label\na,pos\nb\x81,neg\n")
    message = error_of(spec, tmp_path)
    assert "is not CP1252: byte 0x81 in line 3; save it as UTF-8" in message


@pytest.mark.parametrize("ending", ["xlsx", "XLS", "ods"])
def test_a_spreadsheet_is_refused_with_what_to_do(tmp_path: Path, ending: str) -> None:
    (tmp_path / "dev.csv").write_bytes(GOOD)
    (tmp_path / f"train.{ending}").write_bytes(b"PK\x03\x04")
    message = error_of(SPEC, tmp_path)
    assert f"train.{ending} is a spreadsheet; save the table as CSV UTF-8 (in Excel: Sa" in message
    (tmp_path / "train.csv").write_bytes(GOOD)  # its export, saved beside it
    assert len(load_data(SPEC, tmp_path).splits["train"]) == 2


def test_unclosed_quote(broken: Callable[[str, bytes], str]) -> None:
    message = broken("train.csv", b'text,label\n"a,pos\nb,neg\n')
    assert (
        "cannot be read as CSV: unexpected end of data in the row that begins in line 2" in message
    )


def test_not_json(broken: Callable[[str, bytes], str]) -> None:
    message = broken("train.jsonl", b'{"text": "a", "label": 1}\n{"text": \n')
    assert "cannot be read as JSON lines" in message
    assert "in line 2" in message


def test_json_without_names(broken: Callable[[str, bytes], str]) -> None:
    assert "line 1: found '3'; expected a JSON object" in broken("train.jsonl", b"3\n")


def test_not_parquet(broken: Callable[[str, bytes], str]) -> None:
    assert "cannot be read as Parquet" in broken("train.parquet", b"PAR1 no, it is not")


def rows(good: int, bad: int) -> bytes:
    return b"text,label\na,neg\n" + b"a,pos\n" * (good - 1) + b"a,pos,more\n" * bad


@pytest.mark.parametrize(("good", "bad"), [(1980, 20), (990, 10)])
def test_malformed_rows_up_to_one_in_a_hundred(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], good: int, bad: int
) -> None:
    (tmp_path / "train.csv").write_bytes(rows(good, bad))
    (tmp_path / "dev.csv").write_bytes(GOOD)
    train = load_data(SPEC, tmp_path, splits=["train"]).splits["train"]
    assert (len(train), train.dropped) == (good, bad)
    left_out = f"left out {bad} of {good + bad} lines: {bad} lines have 3 fields instead of 2 (the"
    assert left_out in capsys.readouterr().out


@pytest.mark.parametrize(("good", "bad"), [(1000, 11), (989, 10), (2, 1)])
def test_too_many_malformed_rows(
    broken: Callable[[str, bytes], str], good: int, bad: int, tmp_path: Path
) -> None:
    message = broken("train.csv", rows(good, bad))
    assert f"{bad} of {good + bad} lines cannot be used: " in message
    assert f"line {good + 2} has 3 fields" in message or f"(the first: line {good + 2})" in message
    assert message.endswith("repair them, or leave them out with --skip-malformed")
    part = load_data(SPEC, tmp_path, splits=["train"], skip_malformed=True).splits["train"]
    assert (len(part), part.dropped) == (good, bad)
    lenient = SPEC.model_copy(update={"skip_malformed": True})
    assert len(load_data(lenient, tmp_path, splits=["train"]).splits["train"]) == good


def test_the_true_cause_is_named_before_labels_are_spoken_of(
    broken: Callable[[str, bytes], str], tmp_path: Path
) -> None:
    blank = b"text,label\na,pos\n" + b" ,neg\n" * 40
    message = broken("train.csv", blank)
    assert "40 of 41 lines cannot be used: 40 lines have no text under 'text'" in message
    found = load_spec("mine", {"mine": {"text": "text"}})
    assert "40 lines have no text under 'text'" in error_of(found, tmp_path)
    (tmp_path / "train.csv").write_bytes(b"text,label\na,pos\n" + b"b,\n" * 40)
    assert "40 lines have no label under 'label'" in error_of(found, tmp_path)
    (tmp_path / "train.csv").write_bytes(b"text,label\n,pos\n,neg\n")
    message = error_of(found, tmp_path)
    assert (
        "none of 2 lines can be used: 2 lines have no text under 'text' (the first: line" in message
    )


def test_too_many_rows_without_label(broken: Callable[[str, bytes], str]) -> None:
    message = broken("train.csv", b"text,label\n" + b"a,pos\n" * 20 + b"a,\n" * 11)
    assert "11 of 31 lines cannot be used: 11 lines have no label under 'label' (the fir" in message


def test_a_mark_that_the_task_does_not_name_is_an_invalid_label(
    broken: Callable[[str, bytes], str],
) -> None:
    message = broken("train.csv", b"text,label\na,pos\nb,-1\n")
    assert "line 3: invalid label '-1'; expected one of neg, pos, or an id from 0 to 1" in message
    assert message.endswith("; if '-1' stands for none, set `unlabelled: '-1'` in the task")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.csv", b"text,label,label\na,pos,neg\n", "has the column 'label' 2 times; rename"),
        ("train.csv", b"Text,TEXT,label\na,b,pos\n", "has the column 'text' 2 times"),
        (
            "train.jsonl",
            b'{"text": "a", "label": "x", "label": "y"}',
            "key 'label' occurs twice in",
        ),
        ("train.jsonl", b'{"text": "a", "label": ["x"]}', "line 1: the label is a list, ['x'];"),
        ("train.jsonl", b'{"text": "a", "label": {"b": 1}}', "line 1: the label is an object"),
        (
            "train.jsonl",
            b'{"text": {"b": 1}, "label": "x"}',
            "line 1 has an object instead of text",
        ),
        ("train.jsonl", b'{"text": 3, "label": "x"}', "line 1 has a number instead of text under"),
        ("train.jsonl", b"[" * 100_000, "brackets are nested too deeply in line 1"),
        ("train.jsonl", b"{}\n" + b'{"a":' * 100_000, "brackets are nested too deeply in line 2"),
        ("train.json", b'[\n{},\n{"a": ' + b"[" * 100_000, "are nested too deeply in line 3"),
        ("train.jsonl", b'{}\n{"label": ' + b"7" * 5000 + b"}", "has too many digits in line 2"),
        ("train.json", b'[{"text": "a"}\n{"text": "b"}]', "expected a comma or the end of the a"),
        ("train.json", b'[{"text": "a"},\n ]', "Expecting value in line 2"),
        ("train.json", b'[{"text": "a"}]\n[]', "something follows the array in line 1"),
        ("train.jsonl", b'{"text": "a"} {"text": "b"}', "something follows the object in line 1"),
        ("train.csv", b"text,label\na," + b"7" * 5000 + b"\n", "line 2: invalid label '777"),
        (
            "train.csv",
            "text,label\na,pos\n".encode("utf-16")[:-1],
            "is not UTF-16-LE: byte 0x0a in line 2; save it",
        ),
        (
            "train.csv",
            ("text,label\n" + "影片很好看,pos\n" * 99).encode("utf-16-le"),
            "holds NUL bytes: it is UTF-16 without a mark, or no text; convert it",
        ),
        ("train.csv", b"text,label\na,pos\n\0\0\0", "holds NUL bytes"),
        ("train.csv", b"text,label\na,pos\nb\0c,pos\n", "holds a NUL byte in line 3; remove it"),
        (
            "train.csv",
            gzip.compress(b"text,label\na,pos\n", mtime=0),
            "is packed with gzip; unpack it",
        ),
        ("train.csv", b"PK\x03\x04\x14\x00", "is a zip archive or an Excel file; save the table"),
        ("train.csv", b"PAR1\x15", "is a Parquet file; give it the ending .parquet"),
        ("train.tsv", b'text\tlabel\n"a" b\tpos\n', "or set `quoting: false` in the task"),
        (
            "train.csv",
            b"text;label\na;pos\nb\n",
            "line 3 has 1 field instead of 2",
        ),
        ("train.csv", b"review;stars\na;1\n", "lacks the column 'text', 'label'; found 'review'"),
        ("train.csv", b"review;stars\na\n", "; separate the fields of all rows by the same: com"),
        ("train.csv", b"text\na; b\nc; d\n", "lacks the column 'label'; found 'text'"),
        ("train.csv", b"sep=;\n", "is empty"),
        ("train.csv", b"sep=;\ntext;label\n", "is empty"),
        ("train.csv", b"text;label\na;pos;;x\n", "line 2 has 4 fields instead of 2"),
        ("train.csv", b"\xd0\xcf\x11\xe0\xa1\xb1", "is a file of Excel or Word; save the table as"),
        ("train.csv", b"text,label\na,pos\nb,pos\n", "all 2 rows have the label 'pos'"),
    ],
)
def test_what_no_reader_can_make_sense_of(
    broken: Callable[[str, bytes], str], name: str, content: bytes, message: str
) -> None:
    assert message in broken(name, content)


def test_a_file_in_place_of_a_folder_and_the_reverse(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(GOOD)
    assert "data.csv is a file, not a folder" in error_of(SPEC, tmp_path / "data.csv")
    (tmp_path / "dev.csv").write_bytes(GOOD)
    (tmp_path / "train.csv").mkdir()
    assert "train.csv is a folder; give the train split as a file" in error_of(SPEC, tmp_path)


def test_damaged_parquet_of_any_kind(broken: Callable[[str, bytes], str]) -> None:
    frame = pd.DataFrame({"text": ["a"] * 500, "label": ["x", "y"] * 250})
    content = bytearray(frame.to_parquet())
    content[20:200] = b"\xff" * 180
    assert "cannot be read as Parquet" in broken("train.parquet", bytes(content))
    lists = pd.DataFrame({"text": ["a", "b"], "label": [["x"], ["y", "z"]]}).to_parquet()
    assert "row 1: the label is a list" in broken("train.parquet", lists)


def test_a_parquet_file_with_a_column_twice(tmp_path: Path) -> None:
    table = pa.table([["a", "b"], ["c", "d"], ["x", "y"]], names=["text", "text", "label"])
    pq.write_table(table, tmp_path / "train.parquet")
    assert error_of(SPEC, tmp_path) == (
        f"{tmp_path / 'train.parquet'} has the column 'text' 2 times; rename or remove one"
    )


def test_scores_that_are_all_the_same(tmp_path: Path) -> None:
    spec = load_spec("mine", {"mine": {"text": "text", "regression": True}})
    (tmp_path / "train.csv").write_text("text,label\n" + "a,1.5\n" * 9)
    message = error_of(spec, tmp_path)
    assert message.endswith("all 9 rows have the label '1.5'; regression needs two or more")


def test_all_that_is_malformed_is_told_at_once(broken: Callable[[str, bytes], str]) -> None:
    rows = b"text,label\n" + b"fine,pos\nbad,neg\n" * 9
    message = broken("train.csv", rows + b"a,b,c,d,e\nno label,\n")
    assert (
        "2 of 20 lines cannot be used: line 20 has 5 fields instead of 2; line 21 has no" in message
    )


def test_scores_that_float32_would_merge_are_refused(tmp_path: Path) -> None:
    spec = load_spec("mine", {"mine": {"type": "regression", "text": "text"}})
    rows = [f"t{i},{1_700_000_000 + i}" for i in range(20)]
    for name in ("train.csv", "dev.csv"):
        (tmp_path / name).write_text("text,label\n" + "\n".join(rows))
    assert error_of(spec, tmp_path) == (
        f"{tmp_path / 'train.csv'}: labels from 1700000000 to 1700000019 are too near each other "
        "for their size, and float32 would merge them; subtract a number such as 1700000000"
    )
