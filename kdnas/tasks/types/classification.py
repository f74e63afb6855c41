"""Classification: each example, one text or two, has one of several classes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from kdnas.errors import KdnasError
from kdnas.tasks.encode import Units
from kdnas.tasks.examples import WHOLE, Label, NoLabel, RawSplit, label_word
from kdnas.tasks.types.base import Array, Metric, Submission, TaskType, correlation, ratio

_DECIMAL = re.compile(r"[+-]?\d*[.,]\d+")
_BOOLEANS = {"false": 0, "true": 1}
_MANY = 20


def _accuracy(predicted: Array, labels: Array, axis: int = -1) -> Array:
    return np.asarray((predicted == labels).mean(axis))


def _f1(predicted: Array, labels: Array, axis: int = -1, positive: int = 1) -> Array:
    """Of one class; 0 where neither side has it."""
    p, t = predicted == positive, labels == positive
    return ratio(2.0 * (p & t).sum(axis), p.sum(axis) + t.sum(axis))


def _f1_macro(predicted: Array, labels: Array, axis: int = -1) -> Array:
    """The mean over classes that occur."""
    classes = np.union1d(predicted, labels)
    each = np.stack([_f1(predicted, labels, axis, k) for k in classes])
    there = np.stack([((predicted == k) | (labels == k)).any(axis) for k in classes])
    return ratio(each.sum(0), there.sum(0))


def _mcc(predicted: Array, labels: Array, axis: int = -1) -> Array:
    """Gorodkin 2004: the correlation of both sides' indicators of all classes."""
    classes = np.union1d(predicted, labels)
    x, y = (np.stack([side == k for k in classes]) for side in (predicted, labels))
    return correlation(x, y, axis)


class Classification(TaskType):
    """One of several classes for each example; labels are int64 class ids."""

    name = "classification"
    auto_class = AutoModelForSequenceClassification
    head = "ForSequenceClassification"
    problem_type = "single_label_classification"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "accuracy": Metric(_accuracy, "accuracy", "Accuracy"),
        "f1": Metric(_f1, "f1", "F1"),  # of class 1
        "f1_macro": Metric(_f1_macro, "f1", "F1 (macro)"),
        "mcc": Metric(_mcc, "matthews_correlation", "Matthews correlation"),
    }
    default_metrics = ("accuracy",)
    pipeline_tag = "text-classification"
    hub_name = "Text Classification"

    def entry_problems(self, labels: Sequence[str] | None, metrics: Sequence[str]) -> Iterator[str]:
        if "f1" in metrics and labels is not None and len(labels) != 2:
            yield f"metric 'f1' is for two classes, not {len(labels)}; use f1_macro"

    def find_classes(self, raw: RawSplit) -> tuple[str, ...]:
        """The different label cells.

        A hub data set says the order of its classes. Elsewhere numbers are sorted by value, words
        alphabetically; -1 counts as a class.

        Raises:
            KdnasError: The labels look like scores, or there are fewer than two.
        """
        cells = raw.cells or []
        words = {label_word(cell) for cell in cells} - {"", "-"}
        names = list({word.casefold(): word for word in sorted(words, reverse=True)}.values())
        decimals = [name for name in names if _DECIMAL.fullmatch(name)]
        if decimals or (len(names) > _MANY and 2 * len(names) > len(cells)):
            raise KdnasError(
                f"{raw.source}: found {len(names)} different labels in {len(cells)} rows, such as "
                f"{(decimals or names)[0]!r}; set `type: regression` if they are scores, else list "
                "the labels in the task's entry"
            )
        if len(names) < 2:
            found = f"only the label {names[0]!r}" if names else "no label"
            raise KdnasError(f"{raw.source}: found {found}; classification needs two or more")
        known = [label_word(name) for name in raw.classes]
        if {word.casefold() for word in known} >= {word.casefold() for word in names}:
            return tuple(known)
        numbers = all(map(WHOLE.fullmatch, names))
        return tuple(sorted(names, key=int if numbers else str.casefold))

    def parser(self, labels: Sequence[str]) -> Callable[[str], Label | None]:
        """Class names, letter case aside, or ids; where names are numbers, a number is a name."""
        ids = {label_word(label).casefold(): i for i, label in enumerate(labels)}
        numbered = any(map(WHOLE.fullmatch, ids))

        def parse(word: str) -> Label | None:
            word = word.casefold()
            if not word:
                return NoLabel.MISSING
            if word in ids:
                return ids[word]
            if word in ("-", "-1"):
                return NoLabel.UNLABELLED
            number = _BOOLEANS.get(word, int(word) if WHOLE.fullmatch(word) else -1)
            if numbered:
                return ids.get(str(number)) if word in _BOOLEANS else None
            return number if 0 <= number < len(ids) else None

        return parse

    def expected(self, labels: Sequence[str]) -> str:
        ids = "" if any(map(WHOLE.fullmatch, labels)) else f", or an id from 0 to {len(labels) - 1}"
        return f"one of {', '.join(labels)}{ids}"

    def strata(self, labels: Array) -> NDArray[np.int64]:
        return labels

    def task_loss(self, logits: Tensor, labels: Tensor, units: Units) -> Tensor:
        total = F.cross_entropy(logits.float(), labels.long(), reduction="sum")
        return total / self.labelled(labels).sum().clamp_min(1)

    def answers(self, logits: Array, labels: Sequence[str]) -> list[dict[str, Any]]:
        """The label, its probability, and the probability of each class."""
        return [
            {
                "label": labels[int(row.argmax())],
                "score": float(row.max()),
                "probabilities": dict(zip(labels, row.tolist(), strict=True)),
            }
            for row in softmax(logits.astype(np.float64), axis=-1)
        ]

    def answer_line(self, answer: dict[str, Any], labels: Sequence[str]) -> str:
        width = max(map(len, labels))
        return f"{answer['label']:<{width}}  {super().answer_line(answer, labels)}"

    def submission(self, logits: Array, labels: Sequence[str], form: Submission) -> list[str]:
        return [str(i) if form.ids else labels[i] for i in self.decode(logits)]

    def onnx_answer(self, names: Sequence[str] | None) -> str:
        named = json.dumps(names, ensure_ascii=False)
        return f"labels = {named}\nprint([labels[i] for i in logits.argmax(-1)])"
