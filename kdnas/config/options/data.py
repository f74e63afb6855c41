"""The data a run reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from kdnas.config.options.base import MOST_ROWS, MOST_TOKENS, Options, setting


class DataOptions(Options):
    """The panel Data of --help."""

    panel: ClassVar[str] = "Data"

    data_dir: Path | None = setting(
        None,
        "Folder in the official GLUE layout, or "
        "<task>/{train,validation,test}.{csv,tsv,jsonl,parquet}; default: KDNAS_DATA_DIR, else "
        "the hub.",
        main=True,
        form="FOLDER",
    )
    skip_malformed: bool = setting(
        False,
        "Leave out malformed rows, however many; default: refuse any in a split of fewer than "
        "1,000 rows, and more than 1% in a larger one.",
    )
    corpus: str | None = setting(
        None,
        "Unlabelled text to distil on instead of the task's texts: a text, JSON-lines or Parquet "
        "file, a folder of them, or a hub data set (NAME or NAME:CONFIG).",
        main=True,
        form="FILE",
    )
    corpus_rows: int = setting(
        50_000, "Use at most this many texts of the corpus.", ge=1, le=MOST_ROWS
    )
    corpus_pairs: float | None = setting(
        None,
        "Share of the corpus read as pairs of similar texts; default: 0.5 for general stages, "
        "else 0.",
        ge=0,
        le=1,
    )
    max_train_rows: int | None = setting(
        None,
        "Use a stratified sample of at most this many training rows.",
        ge=1,
        le=MOST_ROWS,
        main=True,
    )
    max_eval_rows: int | None = setting(
        None,
        "Score on a stratified sample of at most this many rows of each evaluation split; default: "
        "all.",
        ge=1,
        le=MOST_ROWS,
    )
    max_length: int = setting(128, "Longest input, in tokens.", ge=8, le=MOST_TOKENS, main=True)
    label_all_pieces: bool = setting(
        False,
        "Token classification: train on all pieces of a word, not on its first one alone; scores "
        "and answers are of first pieces all the same.",
    )
    window_stride: int = setting(
        128,
        "Question answering: tokens that two windows on a long context share.",
        ge=0,
        le=MOST_TOKENS,
    )
    max_target_length: int = setting(
        128,
        "Sequence-to-sequence: longest target, in tokens.",
        ge=2,
        le=MOST_TOKENS,
    )
    source_prefix: str | None = setting(
        None,
        "Sequence-to-sequence: what is put before each source, such as 'translate English to "
        "German: ' for T5, or '' for nothing; default: the prefix in the teacher's config, if any.",
        form="TEXT",
        may_be_empty=True,
    )
    tasks: dict[str, dict[str, Any]] = setting({}, "Definitions of further tasks (YAML only).")
