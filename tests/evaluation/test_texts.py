"""The texts that `kdnas predict` reads: what is no text is refused with its place."""
# ruff: noqa: RUF001

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kdnas.errors import KdnasError
from kdnas.evaluation.texts import read_file, read_lines, rows_of
from kdnas.tasks import TASK_TYPES, TaskSpec, load_spec
from kdnas.tasks.formats.folder import FolderSource

GLUE = load_spec("sst2")


def texts(path: Path, *, quoting: bool = True) -> list[str]:
    rows, count = read_file(path, None if quoting else GLUE)
    found = [row.text for row in rows]
    assert len(found) == count
    return found


def test_a_tsv_is_read_as_the_task_says(tmp_path: Path) -> None:
    path = tmp_path / "new.tsv"
    path.write_text('sentence\n"a ""b"""\n', encoding="utf-8")
    assert texts(path) == ['a "b"']
    assert texts(path, quoting=False) == ['"a ""b"""']


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_lines_packed_with_gzip_are_unpacked(tmp_path: Path, encoding: str) -> None:
    """Whether or not a task is known."""
    path = tmp_path / "new.en.gz"
    path.write_bytes(gzip.compress("a caf\u00e9\nb\n".encode(encoding)))
    rows, count = read_file(path)
    assert [row.text for row in rows] == ["a caf\u00e9", "b"] and count == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": ["a"]}', "line 1: has a list instead of text under 'text'"),
        ("a.jsonl", b'{"text": "a"}\n{"text": 5}', "line 2: has a number instead of text"),
        ("a.jsonl", b"[" * 100_000, "brackets are nested too deeply in line 1"),
        ("a.csv", b"text,text\na,b\n", "has the column 'text' 2 times"),
        ("a.csv", "text\na\n".encode("utf-16")[:-1], "is not UTF-16-LE: byte 0x0a in line 2"),
        ("a.txt", "a\nb\n".encode("utf-16")[:-1], "damaged or cut short in line 2; copy or save"),
        ("a.txt", b"a\ncaf\xe9\n", "is not UTF-8: byte 0xe9 in line 2; save it as UTF-8 (in Ex"),
        ("a.txt", b"\x1f\x8b\x08", "is packed with gzip; unpack it"),
        ("a.en.gz", b"a\n", "a.en.gz: Not a gzipped file"),
        (
            "a.en.gz",
            gzip.compress(b"a\nb\n", mtime=0)[:-6],
            "a.en.gz: Compressed file ended before",
        ),
        ("a.docx", b"PK\x03\x04", "is a zip archive or an Excel file; save the table as CSV UT"),
        ("a.xlsx", b"PK\x03\x04", "a.xlsx is a spreadsheet; save the table as CSV UTF-8"),
        ("a.parquet", b"PAR1", "cannot be read as Parquet"),
    ],
)
def test_what_is_no_text(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(KdnasError) as caught:
        texts(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_id_is_what_json_can_say(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    ids = ("NaN", "1e999", '[1, NaN, {"a": Infinity}]', "7", "2.5", '"a"')
    path.write_text("".join(f'{{"text": "a", "id": {word}}}\n' for word in ids))
    rows, _ = read_file(path)
    assert [row.id for row in rows] == [None, None, [1, None, {"a": None}], 7, 2.5, "a"]


def test_bytes_of_a_command_line_that_are_no_text_become_replacement_characters() -> None:
    assert [row.text for row in rows_of(["caf\udce9"])] == ["caf\ufffd"]
    [row] = rows_of(["a"], ["\ud83d"])
    assert row.text_pair == "\ufffd"


@pytest.mark.parametrize("name", ["new.jsonl", "new.jsonl.gz", "new.parquet"])
def test_a_named_column_may_stand_in_an_object(tmp_path: Path, name: str) -> None:
    """As in the hub's sets for translation, whichever other object has a usual name."""
    path = tmp_path / name
    both = [{"en": "a dog", "de": "ein Hund"}, {"en": "a cat", "de": "eine Katze"}]
    table = pd.DataFrame({"more": [{"source": "x"}, {"source": "y"}], "translation": both})
    if ".jsonl" in name:
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_parquet(path)
    kind = TASK_TYPES["sequence-to-sequence"]
    rows, _ = read_file(path, text_column="en", kind=kind)
    assert [row.text for row in rows] == ["a dog", "a cat"]
    rows, _ = read_file(path, text_column="en", pair_column="de")
    assert [row.text_pair for row in rows] == ["ein Hund", "eine Katze"]


def test_the_names_in_an_object_are_told(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text('{"translation": {"en": "a dog", "de": "ein Hund"}}\n')
    with pytest.raises(KdnasError) as caught:
        texts(path)
    assert str(caught.value).endswith(
        "line 1: has an object instead of text under 'translation'; name what is in it with "
        "--text-column: 'en', 'de'"
    )
    with pytest.raises(KdnasError) as caught:
        read_file(path, text_column="translation.en")
    assert str(caught.value).endswith(
        "has no column 'translation.en' (--text-column); found 'translation' (with 'en', 'de')"
    )
    with pytest.raises(KdnasError, match="name what is in it with --pair-column: 'en', 'de'"):
        list(read_file(path, text_column="en", pair_column="translation")[0])
    path.write_text(json.dumps({"text": {str(i): 0 for i in range(12)}}))
    with pytest.raises(KdnasError, match="'9', 2 more$"):
        texts(path)


@pytest.mark.parametrize("option", ["text_column", "pair_column"])
def test_a_column_without_a_name(tmp_path: Path, option: str) -> None:
    (tmp_path / "a.csv").write_text("text\na\n")
    with pytest.raises(KdnasError, match=f"invalid --{option.replace('_', '-')} '': expected"):
        read_file(tmp_path / "a.csv", **{option: ""})  # type: ignore[arg-type]


LINES = "\ufeffein Film, schön\r\nда, хорошо\n\n影片 上上\nlast"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_lines_in_unicode_of_any_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoding: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(LINES.encode(encoding))
    assert texts(path) == ["ein Film, schön", "да, хорошо", "", "影片 上上", "last"]
    said = f"{path}: read as {encoding.upper()}\n"
    assert capsys.readouterr().out == ("" if encoding == "utf-8" else said)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("lines", [["a good film", "b"], ["да", "нет, плохо", "да"], ["a", "bcd"]])
def test_lines_in_utf_16_without_its_mark(tmp_path: Path, encoding: str, lines: list[str]) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\r\n".join(lines).encode(encoding))
    assert texts(path) == lines


@pytest.mark.parametrize(
    "raw", [b"a\0b\nc\n", b"ab\0\n", b"\n\n\0\n\n\n\n\n", b"\x1b[1m\0a\n" * 20]
)
def test_stray_nuls_are_no_utf_16(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(raw)
    assert texts(path) == raw.decode().removesuffix("\n").split("\n")


def test_lines_are_read_as_they_come() -> None:
    taken = 0

    def typed() -> Iterator[bytes]:
        nonlocal taken
        for line in (b"a\n", b"\x1b[A\n", b"c\n"):
            taken += 1
            yield line

    rows = read_lines(typed(), "standard input")
    assert [(next(rows).text, taken) for _ in range(3)] == [("a", 1), ("\x1b[A", 2), ("c", 3)]


def test_the_encoding_of_the_task_is_that_of_files_that_are_not_utf_8(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = load_spec("mine", {"mine": {"text": "text", "encoding": "cp1252"}})
    for name, heading in (("a.txt", ""), ("a.csv", "text\n")):
        path = tmp_path / name
        for encoding in ("cp1252", "utf-8", "utf-16"):
            path.write_bytes(f"{heading}plain\ncafé €\n".encode(encoding))
            rows, _ = read_file(path, spec)
            assert [row.text for row in rows] == ["plain", "café €"]
            assert ("read as CP1252" in capsys.readouterr().out) == (encoding == "cp1252")


@pytest.mark.parametrize(
    ("content", "expected", "said"),
    [
        ("id;text\n1;good, or bad\n2;b\n", ["good, or bad", "b"], "separated by semicolons"),
        ("id\tSentence\n1\ta; b\n", ["a; b"], "fields separated by tabs"),
        ("sep=|\r\ntext|b\r\na,b;c|1\r\n", ["a,b;c"], "fields separated by vertical bars"),
        ("whatever\na; b\nc; d\n", ["a; b", "c; d"], "its first line, 'whatever', is read as the"),
        ("whatever,\na; b,\n", ["a; b"], "its first line, 'whatever', is read as the name of"),
        ("text\na\n", ["a"], ""),
        ("text;n;;\na;1;;\nb;2\n;;;\n;;;\n", ["a", "b"], "2 empty rows at the end left out"),
    ],
)
def test_tables_as_they_come(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    expected: list[str],
    said: str,
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode())
    assert texts(path) == expected
    out = capsys.readouterr().out
    assert said in out and bool(said) == bool(out)


@pytest.mark.parametrize(
    ("headerless", "content", "expected"),
    [
        (("src", "label", "note", "text"), "x\t1\t\tone\ny\t0\t\ttwo\n", ["one", "two"]),
        (("src", "label", "note", "text"), "x\t\tone\ny\t\ttwo\n", ["one", "two"]),
        (("text", "label"), "one\ntwo\n", ["one", "two"]),
        (("label", "text"), "0\tone\n1\ttwo\n", ["one", "two"]),
        (("label", "text"), "id\ttext\n1\tone\n", ["one"]),
    ],
)
def test_the_task_names_the_columns_of_files_without_a_header(
    tmp_path: Path, headerless: tuple[str, ...], content: str, expected: list[str]
) -> None:
    spec = load_spec("mine", {"mine": {"text": "text", "headerless": list(headerless)}})
    path = tmp_path / "a.tsv"
    path.write_text(content)
    rows, count = read_file(path, spec)
    assert [row.text for row in rows] == expected and count == len(expected)


def test_second_texts_may_be_an_array() -> None:
    first, second = ["a", "b"], ["c", "d"]
    for kind in (np.array, pd.Series):
        assert [row.text_pair for row in rows_of(first, kind(second))] == second
    assert rows_of(first, pd.Series([], dtype=str))[0].text_pair is None


COLUMNS = "EU NNP I-ORG\nrejects VBZ O\n\nPeter NNP I-PER\n"


@pytest.mark.parametrize(
    ("name", "content", "named", "expected"),
    [
        ("eng.testa", COLUMNS, True, ["EU rejects", "Peter"]),
        ("eng.train", f"-DOCSTART- -X- O\n\n{COLUMNS}", True, ["EU rejects", "Peter"]),
        # A task's own names say more than what the tags look like.
        ("testb", "EU NNP\nrejects VBZ\n", True, ["EU rejects"]),
        # Without a task, any ending that says nothing is judged as .txt is.
        ("eng.testa", COLUMNS, False, ["EU rejects", "Peter"]),
        ("new.txt", COLUMNS, False, ["EU rejects", "Peter"]),
        ("eng.testa.gz", COLUMNS, False, ["EU rejects", "Peter"]),
        ("new.txt.gz", "The EU rejects.\n", False, ["The EU rejects."]),
        (
            "new.log",
            "The EU rejects.\n\nPeter and I\n",
            False,
            ["The EU rejects.", "", "Peter and I"],
        ),
    ],
)
def test_columns_are_what_the_tasks_data_have_in_columns(
    tmp_path: Path, name: str, content: str, named: bool, expected: list[str]
) -> None:
    path = tmp_path / name
    raw = content.encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    spec = load_spec("conll2003") if named else None
    rows, _ = read_file(path, spec, kind=TASK_TYPES["token-classification"])
    assert [row.text for row in rows] == expected


def test_a_file_that_a_task_names_is_read_as_its_split_is(tmp_path: Path) -> None:
    """Of an ending that others have for texts, and with tags that may be any words."""
    (tmp_path / "held.txt").write_text("EU NNP\nrejects VBZ\n\nPeter NNP\n", encoding="utf-8")
    entry = {"name": "pos", "type": "token-classification", "metrics": ["word_accuracy"]}
    spec = TaskSpec.model_validate({**entry, "files": {"train": "held.txt"}})
    split = FolderSource(spec, tmp_path).read("train")
    rows, _ = read_file(tmp_path / "held.txt", spec, kind=TASK_TYPES["token-classification"])
    assert [row.text for row in rows] == split.text == ["EU rejects", "Peter"]
