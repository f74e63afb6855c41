"""Unlabelled text from local files."""

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import load_corpus

TEXTS = ["one\u2028still one", 'say "two"', "three"]


def write(path: Path, texts: list[str], column: str = "text") -> Path:
    records: list[dict[str, Any]] = [{"id": i, column: text} for i, text in enumerate(texts)]
    lines = texts if ".txt" in path.name else [json.dumps(record) for record in records]
    content = "\n".join(lines).encode()
    if path.suffix == ".parquet":
        pd.DataFrame(records).to_parquet(path)
    else:
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(
    "name", ["c.txt", "c.txt.gz", "c.jsonl", "c.jsonl.gz", "c.json", "c.parquet"]
)
def test_formats(tmp_path: Path, name: str) -> None:
    assert load_corpus(write(tmp_path / name, TEXTS)) == TEXTS


@pytest.mark.parametrize("name", ["c.jsonl", "c.parquet"])
@pytest.mark.parametrize("column", ["sentence", "title"])
def test_other_columns(tmp_path: Path, name: str, column: str) -> None:
    assert load_corpus(write(tmp_path / name, TEXTS, column)) == TEXTS


def test_text_comes_before_other_strings(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"title": "t", "sentence": "s", "text": "a"}\n{"title": "t"}\n')
    assert load_corpus(path) == ["a"]


def test_blank_lines_and_repeats_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "c.txt", ["b", "", "a ", " ", "b", "a"])
    assert load_corpus(path) == ["b", "a"]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", ["2", "1"])
    write(tmp_path / "a.jsonl", ["1"])
    (tmp_path / "README.md").write_text("not this")
    assert load_corpus(tmp_path) == ["1", "2"]


def test_the_limit_draws_evenly_and_repeatably(tmp_path: Path) -> None:
    texts = [f"{i:04d}" for i in range(1000)]
    path = write(tmp_path / "c.txt", texts)
    chosen = load_corpus(path, limit=200)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 200
    assert chosen == load_corpus(path, limit=200)
    assert chosen != load_corpus(path, limit=200, seed=1)
    assert 60 < sum(int(text) < 500 for text in chosen) < 140
    assert load_corpus(path, limit=5000) == texts


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.txt", b"", "is empty"),
        ("c.txt", b"caf\xe9", "is not UTF-8"),
        ("c.txt.gz", b"not packed", "cannot read"),
        ("c.jsonl", b"{", "cannot be read as JSON lines"),
        ("c.jsonl", b'{"n": 1}', "has no text column; found n"),
        ("c.jsonl", b'{"text": " "}', "holds no text"),
        ("c.parquet", b"x", "cannot be read as Parquet"),
        ("c.pdf", b"x", "holds no readable file; give one with an ending of .txt"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(KdnasError, match=message) as caught:
        load_corpus(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["absent.txt", "./absent", "/absent/corpus"])
def test_missing_files_are_not_sought_on_the_hub(source: str) -> None:
    with pytest.raises(KdnasError, match="does not exist"):
        load_corpus(source)


def test_the_limit_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(KdnasError, match="invalid corpus limit 0"):
        load_corpus(tmp_path, limit=0)


def test_the_column_of_text_is_judged_by_all_records(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"id": "x"}\n{"id": "y", "text": "a sentence"}\n')
    assert load_corpus(path) == ["a sentence"]
