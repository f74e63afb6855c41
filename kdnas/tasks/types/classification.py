"""Classification: each example, one text or two, has one of several classes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from kdnas.errors import KdnasError
from kdnas.tasks.encode import Units
from kdnas.tasks.examples import RawSplit
from kdnas.tasks.labels import WHOLE, Label, NoLabel, label_word
from kdnas.tasks.types.base import Array, Metric, TaskType

_DECIMAL = re.compile(r"[+-]?\d*[.,]\d+")
_BOOLEANS = {"false": 0, "true": 1}
_MANY = 20


def _accuracy(predicted: Array, labels: Array) -> float:
    return float(accuracy_score(labels, predicted))


def _f1(predicted: Array, labels: Array) -> float:
    return float(f1_score(labels, predicted, pos_label=1, zero_division=0.0))


def _f1_macro(predicted: Array, labels: Array) -> float:
    return float(f1_score(labels, predicted, average="macro", zero_division=0.0))


def _mcc(predicted: Array, labels: Array) -> float:
    return float(matthews_corrcoef(labels, predicted))


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
        """F1 of class 1 wants two classes."""
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
        return tuple(_ordered(names, raw))

    def parser(self, labels: Sequence[str]) -> _ClassIds:
        """Class names, letter case aside, or ids."""
        return _ClassIds(labels)

    def expected(self, labels: Sequence[str]) -> str:
        """Names or ids."""
        ids = "" if any(map(WHOLE.fullmatch, labels)) else f", or an id from 0 to {len(labels) - 1}"
        return f"one of {', '.join(labels)}{ids}"

    def strata(self, labels: Array) -> NDArray[np.int64]:
        """The classes."""
        return labels

    def task_loss(self, logits: Tensor, labels: Tensor, units: Units) -> Tensor:
        """Cross-entropy."""
        total = F.cross_entropy(logits.float(), labels.long(), reduction="sum")
        return total / self.labelled(labels).sum().clamp_min(1)

    def answers(self, logits: Array, labels: Sequence[str]) -> list[dict[str, Any]]:
        """The label, its probability, and the probability of each class."""
        found = []
        for row in softmax(logits.astype(np.float64), axis=-1):
            best, chances = (
                int(row.argmax()),
                {n: float(p) for n, p in zip(labels, row, strict=True)},
            )
            found.append(
                {"label": labels[best], "score": float(row[best]), "probabilities": chances}
            )
        return found

    def submission(
        self,
        logits: Array,
        labels: Sequence[str],
        ids: bool,
        bounds: tuple[float, float] | None,
    ) -> list[str]:
        """A class id or name."""
        return [str(i) if ids else labels[i] for i in self.decode(logits)]

    def onnx_answer(self, names: Sequence[str] | None) -> str:
        """Prints a name for each text."""
        named = json.dumps(names, ensure_ascii=False)
        return f"labels = {named}\nprint([labels[i] for i in logits.argmax(-1)])"


class _ClassIds:
    """Class name (letter case aside) or class id to class id; None where it is neither.

    Where names are numbers, a number is a name.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._ids = {label_word(label).casefold(): i for i, label in enumerate(labels)}
        self._numbered = any(map(WHOLE.fullmatch, self._ids))

    def __call__(self, word: str) -> Label | None:
        if not word:
            return NoLabel.MISSING
        if word.casefold() in self._ids:
            return self._ids[word.casefold()]
        if word in ("-", "-1"):
            return NoLabel.UNLABELLED
        number = _BOOLEANS.get(word.casefold(), int(word) if WHOLE.fullmatch(word) else -1)
        if self._numbered:
            return self._ids.get(str(number)) if word.casefold() in _BOOLEANS else None
        return number if 0 <= number < len(self._ids) else None


def _ordered(names: list[str], raw: RawSplit) -> list[str]:
    """The labels found, in the order of their ids."""
    known = [label_word(name) for name in raw.classes]
    if {word.casefold() for word in known} >= {word.casefold() for word in names}:
        return known
    if all(WHOLE.fullmatch(name) for name in names):
        return sorted(names, key=int)
    return sorted(names, key=str.casefold)
