"""A black-box teacher's predictions: a file's rows, matched with a task's examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdnas.errors import KdnasError
from kdnas.runtime.console import say
from kdnas.runtime.formatting import several
from kdnas.tasks.characters import Characters
from kdnas.tasks.examples import Examples, Key, keys_of, shown
from kdnas.tasks.formats.predictions import PredictedRow, open_predictions, predicted_rows
from kdnas.tasks.formats.text import tell
from kdnas.tasks.load import TaskData
from kdnas.tasks.predicted import PredictionError
from kdnas.tasks.spec import TaskSpec

# Of training rows without a prediction that the labels of may stand in for it unasked.
TOLERATED_SHARE = 0.01
# A split and a row of it.
Place = tuple[str, int]


def with_predictions(data: TaskData, path: Path, *, labels_stand_in: bool = False) -> TaskData:
    """A task's data with a black-box teacher's predictions, and with the file's further texts.

    Rows are matched by their texts, spaces aside, or where a row of the file has none by the ids
    that the task names. Characters are those of the text in the file. Of rows of the task that have
    one text in different words, a row of the file is for those that it fits. The splits that the
    task is scored on keep predictions if all their rows have one.

    Args:
        data: As `load_data` gives it.
        path: A .jsonl or .json file, also gzipped, or a .parquet file.
        labels_stand_in: Let the label of a training row without a prediction stand in for it,
            however many there are; default: of at most 1% of them.

    Raises:
        KdnasError: The file cannot be read, a row of it is no prediction or fits no row of the
            task, rows contradict each other, or training rows lack a prediction.
    """
    spec, splits = data.spec, data.splits
    if not spec.task_type.prediction_columns:
        raise KdnasError(
            f"--teacher-predictions: tasks of the type {spec.type} take none; give --teacher"
        )
    table = open_predictions(path)
    tell(table.source, table.assumed)
    places, ids = _by_text(splits), _by_id(splits)
    found: dict[Place, tuple[Any, str]] = {}
    further: dict[Key, PredictedRow] = {}
    said: dict[Key, tuple[Any, str]] = {}
    passed_over = 0
    for line in predicted_rows(table, spec):
        targets = places.get(line.key, []) if line.key else _named(line, ids, data)
        if targets:
            for target, value in _fitting(line, targets, spec, splits):
                _keep(found, target, value, line, spec)
        elif not line.key:
            passed_over += 1
        else:
            try:
                value = _value(line, spec, _examples([line], spec), 0)
            except PredictionError as error:
                raise KdnasError(f"{line.where}: {error}") from None
            _keep(said, line.key, value, line, spec)
            further.setdefault(line.key, line)
    parts = {split: _with(split, part, spec, found, path) for split, part in splits.items()}
    if "train" in splits:
        parts["train"] = _train(splits["train"], spec, found, path, labels_stand_in)
    others, barred = _further(further, said, spec, splits)
    _tell(path, parts, found, len(others), barred)
    if passed_over:
        rows = several(f"{passed_over:,}", "row")
        say(f"{path}: passed over {rows} with ids of rows that the task leaves out")
    assumed = (*data.assumed, *(f"{path.name}: {one}" for one in table.assumed))
    return replace(data, splits=parts, further=others if len(others) else None, assumed=assumed)


def _by_text(splits: Mapping[str, Examples]) -> dict[Key, list[Place]]:
    found: dict[Key, list[Place]] = {}
    for split, examples in splits.items():
        for row, key in enumerate(keys_of(examples)):
            found.setdefault(key, []).append((split, row))
    return found


def _by_id(splits: Mapping[str, Examples]) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = {}
    for split, examples in splits.items():
        for row, name in enumerate(examples.row_ids or ()):
            found.setdefault(name, []).append((split, row))
    return found


def _named(line: PredictedRow, ids: Mapping[str, list[Place]], data: TaskData) -> list[Place]:
    """The row of an id, none where the task leaves it out; KdnasError where it names no row or two.

    Rows that were held out of the training file are also rows of train.
    """
    splits = data.splits
    if not ids:
        raise KdnasError(
            f"{line.where}: has an id and no text, but the task names no ids; give the text, or "
            "set `id:` in the task"
        )
    if line.split and line.split not in splits:
        known = ", ".join(splits)
        raise KdnasError(f"{line.where}: unknown split {shown(line.split)!r}; give one of {known}")
    meant = {line.split} if line.split else set(splits)
    if line.split == "train" and data.held_out:
        meant.add(data.held_out)
    found = [place for place in ids.get(line.id, ()) if place[0] in meant]
    if not found and any(line.id in splits[split].left_out for split in meant & splits.keys()):
        return []
    if not found:
        of = f"the {line.split} split" if line.split else "the task"
        raise KdnasError(
            f"{line.where}: no row of {of} has the id {shown(line.id)!r}; give an id of the task, "
            "or the text"
        )
    if len(found) > 1:
        among = " and ".join(dict.fromkeys(split for split, _ in found))
        raise KdnasError(
            f"{line.where}: the id {shown(line.id)!r} names several rows of {among}; give the "
            "text, or the split under 'split'"
        )
    return found


def _fitting(
    line: PredictedRow,
    targets: Sequence[Place],
    spec: TaskSpec,
    splits: Mapping[str, Examples],
) -> list[tuple[Place, Any]]:
    """What a row of the file says of each row of the task; KdnasError where it fits none.

    Rows of one text may have it in different words.
    """
    found, problems = list[tuple[Place, Any]](), list[PredictionError]()
    for split, row in targets:
        try:
            value = _moved_value(line, spec, splits[split], row)
        except PredictionError as error:
            problems.append(error)
        else:
            found.append(((split, row), value))
    if not found:
        raise KdnasError(f"{line.where}: {problems[0]}")
    return found


def _moved_value(line: PredictedRow, spec: TaskSpec, examples: Examples, row: int) -> Any:
    """What a row of the file says of a row of the task, which may have other spaces.

    Its characters are counted in its own text, with the words of the task's.
    """
    own = examples.take([row])
    there = _examples([line], spec) if line.key else own
    if (there.text, there.text_pair) == (own.text, own.text_pair):
        return _value(line, spec, own, 0)
    if own.words is not None:
        back = Characters(own.text[0], there.text[0])
        there = replace(there, words=[back.spans(own.words[0])])
    return spec.task_type.moved_prediction(_value(line, spec, there, 0), there, own)


def _value(line: PredictedRow, spec: TaskSpec, examples: Examples, row: int) -> Any:
    """PredictionError where it is none of the task."""
    return spec.task_type.read_prediction(line.cells, spec.labels or (), examples, row)


def _keep(
    found: dict[Any, tuple[Any, str]], at: Any, value: Any, line: PredictedRow, spec: TaskSpec
) -> None:
    """Keeps a prediction; KdnasError where another row says something else of the same text."""
    before = found.setdefault(at, (value, line.where))
    if before[0] is not value and not spec.task_type.same_prediction(before[0], value):
        place = before[1].rpartition(", ")[2]
        raise KdnasError(f"{line.where}: says something else of a row than {place}; leave one out")


def _examples(lines: Sequence[PredictedRow], spec: TaskSpec) -> Examples:
    """The texts of some rows of the file, as those of the task."""
    kind = spec.task_type
    read = [[kind.read_text(cell) for cell in line.texts] for line in lines]
    words = [spans for row in read if (spans := row[0][1]) is not None]
    return Examples(
        [row[0][0] for row in read],
        [row[1][0] for row in read] if len(spec.text) > 1 else None,
        task_type=spec.type,
        words=words if len(words) == len(lines) and words else None,
        classes=tuple(spec.labels or ()),
    )


def _with(
    split: str,
    examples: Examples,
    spec: TaskSpec,
    found: Mapping[Place, tuple[Any, str]],
    path: Path,
) -> Examples:
    """A split that is scored with its predictions, where all its rows have one."""
    values = [found.get((split, row)) for row in range(len(examples))]
    there = [value[0] for value in values if value is not None]
    if split in spec.evaluation and 0 < len(there) < len(examples):
        say(
            f"{path}: has predictions for {len(there):,} of {several(f'{len(examples):,}', 'row')} "
            f"of {split}; the teacher has scores there if it has all"
        )
    whole = len(there) == len(examples) and split in spec.evaluation
    return replace(examples, predictions=there) if whole else examples


def _train(
    train: Examples,
    spec: TaskSpec,
    found: Mapping[Place, tuple[Any, str]],
    path: Path,
    labels_stand_in: bool,
) -> Examples:
    """The training rows with a prediction each; a label may stand in."""
    kind, labels = spec.task_type, spec.labels or ()
    missing = [row for row in range(len(train)) if ("train", row) not in found]
    if missing:
        text = shown(train.text[missing[0]])
        told = (
            f"{path} has no prediction for {len(missing):,} of "
            f"{several(f'{len(train):,}', 'training row')}, the first {text!r}"
        )
        if not labels_stand_in and len(missing) > TOLERATED_SHARE * len(train):
            raise KdnasError(
                f"{told}; add them, or let their labels stand in with --labels-stand-in"
            )
        say(f"{told}; their labels stand in")
    assert train.labels is not None
    values = [
        found["train", row][0]
        if ("train", row) in found
        else kind.prediction_of(train.labels[row], labels)
        for row in range(len(train))
    ]
    return replace(train, predictions=values)


def _further(
    lines: Mapping[Key, PredictedRow],
    said: Mapping[Key, tuple[Any, str]],
    spec: TaskSpec,
    splits: Mapping[str, Examples],
) -> tuple[Examples, int]:
    """The texts that are none of the task's rows, with what the file says of them.

    Those that share a text with rows that are scored or held out are left out, unless training rows
    have that text, too.

    Returns:
        The texts, and how many were left out.
    """
    held = {
        text
        for split, examples in splits.items()
        if split != "train"
        for key in keys_of(examples)
        for text in key
    }
    if "train" in splits:
        held -= {text for key in keys_of(splits["train"]) for text in key}
    kept = [key for key in lines if not held.intersection(key)]
    found = _examples([lines[key] for key in kept], spec)
    return replace(found, predictions=[said[key][0] for key in kept]), len(lines) - len(kept)


def _tell(
    path: Path,
    parts: Mapping[str, Examples],
    found: Mapping[Place, tuple[Any, str]],
    further: int,
    barred: int,
) -> None:
    told = []
    for split, examples in parts.items():
        count = sum((split, row) in found for row in range(len(examples)))
        told += [f"{count:,} of {len(examples):,} rows of {split}"] if count else []
    told += [several(f"{further:,}", "further text")] if further else []
    say(f"{path}: predictions for {', '.join(told) or 'no row'}")
    if barred:
        say(
            f"{path}: left out {several(f'{barred:,}', 'further row')} with a text of held-out rows"
        )
