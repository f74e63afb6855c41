"""Reading a task's data: from a folder, the hub or an installed package to checked examples."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from kdnas.config import nearest
from kdnas.errors import KdnasError
from kdnas.tasks.examples import Examples, NoLabel, RawSplit
from kdnas.tasks.formats.embedded import EmbeddedSource
from kdnas.tasks.formats.folder import FolderSource, find_folder
from kdnas.tasks.formats.hub import HubSource
from kdnas.tasks.sampling import hold_out
from kdnas.tasks.spec import TaskSpec

_LOG = logging.getLogger(__name__)
_TOLERATED_ROWS = 10
_TOLERATED_SHARE = 0.01


Source = FolderSource | HubSource | EmbeddedSource


@dataclass(frozen=True)
class TaskData:
    """A task with its data."""

    spec: TaskSpec  # its labels known
    splits: dict[str, Examples]
    source: str  # where they come from, in words
    held_out: str | None = None  # the validation split taken from the training data


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
    only, held_out = spec.evaluation[0], None
    if len(spec.evaluation) == 1 and not source.has(only) and source.has("train"):
        held_out = only
    there = (split for split in extra if source.has(split) or split == held_out)
    wanted = list(dict.fromkeys([*required, *there]))
    names = set(wanted) - {held_out}
    if held_out in wanted or spec.lacks_classes:
        names.add("train")
    raw = {split: source.read(split) for split in spec.splits if split in names}
    if spec.lacks_classes:
        spec = _with_classes(spec, raw["train"])
    parts = {
        split: _examples(rows, spec, needs_labels=split not in spec.test_splits)
        for split, rows in raw.items()
    }
    if held_out and "train" in parts:
        parts["train"], parts[held_out] = hold_out(parts["train"])
    chosen = {split: parts[split] for split in wanted}
    return TaskData(spec, chosen, source.description, held_out if held_out in chosen else None)


def open_source(spec: TaskSpec, data_dir: Path | None) -> Source:
    """Where the task's data are; KdnasError without a folder for it, or any source."""
    if data_dir is not None and (folder := find_folder(spec, data_dir)):
        return folder
    if spec.embedded:  # also under a KDNAS_DATA_DIR for other tasks
        return EmbeddedSource(spec)
    if spec.hub is None:
        raise KdnasError(
            f"task {spec.name!r} names no hub data set; give its folder with --data-dir"
        )
    return HubSource(spec, spec.hub)


def _with_classes(spec: TaskSpec, train: RawSplit) -> TaskSpec:
    """The task with its class names, from the training data."""
    labels = spec.task_type.find_classes(train)
    try:
        return TaskSpec.model_validate({**spec.model_dump(), "labels": labels})
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise KdnasError(
            f"{train.source} has the labels {', '.join(sorted(labels))}; "
            f"task {spec.name!r}: {problem}"
        ) from None


def _examples(raw: RawSplit, spec: TaskSpec, needs_labels: bool) -> Examples:
    """The split without its unlabelled rows, or whole where it has and needs no label."""
    kind = spec.task_type
    values = kind.parse_labels(raw, spec.labels or ())
    labelled = [i for i, value in enumerate(values) if not isinstance(value, NoLabel)]
    every = Examples(raw.text, raw.text_pair, None, raw.dropped, spec.type)
    if not labelled and not needs_labels:
        _check_dropped(raw, len(values), raw.dropped, raw.first_dropped)
        return every
    missing = [i for i, value in enumerate(values) if value is NoLabel.MISSING]
    first = raw.first_dropped
    if missing and not first:
        first = f"{raw.unit} {raw.places[missing[0]]} has no label"
    _check_dropped(raw, len(values) - len(missing), raw.dropped + len(missing), first)
    if not labelled:
        raise KdnasError(f"{raw.source}: no {raw.unit} has a label under {spec.label.name!r}")
    return replace(
        every.take(labelled),
        labels=np.array([values[i] for i in labelled], dtype=kind.label_dtype),
        dropped=raw.dropped + len(values) - len(labelled),
    )


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
