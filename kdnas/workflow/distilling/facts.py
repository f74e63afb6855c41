"""What a report tells of a run's data: rows, classes, lengths, and where two models differ."""

from __future__ import annotations

from textwrap import shorten
from typing import Any

import numpy as np

from kdnas.recipes.run_data import RunData
from kdnas.report.model import DataFacts, Disagreement, Sample, SplitFacts
from kdnas.tasks import EncodedExamples, Examples, TaskSpec, TaskType
from kdnas.tasks.comparison import Scored
from kdnas.tasks.encode import uncut_lengths

# Characters of a text that are shown, and of a training text that a model card shows.
SHOWN, SHORT = 400, 200
SAMPLES_EACH = 3
LOOKED_AT = 1000


def data_facts(data: RunData) -> DataFacts:
    """Rows, classes and lengths of the splits that a run reads."""
    parts = {"train": (data.examples, data.train)}
    parts |= {split: (data.scored[split], data.evaluation[split]) for split in data.evaluation}
    if data.further is not None and data.further_texts is not None:
        parts["further texts"] = (data.further_texts, data.further)
    splits = {split: _split_facts(data, *part) for split, part in parts.items()}
    return DataFacts(
        length=data.length,
        splits=splits,
        proxy=len(data.proxy),
        assumed=list(data.assumed),
        stands_in=data.stands_in,
        texts=2 if data.examples.text_pair else 1,
        example=_example(data.examples),
    )


def _split_facts(data: RunData, examples: Examples, encoded: EncodedExamples) -> SplitFacts:
    spec, lengths = data.spec, uncut_lengths(examples, encoded, data.tokenizer, data.length)
    kind, ends = spec.task_type, None
    if encoded.labels is not None and len(encoded.labels):
        ends = kind.label_range(encoded.labels)
    return SplitFacts(
        rows=len(examples),
        classes=kind.label_counts(encoded, spec.labels or ()),
        label_range=ends,
        median_tokens=int(np.median(lengths)),
        longest_tokens=int(lengths.max()),
        cut=float((lengths > data.length).mean()),
    )


def _example(train: Examples) -> list[str]:
    """The training row of the usual length among the first ones that are short enough to show."""
    rows = [
        [" ".join(text.split()) for text in texts]
        for texts in zip(
            train.text[:LOOKED_AT], *([train.text_pair] if train.text_pair else []), strict=False
        )
    ]
    short = sorted((row for row in rows if all(row) and len(" ".join(row)) <= SHORT), key=_size)
    return short[len(short) // 2] if short else []


def _size(row: list[str]) -> int:
    return sum(map(len, row))


def disagreement(
    spec: TaskSpec, scored: dict[str, Examples], student: Scored, teacher: Scored
) -> Disagreement | None:
    """The rows of the first scored split on which two models differ.

    Args:
        spec: The task.
        scored: The texts by split.
        student: Predictions and labels by split, as `scores_and_intervals` gives them.
        teacher: The teacher's, of the same rows.

    Returns:
        None where the teacher has none, or answers are not one a text.
    """
    split, kind = spec.evaluation[0], spec.task_type
    examples = scored.get(split)
    if examples is None or examples.labels is None or split not in student or split not in teacher:
        return None
    truth, ours, theirs = (
        kind.as_rows(part) for part in (student[split]["truth"], *_answers(student, teacher, split))
    )
    rows = np.flatnonzero(kind.known(kind.truths(examples)))
    if not len(ours) == len(theirs) == len(truth) == len(rows):
        return None
    differ, labels = kind.differ(ours, theirs), spec.labels or ()
    if differ.ndim != 1:
        return None
    numbers = ours.ndim == 1 and np.issubdtype(ours.dtype, np.floating)

    def told(answer: Any, row: int) -> str:
        return shorten(kind.row_in_words(answer, labels, examples, row), SHOWN, placeholder=" ...")

    return Disagreement(
        rows=int(differ.sum()),
        of=len(rows),
        samples=[
            Sample(
                text=shorten(examples.text[rows[i]], SHOWN, placeholder=" ..."),
                text_pair=shorten(examples.text_pair[rows[i]], SHOWN, placeholder=" ...")
                if examples.text_pair
                else None,
                truth=told(truth[i], rows[i]),
                teacher=told(theirs[i], rows[i]),
                student=told(ours[i], rows[i]),
            )
            for i in _chosen(kind, truth, ours, theirs, differ, numbers=numbers)
        ],
    )


def _answers(student: Scored, teacher: Scored, split: str) -> tuple[Any, Any]:
    return student[split]["predicted"], teacher[split]["predicted"]


def _chosen(
    kind: TaskType, truth: Any, ours: Any, theirs: Any, differ: Any, *, numbers: bool
) -> list[int]:
    """A few rows of each kind: the teacher alone is right, the student alone, neither.

    Of numbers, those on which the two differ most.
    """
    if numbers:
        most = np.argsort(-np.abs(ours - theirs), kind="stable")
        return [int(i) for i in most[: 2 * SAMPLES_EACH] if differ[i]]
    wrong, theirs_wrong = kind.differ(ours, truth), kind.differ(theirs, truth)
    kinds = (~theirs_wrong, ~wrong, theirs_wrong & wrong)
    return [int(i) for kind in kinds for i in np.flatnonzero(kind & differ)[:SAMPLES_EACH]]
