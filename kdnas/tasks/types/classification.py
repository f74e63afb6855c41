"""Classification: each example, one text or two, has one of several classes."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kdnas.errors import KdnasError
from kdnas.tasks.encode import Units
from kdnas.tasks.examples import (
    WHOLE,
    WHOLE_DECIMAL,
    Examples,
    Label,
    NoLabel,
    RawSplit,
    label_word,
    label_words,
    plain_word,
    shown,
)
from kdnas.tasks.predicted import (
    HAIR,
    ROUNDED,
    PredictionError,
    distribution,
    logarithms,
    numbers_of,
    one_of,
    share_of,
    smoothed,
)
from kdnas.tasks.types.base import TaskType
from kdnas.tasks.types.joined_labels import hint_of_joined
from kdnas.tasks.types.metric import Array, Metric, ratio, times
from kdnas.tasks.types.values import RELATIONS, Constant, Submission

if TYPE_CHECKING:
    from torch import Tensor

# Classes that are tried as a constant answer.
_CONSTANTS = 20
_DECIMAL = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)
_ID = re.compile(r"0|[1-9]\d{0,8}", re.ASCII)
_BOOLEANS = {"false": "0", "true": "1"}
_MANY = 20
_LONGEST_LIST = 1000
# Another order of outputs is far better: by so many standard errors, and this share of the rows.
FAR, FAR_SHARE = 4.0, 0.05
KNOWING = 0.2  # a Matthews correlation that no untrained head reaches


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
    """Gorodkin 2004: the correlation of both sides' indicators of all classes.

    It needs no more than the rows that are right and how often each side has each class: the
    indicators of many classes, of all resamples of a bootstrap, fill the memory.
    """
    rows, right = predicted.shape[axis], (predicted == labels).sum(axis)
    classes = 1 + max(predicted.max(), labels.max())
    p, t = (times(np.moveaxis(side, axis, -1), classes) for side in (predicted, labels))
    covariance = rows * right - (p * t).sum(-1)
    spread = (p * (rows - p)).sum(-1) * (t * (rows - t)).sum(-1)
    return ratio(covariance, np.sqrt(spread))


class Classification(TaskType):
    """One of several classes for each example; labels are int64 class ids."""

    name = "classification"
    head = "ForSequenceClassification"
    problem_type: ClassVar[str | None] = "single_label_classification"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "accuracy": Metric(_accuracy, "accuracy", "Accuracy"),
        "f1": Metric(_f1, "f1", "F1", of_class=True),
        "f1_macro": Metric(_f1_macro, "f1", "F1 (macro)"),
        "mcc": Metric(_mcc, "matthews_correlation", "Matthews correlation"),
    }
    default_metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    metric_of_rare: ClassVar[Mapping[str, str]] = {"accuracy": "f1_macro"}
    skill = "mcc"
    prediction_columns: ClassVar[tuple[str, ...]] = ("logits", "probabilities", "label", "score")
    defaults_with_heads: ClassVar[Mapping[str, Any]] = RELATIONS
    pipeline_tag = "text-classification"
    hub_name = "Text Classification"

    def with_plain_labels(self, raw: RawSplit, labels: Sequence[str]) -> RawSplit:
        """As they are; says where classes that were found in train look like several labels."""
        if raw.ids or raw.classes or raw.cells is None:
            return raw
        hint = hint_of_joined(class_names(_words(raw)))
        return replace(raw, assumed=(*raw.assumed, hint)) if hint else raw

    def find_classes(self, raw: RawSplit) -> tuple[str, ...]:
        """The different label cells, each class under its most frequent spelling.

        A hub data set says the order of its classes. Elsewhere numbers are sorted by value, words
        alphabetically.

        Raises:
            KdnasError: The labels look like scores or like lists, or there are fewer than two.
        """
        names = class_names(_words(raw))
        _refuse_scores(raw, names)
        _refuse_lists(raw, names)
        if len(names) < 2:
            found = f"only the label {shown(names[0])!r}" if names else "no label"
            raise KdnasError(f"{raw.source}: found {found}; classification needs two or more")
        return in_order(names, raw.classes)

    def parser(self, labels: Sequence[str]) -> Callable[[str], Label | None]:
        """Class names, letter case aside, or ids; where names are numbers, a number is a name."""
        ids = {plain_word(label): i for i, label in enumerate(labels)}
        numbered = any(map(WHOLE.fullmatch, ids))

        def parse(word: str) -> Label | None:
            if not word:
                return NoLabel.MISSING
            name = plain_word(word)
            if name in ids:
                return ids[name]
            if len(ids) == 2:
                name = _BOOLEANS.get(name, name)
            if numbered:
                return ids.get(name)
            return int(name) if _ID.fullmatch(name) and int(name) < len(ids) else None

        return parse

    def parse_labels(self, raw: RawSplit, labels: Sequence[str]) -> list[Label]:
        """As for all types; where the classes were found in train, nothing but them is a label."""
        if raw.cells is not None and not raw.ids:
            names = {plain_word(label) for label in labels}
            for word, place in zip(label_words(raw), raw.places, strict=True):
                if word and isinstance(word, str) and plain_word(word) not in names:
                    hint = hint_of_joined([*labels, word])
                    raise KdnasError(
                        f"{raw.source}, {raw.unit} {place}: invalid label {shown(word)!r}; "
                        f"expected one of {', '.join(map(shown, labels))} (found in train; list "
                        f"others under `labels:` in the task){hint and '; ' + hint}"
                    )
        return super().parse_labels(raw, labels)

    def expected(self, labels: Sequence[str]) -> str:
        ids = "" if any(map(WHOLE.fullmatch, labels)) else f", or an id from 0 to {len(labels) - 1}"
        return f"one of {', '.join(map(shown, labels))}{ids}"

    def balanced_weights(self, labels: Array, classes: int) -> NDArray[np.float32] | None:
        """Rows / (classes with rows * rows of the class); 1 for a class without rows.

        The formula is that of `class_weight="balanced"` in scikit-learn (Pedregosa et al. 2011),
        after King and Zeng 2001, Logistic Regression in Rare Events Data. Over the training rows
        the weights have the mean 1. Golden: 3 rows and 1 row -> 2/3 and 2.
        """
        counts = np.bincount(labels[labels >= 0], minlength=classes)
        present = counts > 0
        weights = counts.sum() / (max(1, present.sum()) * np.maximum(counts, 1))
        return np.where(present, weights, 1.0).astype(np.float32)

    def class_counts(self, labels: Array, classes: int) -> NDArray[np.int64] | None:
        return np.bincount(labels[labels >= 0], minlength=classes)

    def strata(self, labels: Array) -> NDArray[np.int64] | None:
        return labels

    def constant_answers(self, truths: Array, labels: Sequence[str]) -> Sequence[Constant]:
        """The most frequent classes: which one has the best F1 depends on which is positive."""
        counts = np.bincount(truths, minlength=len(labels))
        usual = np.argsort(-counts, kind="stable")[:_CONSTANTS]

        def always(number: int) -> Constant:
            def predict(data: Any) -> Array:
                return np.full(len(self.truths(data)), number)

            return Constant(str(labels[number]), predict)

        return [always(number) for number in usual.tolist() if counts[number]]

    def linear_model(self, seed: int) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=4.0, max_iter=300, random_state=seed)

    def details(
        self, predicted: Array, truth: Array, labels: Sequence[str]
    ) -> dict[str, Any] | None:
        """Precision, recall, F1 and rows of each class, and the confusion matrix.

        Row i, column j of the matrix: rows of class i that were taken for class j.
        """
        size = len(labels)
        table = np.zeros((size, size), np.int64)
        np.add.at(table, (truth, predicted), 1)
        right = np.diag(table).astype(np.float64)
        precision, recall = ratio(right, table.sum(0)), ratio(right, table.sum(1))
        f1 = ratio(2 * right, table.sum(0) + table.sum(1))
        numbers = {"precision": precision, "recall": recall, "f1": f1}
        classes = [
            {"name": name, **{k: float(v[i]) for k, v in numbers.items()}, "support": int(rows)}
            for i, (name, rows) in enumerate(zip(labels, table.sum(1), strict=True))
        ]
        return {"classes": classes, "confusion": table.tolist()}

    def better_order(self, logits: Array, labels: Array) -> list[int] | None:
        """The order with most rows right, where more would be so by far than by chance.

        A head that was never trained, or answers always the same, has no better order.
        """
        from scipy.optimize import linear_sum_assignment

        size, guess = logits.shape[1], logits.argmax(-1)
        table = np.zeros((size, size))
        np.add.at(table, (labels, guess), 1)
        _, order = linear_sum_assignment(table, maximize=True)
        ordered = np.argsort(order)[guess]  # output order[i] stands for class i
        gained = int(((ordered == labels) & (guess != labels)).sum())
        lost = int(((ordered != labels) & (guess == labels)).sum())
        clear = gained - lost > max(FAR * np.sqrt(gained + lost), FAR_SHARE * len(labels))
        known = clear and float(_mcc(ordered, labels)) > KNOWING
        return [int(i) for i in order] if known else None

    def task_loss(
        self, logits: Tensor, labels: Tensor, units: Units, weights: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy, each row times its class's weight: over rows, not the sum of weights.

        So the parts of a batch add up to the batch, and one full of rare rows counts for more.
        """
        import torch.nn.functional as F

        total = F.cross_entropy(logits.float(), labels.long(), weights, reduction="sum")
        return total / self.labelled(labels).sum().clamp_min(1)

    def read_prediction(
        self, cells: Mapping[str, Any], labels: Sequence[str], examples: Examples, row: int
    ) -> Array:
        """Logits, probabilities, or a label with its probability as `score` where that is known."""
        parse = self.parser(labels)
        if "logits" in cells:
            return numbers_of(cells["logits"], labels, parse, "logits")
        if "probabilities" in cells:
            given = numbers_of(cells["probabilities"], labels, parse, "probabilities", 0.0)
            return logarithms(distribution(given, "probabilities"))
        if "label" not in cells:
            raise PredictionError("a score without a label; give both")
        label = one_of(cells["label"], labels, parse, "label")
        share = share_of(cells["score"], "score") if "score" in cells else None
        even = 1 / len(labels)
        if share is not None and share + ROUNDED + HAIR < even:
            raise PredictionError(
                f"the score {share:g} of a label is below 1/{len(labels)}; give the probability of "
                "the label that the teacher says"
            )
        # What was rounded down is still the likeliest class.
        least = even * (1 + HAIR)
        return smoothed(label, len(labels), share if share is None else max(share, least))

    def prediction_of(self, label: Any, labels: Sequence[str]) -> Array:
        return smoothed(int(label), len(labels))

    def answers(self, logits: Array, labels: Sequence[str]) -> list[dict[str, Any]]:
        """The label that `decode` gives, its probability, and the probability of each class."""
        from scipy.special import softmax

        shares = softmax(logits.astype(np.float64), axis=-1)
        return [
            {
                "label": labels[int(said)],
                "score": float(row[said]),
                "probabilities": dict(zip(labels, row.tolist(), strict=True)),
            }
            for said, row in zip(self.decode(logits), shares, strict=True)
        ]

    def answer_line(self, answer: dict[str, Any], labels: Sequence[str]) -> str:
        width = max(map(len, labels))
        return f"{answer['label']:<{width}}  {super().answer_line(answer, labels)}"

    def submission(self, logits: Array, labels: Sequence[str], form: Submission) -> list[str]:
        return [str(i) if form.ids else labels[i] for i in self.decode(logits)]

    def onnx_answer(self, names: Sequence[str] | None, threshold: float | None = None) -> str:
        named = json.dumps(names, ensure_ascii=False)
        return f"labels = {named}\nprint([labels[i] for i in logits.argmax(-1)])"


def class_names(words: Sequence[str]) -> list[str]:
    """The classes that words name, each under its most frequent spelling."""
    by_class: dict[str, Counter[str]] = {}
    for word, count in sorted(Counter(words).items()):
        by_class.setdefault(plain_word(word), Counter())[word] = count
    return [spellings.most_common(1)[0][0] for spellings in by_class.values()]


def in_order(names: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """Classes in the order of their source, where it knows them all; else sorted, numbers as such.

    Golden: ['10', '2'] -> ('2', '10'); ['b', 'A'] -> ('A', 'b').
    """
    known = [label_word(name) for name in given]
    if set(map(plain_word, known)) >= set(map(plain_word, names)):
        return tuple(known)
    if all(map(WHOLE.fullmatch, names)):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names, key=lambda name: (name.casefold(), name)))


def _words(raw: RawSplit) -> list[str]:
    """The label cells that hold a class."""
    return [word for word in label_words(raw) if word and isinstance(word, str)]


def _refuse_scores(raw: RawSplit, names: Sequence[str]) -> None:
    """Raises KdnasError where labels are decimals, or nearly every row has its own."""
    decimals = [n for n in names if _DECIMAL.fullmatch(n) and not WHOLE.fullmatch(n)]
    broken = [name for name in decimals if not WHOLE_DECIMAL.fullmatch(name)]
    rows = len(raw.cells or ())
    if broken or len(decimals) > _MANY or (len(names) > _MANY and 2 * len(names) > rows):
        looks = "this looks like a regression task: " if decimals else ""
        scores = f"{looks}set `regression: true` if they are scores"
        raise KdnasError(
            f"{raw.source}: found {len(names)} different labels in {rows} rows, such as "
            f"{shown((broken or decimals or names)[0])!r}; {hint_of_joined(names) or scores}, else "
            "list the classes under `labels:` in the task"
        )


def _refuse_lists(raw: RawSplit, names: Sequence[str]) -> None:
    """Raises KdnasError where a label is a list written as a word, such as "['a', 'b']"."""
    for name in names:
        if name[0] in "[({" and len(name) <= _LONGEST_LIST and _is_list(name):
            raise KdnasError(
                f"{raw.source}: the label {shown(name)!r} is a list; classification takes one "
                "label a row: set `type: multi-label` in the task for several (or list the classes "
                "under `labels:` if it is one)"
            )


def _is_list(word: str) -> bool:
    try:
        return isinstance(ast.literal_eval(word), list | tuple | dict | set)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
