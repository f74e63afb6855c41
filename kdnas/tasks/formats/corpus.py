"""Unlabelled text to distil on: local files or a data set of the hub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from kdnas.errors import KdnasError
from kdnas.tasks.formats.hub import fetch
from kdnas.tasks.formats.json_lines import json_records
from kdnas.tasks.formats.parquet import read_parquet
from kdnas.tasks.formats.text import read_text, tell
from kdnas.tasks.spec import Hub

_PREFERRED = ("text", "sentence")
_ENDINGS = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")
_LOOKED_AT = 100


@dataclass(frozen=True)
class Corpus:
    """Texts, and how their files were read where that is not the usual way."""

    texts: list[str]
    assumed: tuple[str, ...] = ()


def load_corpus(source: str | Path, limit: int | None = None, seed: int = 0) -> list[str]:
    """The texts of `read_corpus`."""
    return read_corpus(source, limit, seed).texts


def read_corpus(source: str | Path, limit: int | None = None, seed: int = 0) -> Corpus:
    """The distinct texts of a corpus in their order, at most `limit` of them drawn at random.

    Args:
        source: A .txt(.gz) file with one text a line, a JSON-lines (.gz) or Parquet file, a folder
            of them, or a hub data set: `name` or `name:config` (its train split). Of several
            columns it takes `text`, else `sentence`, else the first that holds strings.
        limit: None for all.

    Raises:
        KdnasError: The source cannot be read, or holds no text.
    """
    if limit is not None and limit < 1:
        raise KdnasError(f"invalid corpus limit {limit}: expected 1 or more")
    path, assumed = Path(source).expanduser(), list[str]()
    if path.exists():
        texts: Iterable[Any] = _local_texts(path, assumed)
    elif str(source).lower().endswith(_ENDINGS) or str(source).startswith((".", "/", "~")):
        raise KdnasError(f"the corpus {source} does not exist")
    else:
        texts = _hub_texts(str(source))
    distinct = list(dict.fromkeys(t.strip() for t in texts if isinstance(t, str) and t.strip()))
    if not distinct:
        raise KdnasError(f"the corpus {source} holds no text")
    if limit is None or len(distinct) <= limit:
        return Corpus(distinct, tuple(assumed))
    chosen = np.random.default_rng(seed).choice(len(distinct), size=limit, replace=False)
    return Corpus([distinct[i] for i in np.sort(chosen)], tuple(assumed))


def _local_texts(path: Path, assumed: list[str]) -> Iterator[Any]:
    """The cells of texts of all files; what is assumed of a file is added to `assumed`."""
    files = [path] if path.is_file() else sorted(path.iterdir())
    files = [p for p in files if p.is_file() and p.name.lower().endswith(_ENDINGS)]
    if not files:
        raise KdnasError(
            f"the corpus {path} holds no readable file; give one with an ending of "
            f"{' '.join(_ENDINGS)}"
        )
    for file in files:
        if file.suffix.lower() == ".parquet":
            frame = read_parquet(file)
            first = {name: next(iter(frame[name].dropna()), None) for name in frame.columns}
            yield from frame[_text_column([first], file)].tolist()
            continue
        text = read_text(file)
        tell(str(file), text.assumed)
        assumed += [f"{file.name}: {line}" for line in text.assumed]
        if file.name.lower().removesuffix(".gz").endswith(".txt"):
            yield from text.content.split("\n")
        else:
            records = [record for _, record in json_records(file, text.content)]
            column = _text_column(records, file)
            yield from (record.get(column) for record in records)


def _hub_texts(source: str) -> Iterator[Any]:
    name, _, config = source.partition(":")
    hub = Hub(path=name, name=config or None)
    dataset = fetch(hub, "give a local file or folder as --corpus", "train")
    yield from dataset[_text_column(islice(dataset, _LOOKED_AT), source)]


def _text_column(rows: Iterable[dict[Any, Any]], source: str | Path) -> Any:
    """The name of the column that holds text."""
    found: dict[Any, bool] = {}
    for row in rows:
        for name, cell in row.items():
            found[name] = found.get(name, False) or isinstance(cell, str)
    strings = [name for name, is_text in found.items() if is_text]
    for name in (*_PREFERRED, *strings):
        if name in strings:
            return name
    raise KdnasError(
        f"the corpus {source} has no text column; found {', '.join(map(str, found)) or 'nothing'}"
    )
