"""A task's data, wherever they are: the one function that the rest of kdnas calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kdnas.config import nearest
from kdnas.errors import KdnasError
from kdnas.tasks.examples import Examples, RawSplit
from kdnas.tasks.formats.embedded import EmbeddedSource
from kdnas.tasks.formats.folder import find_folder, open_folder
from kdnas.tasks.formats.hub import HubSource
from kdnas.tasks.holdout import hold_out
from kdnas.tasks.labels import find_labels
from kdnas.tasks.malformed import to_examples
from kdnas.tasks.spec import TaskSpec


class Source(Protocol):
    """Where a task's splits come from: a folder, the hub, an installed package."""

    description: str

    def has(self, split: str) -> bool:
        """Whether the split is there."""

    def read(self, split: str) -> RawSplit:
        """The split's rows; KdnasError where it is not there or not right."""


@dataclass(frozen=True)
class TaskData:
    """A task with its data.

    Attributes:
        spec: The task, its labels known.
        splits: The examples by split name.
        source: Where they come from, in words.
        held_out: The validation split that was taken from the training data, if any was.
    """

    spec: TaskSpec
    splits: dict[str, Examples]
    source: str
    held_out: str | None = None


def load_data(
    spec: TaskSpec,
    data_dir: Path | None,
    *,
    splits: Sequence[str] | None = None,
    optional: Sequence[str] | None = None,
) -> TaskData:
    """The task's splits, read, checked, and their labels understood.

    Where there is training data and no validation split, a tenth of it is held out, stratified.

    Args:
        spec: The task.
        data_dir: The local folder; None for the hub, or the embedded data of an embedded task.
        splits: The splits that must be there; default: train and the evaluation splits.
        optional: Splits to read where they are there; default: the test splits.

    Raises:
        KdnasError: A split is missing or wrong; the message names the file, what was found and
            what would be right.
    """
    source = open_source(spec, data_dir)
    required = ("train", *spec.evaluation) if splits is None else tuple(splits)
    extra = spec.test_splits if optional is None else tuple(optional)
    for split in (*required, *extra):
        if split not in spec.splits:
            raise KdnasError(f"task {spec.name!r}: no split {split!r}{nearest(split, spec.splits)}")
    held_out = _held_out(spec, source)
    there = [split for split in extra if source.has(split) or split == held_out]
    wanted = [*required, *(split for split in there if split not in required)]
    names = set(wanted) - {held_out}
    if held_out in wanted or (spec.labels is None and not spec.is_regression):
        names.add("train")
    raw = {split: source.read(split) for split in spec.splits if split in names}
    known = find_labels(spec, raw["train"]) if "train" in raw else spec
    parts = {
        split: to_examples(rows, known, needs_labels=split not in spec.test_splits)
        for split, rows in raw.items()
    }
    if held_out and "train" in parts:
        parts["train"], parts[held_out] = hold_out(parts["train"])
    chosen = {split: parts[split] for split in wanted}
    return TaskData(known, chosen, source.description, held_out if held_out in chosen else None)


def open_source(spec: TaskSpec, data_dir: Path | None) -> Source:
    """Where the task's data are.

    Raises:
        KdnasError: The folder is not there, or no source is known.
    """
    if spec.embedded:  # a folder set for other tasks (KDNAS_DATA_DIR) must not hide it
        folder = None if data_dir is None else find_folder(spec, data_dir)
        return folder or EmbeddedSource(spec)
    if data_dir is not None:
        return open_folder(spec, data_dir)
    if spec.hub is None:
        raise KdnasError(f"task {spec.name!r} names no hub data set; give its folder: --data-dir")
    return HubSource(spec, spec.hub)


def _held_out(spec: TaskSpec, source: Source) -> str | None:
    """The validation split that must come out of the training data, if any."""
    only = spec.evaluation[0]
    if len(spec.evaluation) > 1 or source.has(only) or not source.has("train"):
        return None
    return only
