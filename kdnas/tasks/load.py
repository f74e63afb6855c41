"""Reading a task's data: from a folder, the hub or an installed package to checked examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from kdnas.config import nearest
from kdnas.errors import KdnasError
from kdnas.runtime.console import say
from kdnas.runtime.formatting import several
from kdnas.tasks.examples import (
    BadLabel,
    Examples,
    Fault,
    Label,
    NoLabel,
    RawSplit,
    is_label,
    label_word,
    shown,
)
from kdnas.tasks.formats.embedded import EmbeddedSource
from kdnas.tasks.formats.folder import FolderSource, find_folder
from kdnas.tasks.formats.hub import HubSource
from kdnas.tasks.formats.text import tell
from kdnas.tasks.sampling import hold_out, stratified_sample
from kdnas.tasks.spec import TaskSpec

_TOLERATED_SHARE = 0.01
# Of three classes or more one with a smaller share of the training rows is rare.
_RARE_SHARE = 0.1
# Of a split with fewer rows no malformed one is left out unasked.
_MANY_ROWS = 1000
_FEW_ROWS = 10
_SHOWN, _LISTED = 5, 10
MARKED = "as its mark says"

Source = FolderSource | HubSource | EmbeddedSource


@dataclass(frozen=True)
class TaskData:
    """A task with its data."""

    spec: TaskSpec  # its labels known
    splits: dict[str, Examples]
    source: str  # where they come from, in words
    held_out: str | None = None  # the validation split taken from the training data
    assumed: tuple[str, ...] = ()  # how files were read where that is not the usual way
    # Texts that are no rows of it, of which a black-box teacher's file says something.
    further: Examples | None = None


def load_data(
    spec: TaskSpec,
    data_dir: Path | None,
    *,
    splits: Sequence[str] | None = None,
    optional: Sequence[str] | None = None,
    skip_malformed: bool = False,
    most_scored: int | None = None,
) -> TaskData:
    """The task's splits, read, checked, and their labels understood.

    Where there is training data and no validation split, a tenth of it is held out, stratified.

    Args:
        data_dir: The local folder; None for the hub, or the embedded data of an embedded task.
        splits: The splits that must be there; default: train and the evaluation splits.
        optional: Splits to read where they are there; default: the test splits.
        skip_malformed: Leave out malformed rows, however many, as a task's own key of this name.
        most_scored: Rows of each evaluation split, at most; default: all.

    Raises:
        KdnasError: A split is missing or damaged; the message names the file, what was found and
            what to give instead.
    """
    source = open_source(spec, data_dir)
    wanted, held_out = _wanted(spec, source, splits, optional)
    names = set(wanted) - {held_out}
    if held_out in wanted or spec.lacks_classes or (_may_have_rare(spec) and source.has("train")):
        names.add("train")
    skip = skip_malformed or spec.skip_malformed
    raw = _read(source, spec, names, skip)
    found = spec.lacks_classes
    if found:
        plain = spec.task_type.with_plain_labels(raw["train"], ())
        spec = _with_classes(spec, plain, skip)
    as_read = raw.get("train") or _settling_train(source, spec, raw)
    raw = {
        split: _plain_labels(replace(rows, ids=not found, train=as_read), spec)
        for split, rows in raw.items()
    }
    if "train" in raw and _may_have_rare(spec):
        spec = _with_metric_of_rare(spec, raw["train"])
    parts = {
        split: _examples(rows, spec, skip, needs_labels=split not in spec.test_splits)
        for split, rows in raw.items()
        if split in wanted or held_out in wanted
    }
    for split, part in parts.items():
        if split not in spec.test_splits:
            _tell_classes(split, raw[split].source, part, spec)
    if held_out and "train" in parts:
        parts["train"], parts[held_out] = hold_out(parts["train"])
        if spec.task_type.answers_by_id and held_out in wanted:
            _check_ids(raw["train"], parts[held_out].row_ids)
    chosen = {split: parts[split] for split in wanted}
    of_train = held_out if held_out in chosen else None
    if of_train and isinstance(source, FolderSource) and (unread := source.unread(of_train)):
        say(f"{source.description}: {unread}")
    data = TaskData(spec, chosen, source.description, of_train, _assumed(raw, chosen, of_train))
    return fewer_scored(data, most_scored)


def _read(source: Source, spec: TaskSpec, names: Set[str], skip: bool) -> dict[str, RawSplit]:
    """The splits of these names, their rows checked.

    Raises:
        KdnasError: Rows are malformed, and not to be skipped, or have the same id.
    """
    raw = {split: source.read(split) for split in spec.splits if split in names}
    for split, rows in raw.items():
        # Before anything is said of labels, which may be few because the texts are.
        _check_rows(rows, spec, skip, needs_labels=split not in spec.test_splits)
        if spec.task_type.answers_by_id and split != "train":
            _check_ids(rows)
    return raw


def _settling_train(source: Source, spec: TaskSpec, raw: Mapping[str, RawSplit]) -> RawSplit | None:
    """The training rows as read, where they settle how labels of these splits are to be read."""
    kind, labels = spec.task_type, spec.labels or ()
    if source.has("train") and any(kind.asks_train(rows, labels) for rows in raw.values()):
        with suppress(KdnasError):  # nothing else is asked of them
            return source.read("train")
    return None


def _assumed(
    raw: Mapping[str, RawSplit], chosen: Container[str], held_out: str | None
) -> tuple[str, ...]:
    """How the files of the chosen splits were read where that is not the usual way.

    `held_out` is the split that was taken from the training rows, if one was.
    """
    found = tuple(
        f"{Path(rows.source).name}: {'; '.join(rows.assumed)}"
        for split, rows in raw.items()
        if rows.assumed and (split in chosen or held_out)
    )
    if held_out is None:
        return found
    return (*found, f"no {held_out} file: a tenth of the training rows, held out, stands in")


def fewer_scored(data: TaskData, most: int | None) -> TaskData:
    """The data with at most so many rows of each evaluation split; with all for None."""
    parts = {
        split: _at_most(most, split, part) if split in data.spec.evaluation else part
        for split, part in data.splits.items()
    }
    return replace(data, splits=parts)


def _wanted(
    spec: TaskSpec, source: Source, splits: Sequence[str] | None, optional: Sequence[str] | None
) -> tuple[list[str], str | None]:
    """The splits to read, and which of a task's is held out of its training data, if any."""
    required = ("train", *spec.evaluation) if splits is None else tuple(splits)
    extra = spec.test_splits if optional is None else tuple(optional)
    for split in (*required, *extra):
        if split not in spec.splits:
            raise KdnasError(f"task {spec.name!r}: no split {split!r}{nearest(split, spec.splits)}")
    only, held_out = spec.evaluation[0], None
    if len(spec.evaluation) == 1 and not source.has(only) and source.has("train"):
        held_out = only
    there = (split for split in extra if source.has(split) or split == held_out)
    return list(dict.fromkeys([*required, *there])), held_out


def _at_most(count: int | None, split: str, rows: Examples) -> Examples:
    """Rows of an evaluation split, the same ones for every seed."""
    if count is None or count >= len(rows):
        return rows
    say(f"scores are of {count:,} of the {len(rows):,} rows of {split} (--max-eval-rows)")
    return rows.take(stratified_sample(rows, count, 0))


def _check_ids(rows: RawSplit, scored: Sequence[str] | None = None) -> None:
    """Refuses an id that stands twice: a predictions file would hold one answer to both.

    `scored` are the ids of the rows that are answered; default: all of them.
    """
    twice = Counter(rows.row_ids if scored is None else scored)
    seen: dict[str, int] = {}
    for one, place in zip(rows.row_ids or (), rows.places, strict=False):
        if one and twice[one] > 1 and seen.setdefault(one, place) != place:
            raise KdnasError(
                f"{rows.source}: {rows.unit}s {seen[one]} and {place} have the same id "
                f"{shown(one)!r}; give each its own"
            )


def _plain_labels(rows: RawSplit, spec: TaskSpec) -> RawSplit:
    """A split with plain label cells; says how it was read."""
    plain = spec.task_type.with_plain_labels(rows, spec.labels or ())
    tell(plain.source, plain.assumed)
    return plain


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


def _with_classes(spec: TaskSpec, train: RawSplit, skip: bool) -> TaskSpec:
    """The task with its class names, and the rarer of two, from the training data."""
    kind = spec.task_type
    words = kind.label_cells(train)
    _check_left_out(*_with_unlabelled(train, words, spec), skip, tell=False)
    labels, positive = kind.find_classes(train), spec.positive
    counts = _class_counts(spec, train, labels) if len(labels) == 2 else None
    of_class = any(metric.of_class for metric in kind.metrics.values())
    if positive is None and counts is not None and of_class:
        positive = labels[0 if counts[0] < counts[1] else 1]
    try:
        return spec.changed(labels=labels, positive=positive)
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise KdnasError(
            f"{train.source} has the labels {_listed(sorted(map(shown, labels)))}; "
            f"task {spec.name!r}: {problem}"
        ) from None


def _may_have_rare(spec: TaskSpec) -> bool:
    """Whether the training rows may choose another main metric."""
    few = spec.labels is not None and len(spec.labels) < 3
    return not (few or spec.names_metrics) and spec.metrics[0] in spec.task_type.metric_of_rare


def _with_metric_of_rare(spec: TaskSpec, train: RawSplit) -> TaskSpec:
    """The task with another main metric where one of its classes has few of the training rows.

    Accuracy hardly falls for a model that never answers such a class.
    """
    metric, labels = spec.task_type.metric_of_rare[spec.metrics[0]], spec.labels or ()
    counts = _class_counts(spec, train, labels)
    if counts is None or not counts.sum():
        return spec
    least, share = int(counts.argmin()), float(counts.min() / counts.sum())
    if share >= _RARE_SHARE:
        return spec
    say(
        f"{train.source}: {shown(labels[least])!r} is {share:.1%} of the rows, so {metric} is the "
        f"main score; `metrics:` in the task sets another"
    )
    return spec.changed(metrics=(metric, *spec.metrics))


def _class_counts(
    spec: TaskSpec, train: RawSplit, labels: Sequence[str]
) -> NDArray[np.int64] | None:
    """Training rows of each class; None where a row has no single one."""
    kind = spec.task_type
    values = [v for v in kind.parse_labels(train, labels) if is_label(v)]
    return kind.class_counts(kind.label_array(values), len(labels))


def _examples(raw: RawSplit, spec: TaskSpec, skip: bool, needs_labels: bool) -> Examples:
    """The split without its unlabelled rows; a test split stays whole, labelled or not."""
    kind = spec.task_type
    values = kind.parse_labels(raw, spec.labels or ())
    labelled = [i for i, value in enumerate(values) if is_label(value)]
    for note in kind.label_notes(raw, values):
        say(f"{raw.source}: {note}")
    if not needs_labels:
        labels = None
        if values and len(labelled) == len(values):
            labels = kind.label_array(values)
        _check_left_out(raw, raw.faults, len(values), skip)
        dropped = sum(fault.count for fault in raw.faults)
        return replace(_unlabelled(raw, spec), labels=labels, dropped=dropped)
    _, faults, _ = found = _with_unlabelled(raw, values, spec)
    _check_left_out(*found, skip)
    if kind.has_classes:
        _tell_spellings(raw, values, spec.labels or ())
    pairs = zip(raw.row_ids or (), values, strict=False)
    without = {name for name, value in pairs if name and not is_label(value)}
    return replace(
        _unlabelled(raw, spec).take(labelled),
        labels=kind.label_array([values[i] for i in labelled]),
        dropped=sum(fault.count for fault in faults),
        left_out=raw.left_out | without,
    )


def _unlabelled(raw: RawSplit, spec: TaskSpec) -> Examples:
    """The texts of a split."""
    texts = {"text": raw.text, "text_pair": raw.text_pair, "words": raw.words}
    own = {"groups": raw.groups, "row_ids": raw.row_ids, "left_out": raw.left_out}
    named = {"task_type": spec.type, "classes": tuple(spec.labels or ())}
    return Examples(**texts, **own, **named)  # type: ignore[arg-type]


def _with_unlabelled(
    raw: RawSplit, values: Sequence[object], spec: TaskSpec
) -> tuple[RawSplit, list[Fault], int]:
    """The split, all faults of its rows with those of its labels, and how many rows are sound."""
    under = f"no label under {spec.label_words}"
    faults = list(raw.faults)
    for why, reason in ((NoLabel.MISSING, under), (NoLabel.UNLABELLED, f"{under}, {MARKED}")):
        rows = [place for place, value in zip(raw.places, values, strict=True) if value is why]
        if rows:
            faults.append(Fault(reason, len(rows), rows[0]))
    bad: dict[str, list[tuple[int, str]]] = {}
    for place, value in zip(raw.places, values, strict=True):
        if isinstance(value, BadLabel):
            bad.setdefault(value.reason, []).append((place, value.example))
    faults += (Fault(reason, len(found), *found[0]) for reason, found in bad.items())
    return raw, faults, sum(map(is_label, values))


def _check_rows(raw: RawSplit, spec: TaskSpec, skip: bool, *, needs_labels: bool) -> None:
    """Refuses a split whose rows are malformed; of those without a label, it says that, too.

    Raises:
        KdnasError: As `_check_left_out`.
    """
    found: tuple[RawSplit, Sequence[Fault], int] = raw, raw.faults, len(raw.text)
    if raw.faults and needs_labels and raw.cells is not None:
        kind = spec.task_type
        with suppress(KdnasError):  # what is wrong with labels as a whole is said later
            plain = kind.with_plain_labels(raw, spec.labels or ())
            found = _with_unlabelled(plain, kind.label_cells(plain), spec)
    _check_left_out(*found, skip, tell=False)


def _check_left_out(
    raw: RawSplit, faults: Sequence[Fault], kept: int, skip: bool, *, tell: bool = True
) -> None:
    """Says how many rows are left out and why.

    Args:
        kept: The other rows.
        skip: Whether any number may be left out.
        tell: Whether to say it where it is allowed.

    Raises:
        KdnasError: None is kept; or more than one in a hundred is left out, or, of a split with
            fewer than 1,000 rows, one that is not marked as unlabelled.
    """
    dropped = sum(fault.count for fault in faults)
    marked = sum(fault.count for fault in faults if fault.reason.endswith(MARKED))
    total = kept + dropped
    if not dropped:
        return
    causes = "; ".join(_cause(fault, raw.unit) for fault in faults)
    if not kept:
        raise KdnasError(f"{raw.source}: none of {several(total, raw.unit)} can be used: {causes}")
    few = dropped <= _TOLERATED_SHARE * total and (total >= _MANY_ROWS or dropped == marked)
    if not (few or skip):
        raise KdnasError(
            f"{raw.source}: {dropped} of {several(total, raw.unit)} cannot be used: {causes}; "
            "repair them, or leave them out with --skip-malformed"
        )
    if tell:
        say(f"{raw.source}: left out {dropped} of {several(total, raw.unit)}: {causes}")


def _cause(fault: Fault, unit: str) -> str:
    if fault.count == 1:
        more = fault.example and f" ({fault.example})"
        return f"{unit} {fault.first} has {fault.reason}{more}"
    first = f"{unit} {fault.first}{fault.example and f', {fault.example}'}"
    return f"{several(fault.count, unit)} have {fault.reason} (the first: {first})"


def _tell_spellings(raw: RawSplit, values: Sequence[Label], labels: Sequence[str]) -> None:
    """Says which cells that differ were read as the same class."""
    spellings: dict[int, set[str]] = {}
    for cell, value in zip(raw.cells or (), values, strict=False):
        if isinstance(value, int):
            word = cell if isinstance(cell, str) else label_word(cell)
            spellings.setdefault(value, set()).add(word)
    merged = [
        f"{' and '.join(repr(word[:40]) for word in sorted(words)[:_SHOWN])} as "
        f"{shown(labels[value])!r}"
        for value, words in spellings.items()
        if len(words) > 1 and 0 <= value < len(labels)
    ]
    if merged:
        say(f"{raw.source}: labels read as one class: {'; '.join(merged[:_SHOWN])}")


def _tell_classes(split: str, source: str, part: Examples, spec: TaskSpec) -> None:
    """Says which classes of a split have few rows, or, of one that is scored, none.

    Raises:
        KdnasError: All training rows have the same label.
    """
    kind, labels = spec.task_type, spec.labels or ()
    if part.labels is None or part.labels.dtype == object:
        return
    if split == "train" and len(np.unique(part.labels, axis=0)) < 2:
        one = shown(kind.in_words(part.labels[0], labels))
        raise KdnasError(
            f"{source}: all {several(len(part), 'row')} have the label {one!r}; {kind.name} needs "
            "two or more"
        )
    counts = kind.class_counts(part.labels, len(labels))
    if counts is None:
        return
    least = _FEW_ROWS if split == "train" else 1
    rare = [
        f"{shown(name)} ({count})"
        for name, count in zip(labels, counts, strict=True)
        if count < least
    ]
    if rare and split == "train":
        say(f"{source}: classes with fewer than {_FEW_ROWS} rows: {_listed(rare)}")
    elif rare:
        say(f"{source}: classes without a row: {_listed(rare)}; scores say nothing of them")


def _listed(words: Sequence[str]) -> str:
    more = len(words) - _LISTED
    return ", ".join(words[:_LISTED]) + (f" and {more} more" if more > 0 else "")
