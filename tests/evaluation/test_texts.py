"""The texts that `kdnas predict` reads: what is no text is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdnas.errors import KdnasError
from kdnas.evaluation.texts import read_file, rows_of
from kdnas.tasks import load_spec

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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": ["a"]}', "line 1: has a list instead of text under 'text'"),
        ("a.jsonl", b'{"text": "a"}\n{"text": 5}', "line 2: has a number instead of text"),
        ("a.jsonl", b"[" * 100_000, "brackets are nested too deeply in line 1"),
        ("a.csv", b"text,text\na,b\n", "has the column 'text' 2 times"),
        ("a.csv", "text\na\n".encode("utf-16"), "is UTF-16; convert it"),
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


@pytest.mark.parametrize("option", ["text_column", "pair_column"])
def test_a_column_without_a_name(tmp_path: Path, option: str) -> None:
    (tmp_path / "a.csv").write_text("text\na\n")
    with pytest.raises(KdnasError, match=f"invalid --{option.replace('_', '-')} '': expected"):
        read_file(tmp_path / "a.csv", **{option: ""})  # type: ignore[arg-type]
