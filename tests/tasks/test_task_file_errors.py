"""Damaged files: the error is one line with the place, what was found and what to give."""

from collections.abc import Callable
from pathlib import Path

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


def test_missing_validation_of_a_task_with_two(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(b"premise,hypothesis,label\na,b,0\n")
    message = error_of(load_spec("mnli"), tmp_path)
    assert "no validation_matched file" in message
    assert "validation_matched or dev_matched" in message


def test_two_files_for_one_split(tmp_path: Path) -> None:
    for name in ("train.csv", "train.txt", "train.jsonl"):
        (tmp_path / name).write_bytes(GOOD)
    assert "more than one train file: train.csv, train.jsonl" in error_of(SPEC, tmp_path)


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
    assert message.endswith("line 6: invalid label '3'; expected one of 1, 2, 4, 5")


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


def test_unclosed_quote(broken: Callable[[str, bytes], str]) -> None:
    message = broken("train.csv", b'text,label\n"a,pos\nb,neg\n')
    assert "cannot be read as CSV: unexpected end of data in line 3" in message


def test_not_json(broken: Callable[[str, bytes], str]) -> None:
    message = broken("train.jsonl", b'{"text": "a", "label": 1}\n{"text": \n')
    assert "cannot be read as JSON lines" in message
    assert "in line 2" in message


def test_json_without_names(broken: Callable[[str, bytes], str]) -> None:
    assert "line 1: found '3'; give a JSON object" in broken("train.jsonl", b"3\n")


def test_not_parquet(broken: Callable[[str, bytes], str]) -> None:
    assert "cannot be read as Parquet" in broken("train.parquet", b"PAR1 no, it is not")


def rows(good: int, bad: int) -> bytes:
    return b"text,label\n" + b"a,pos\n" * good + b"a,pos,more\n" * bad


def test_malformed_rows_up_to_one_in_a_hundred(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(rows(1980, 20))
    train = load_data(SPEC, tmp_path, splits=["train"]).splits["train"]
    assert train.dropped == 20


def test_malformed_rows_up_to_ten(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(rows(5, 10))
    (tmp_path / "dev.csv").write_bytes(GOOD)
    train = load_data(SPEC, tmp_path, splits=["train"]).splits["train"]
    assert (len(train), train.dropped) == (5, 10)


@pytest.mark.parametrize(("good", "bad"), [(1000, 11), (0, 3)])
def test_too_many_malformed_rows(broken: Callable[[str, bytes], str], good: int, bad: int) -> None:
    message = broken("train.csv", rows(good, bad))
    assert f"{bad} of {good + bad} lines are malformed" in message
    assert f"the first: line {good + 2} has 3 fields instead of 2" in message


def test_too_many_rows_without_label(broken: Callable[[str, bytes], str]) -> None:
    message = broken("train.csv", b"text,label\n" + b"a,pos\n" * 20 + b"a,\n" * 11)
    assert "11 of 31 lines are malformed, the first: line 22 has no label" in message


def test_no_row_has_a_label(broken: Callable[[str, bytes], str]) -> None:
    assert "no line has a label under 'label'" in broken("train.csv", b"text,label\na,-1\nb,-1\n")
