"""Data of texts from texts: parallel files, tables, nested columns, and what is wrong in them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kdnas.errors import KdnasError
from kdnas.evaluation.texts import read_file
from kdnas.tasks import TASK_TYPES, Examples, TaskData, load_data, load_spec

ENGLISH = ["a dog", "a cat", "two birds", "a dog"]
GERMAN = ["ein Hund", "eine Katze", "zwei Vögel", "der Hund"]
ENTRY = {"type": "sequence-to-sequence", "text": "en", "label": "de"}


def spec_of(**entry: Any) -> Any:
    return load_spec("pets", {"pets": {**ENTRY, **entry}})


def written(folder: Path, **files: str) -> Path:
    """Files by their names, `_` for a point; in folder/pets."""
    place = folder / "pets"
    place.mkdir(exist_ok=True)
    for name, text in files.items():
        (place / name.replace("_", ".")).write_bytes(text.encode())
    return folder


def loaded(folder: Path, **entry: Any) -> TaskData:
    return load_data(spec_of(**entry), folder, splits=("validation",), optional=())


def pairs(data: Examples) -> list[tuple[str, Any]]:
    assert data.labels is not None
    return list(zip(data.text, data.labels, strict=True))


def lines(texts: list[str]) -> str:
    return "\n".join(texts) + "\n"


PAIRS = [(one, (other,)) for one, other in zip(ENGLISH, GERMAN, strict=True)]


def test_parallel_files_belong_together_line_by_line(tmp_path: Path) -> None:
    folder = written(tmp_path, val_en=lines(ENGLISH), val_de="\r\n".join(GERMAN))
    found = loaded(folder).splits["validation"]
    assert pairs(found) == PAIRS
    assert found.groups == ENGLISH  # the same source is not held out of itself


def test_packed_files(tmp_path: Path) -> None:
    folder = written(tmp_path, val_en=lines(ENGLISH))
    (folder / "pets" / "val.de.gz").write_bytes(gzip.compress(lines(GERMAN).encode()))
    assert pairs(loaded(folder).splits["validation"]) == PAIRS
    rows = [json.dumps({"en": a, "de": b}) for a, b in zip(ENGLISH, GERMAN, strict=True)]
    for name in ("val.en", "val.de.gz"):
        (folder / "pets" / name).unlink()
    (folder / "pets" / "val.jsonl.gz").write_bytes(gzip.compress(lines(rows).encode()))
    assert pairs(loaded(folder).splits["validation"]) == PAIRS


def test_several_references_of_a_line(tmp_path: Path) -> None:
    others = ["ein Hund!", "", "2 Vögel", "Hund"]
    folder = written(tmp_path, val_en=lines(ENGLISH), val_de=lines(GERMAN))
    (folder / "pets" / "val.de2").write_text(lines(others), encoding="utf-8")
    found = [references for _, references in pairs(loaded(folder).splits["validation"])]
    assert found[0] == ("ein Hund", "ein Hund!") and found[1] == ("eine Katze",)


def test_unequal_line_counts_are_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, val_en=lines(ENGLISH), val_de=lines(GERMAN[:3]))
    with pytest.raises(KdnasError, match=r"val\.en has 4 lines, val\.de 3; give files of"):
        loaded(folder)


def test_a_missing_file_of_targets_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path, val_en=lines(ENGLISH))
    with pytest.raises(KdnasError, match=r"val\.en lacks the column 'de'; found 'en'.*val\.de"):
        loaded(folder)


def test_twice_the_same_file(tmp_path: Path) -> None:
    folder = written(tmp_path, val_en=lines(ENGLISH), val_de=lines(GERMAN))
    (folder / "pets" / "val.de.gz").write_bytes(gzip.compress(b"x"))
    with pytest.raises(KdnasError, match=r"holds val\.de and val\.de\.gz; keep one"):
        loaded(folder)


def test_empty_targets_are_rows_without_a_label(tmp_path: Path) -> None:
    holes = [GERMAN[0], " ", *GERMAN[2:]]
    folder = written(tmp_path, val_en=lines(ENGLISH), val_de=lines(holes))
    with pytest.raises(
        KdnasError, match=r"val\.en and val\.de: 1 of 4 lines .* line 2 has no label"
    ):
        loaded(folder)
    assert len(loaded(folder, skip_malformed=True).splits["validation"]) == 3


def test_a_test_split_needs_no_targets(tmp_path: Path) -> None:
    folder = written(tmp_path, val_en=lines(ENGLISH), val_de=lines(GERMAN))
    written(tmp_path, test_en=lines(ENGLISH))
    found = load_data(spec_of(), folder, splits=("validation", "test"))
    assert found.splits["test"].labels is None


@pytest.mark.parametrize("name", ["val.csv", "val.tsv", "val.jsonl", "val.parquet"])
def test_tables(name: str, tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    table, path = pd.DataFrame({"en": ENGLISH, "de": GERMAN}), tmp_path / "pets" / name
    if name.endswith(".parquet"):
        table.to_parquet(path)
    elif name.endswith(".jsonl"):
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, sep="\t" if name.endswith(".tsv") else ",", index=False)
    assert pairs(loaded(tmp_path).splits["validation"]) == PAIRS


@pytest.mark.parametrize("name", ["val.jsonl", "val.parquet"])
def test_columns_within_a_translation(name: str, tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    both = [{"en": a, "de": b} for a, b in zip(ENGLISH, GERMAN, strict=True)]
    table, path = pd.DataFrame({"translation": both}), tmp_path / "pets" / name
    if name.endswith(".parquet"):
        table.to_parquet(path)
    else:
        table.to_json(path, orient="records", lines=True)
    assert pairs(loaded(tmp_path).splits["validation"]) == PAIRS


def test_lists_and_numbered_columns_are_references(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "document": "one", "summary": ["a", "b"]},
        {"id": "2", "document": "two", "summary": "c", "summary2": "d", "summary_3": None},
        {"id": "3", "document": "three", "summary": "e", "summary2": "f", "summary_3": "g"},
    ]
    folder = written(tmp_path, val_jsonl=lines([json.dumps(row) for row in rows]))
    entry = {"pets": {"type": "sequence-to-sequence"}}  # with the usual names of columns
    found = load_data(load_spec("pets", entry), folder, splits=("validation",), optional=()).splits[
        "validation"
    ]
    assert [given for _, given in pairs(found)] == [("a", "b"), ("c", "d"), ("e", "f", "g")]
    assert found.row_ids == ["1", "2", "3"]


def test_references_may_all_have_a_number(tmp_path: Path) -> None:
    """The first by its number is learnt, wherever it stands; a row may lack some."""
    table = ["en,de_2,de10,de1", "one,b,c,a", "two,e,,d", "three,f,g,"]
    found = loaded(written(tmp_path, val_csv=lines(table))).splits["validation"]
    assert pairs(found) == [("one", ("a", "b", "c")), ("two", ("d", "e")), ("three", ("f", "g"))]


def test_files_of_references_may_all_have_a_number(tmp_path: Path) -> None:
    two = {f"val_de{number}": lines([f"{x}{number}" for x in GERMAN]) for number in (1, 2)}
    found = loaded(written(tmp_path, val_en=lines(ENGLISH), **two)).splits["validation"]
    assert [given for _, given in pairs(found)] == [(f"{x}1", f"{x}2") for x in GERMAN]


def test_targets_that_are_no_text_are_refused(tmp_path: Path) -> None:
    rows = [{"en": "one", "de": 1}, {"en": "two", "de": "zwei"}]
    folder = written(tmp_path, val_jsonl=lines([json.dumps(row) for row in rows]))
    with pytest.raises(KdnasError, match=r"line 1 has a target that is no .* \(a number; exp"):
        loaded(folder)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"labels": ["a", "b"]}, "sequence-to-sequence has no labels"),
        ({"metrics": ["rougel"]}, "metric 'rougel' does not fit"),
        ({"text": ["en", "fr"]}, "reads 1 text a row, not 2"),
        ({"format": "conll"}, "unknown format 'conll'"),
        ({"label": ["de", "fr"]}, "several label columns"),
    ],
)
def test_entries_that_do_not_fit(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(KdnasError, match=message):
        spec_of(**entry)


def test_texts_to_predict_come_from_a_file_of_sources(tmp_path: Path) -> None:
    folder = written(tmp_path, test_en=lines(ENGLISH), test_de=lines(GERMAN))
    kind = TASK_TYPES["sequence-to-sequence"]
    rows, total = read_file(folder / "pets" / "test.en", spec_of(), kind=kind)
    assert [row.text for row in rows] == ENGLISH and total == 4
    nested = tmp_path / "rows.jsonl"
    nested.write_text(lines([json.dumps({"translation": {"en": text}}) for text in ENGLISH]))
    rows, _ = read_file(nested, spec_of(), kind=kind)
    assert [row.text for row in rows] == ENGLISH


@pytest.mark.parametrize("target", ["", lines(GERMAN[:1])])
def test_texts_to_predict_need_no_targets(tmp_path: Path, target: str) -> None:
    """`kdnas predict --file new.en > new.de`: the shell has made new.de by then."""
    (tmp_path / "new.de").write_text(target, encoding="utf-8")
    (tmp_path / "new.en").write_text(lines(ENGLISH), encoding="utf-8")
    (tmp_path / "new.de.gz").write_bytes(b"")
    (tmp_path / "old.en.gz").write_bytes(gzip.compress(lines(ENGLISH).encode()))
    (tmp_path / "old.de").write_text(target, encoding="utf-8")
    for name in ("new.en", "old.en.gz"):
        kind = TASK_TYPES["sequence-to-sequence"]
        rows, total = read_file(tmp_path / name, spec_of(), kind=kind)
        assert [row.text for row in rows] == ENGLISH and total == 4


def test_the_built_in_tasks_read_the_official_files(shared_data: Path) -> None:
    folder = shared_data.parent
    if not (folder / "multi30k").is_dir() or not (folder / "dialogsum").is_dir():
        pytest.skip(f"no multi30k and dialogsum in {folder}")
    for name, sizes in (("multi30k", (1014, 1000)), ("dialogsum", (500, 500))):
        spec = load_spec(name)
        found = load_data(spec, folder, splits=("validation", "test"), optional=()).splits
        assert tuple(len(part) for part in found.values()) == sizes
    assert found["test"].labels is not None
    assert {len(references) for references in found["test"].labels} == {3}
