"""Multi-label classification: each example, one text or two, has any of several labels, or none."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.bag_of_words import BagOfWords
from kdnas.tasks.encode import EncodedExamples, Units
from kdnas.tasks.examples import (
    Examples,
    shown,
)
from kdnas.tasks.predicted import SMOOTHING, PredictionError, log_odds, numbers_of, one_of, shares
from kdnas.tasks.types.base import TaskType
from kdnas.tasks.types.classification import FAR, KNOWING
from kdnas.tasks.types.label_metrics import (
    average_precision,
    average_precision_of,
    correlation_counts,
    exact_counts,
    f1_counts,
    f1_macro,
    f1_micro,
    pooled_correlation,
    share_right,
)
from kdnas.tasks.types.label_sets import LabelSets
from kdnas.tasks.types.metric import Array, Metric, ratio
from kdnas.tasks.types.values import Constant, LogitLoss, Submission

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_THRESHOLD = 0.5
_LOWEST = 1e-4  # of thresholds that are chosen, and 1 less the highest
# Rows times labels that the floor learns.
_FLOOR_CELLS, _FLOOR_ROWS = 1_000_000, 2_000
_NONE = "(none)"


class MultiLabel(LabelSets, TaskType):
    """Any of several labels for each example; labels are float32 of 0 and 1, (rows, labels).

    Predictions are logits less that of the threshold, of the same shape: a row has the labels
    whose number is above 0, and the numbers keep the order of the logits.
    """

    name = "multi-label"
    head = "ForSequenceClassification"
    problem_type = "multi_label_classification"
    unnamed_problem = False
    several_labels = True
    no_label = math.nan
    label_dtype = np.float32
    metrics: ClassVar[Mapping[str, Metric]] = {
        "f1_micro": Metric(f1_micro, "f1", "F1 (micro)", counts=f1_counts),
        "f1_macro": Metric(f1_macro, "f1", "F1 (macro)", counts=f1_counts),
        "average_precision": Metric(
            average_precision,
            "average_precision",
            "Average precision (macro)",
            on_times=average_precision_of,
        ),
        "subset_accuracy": Metric(share_right, "accuracy", "Subset accuracy", counts=exact_counts),
        "correlation": Metric(
            pooled_correlation,
            "matthews_correlation",
            "Correlation, pooled over labels",
            counts=correlation_counts,
        ),
    }
    default_metrics = ("f1_micro", "f1_macro", "average_precision", "subset_accuracy")
    skill = "correlation"
    has_threshold = True
    prediction_columns = ("logits", "probabilities", "labels", "label")
    pipeline_tag = "text-classification"
    hub_name = "Text Classification"

    def balanced_weights(self, labels: Array, classes: int) -> NDArray[np.float32]:
        """Of each label, rows without it / rows with it; 1 where there are none of either.

        A row counts that much in the label's loss where it has the label, 1 where it has not: the
        `pos_weight` of torch, and the ratio of the two weights that `class_weight="balanced"` of
        scikit-learn gives the label and its absence. Golden: 3 rows of 4 -> 1/3; 1 of 4 -> 3.
        """
        has, rows = self.class_counts(labels, classes), len(_known(labels, classes))
        both = (has > 0) & (has < rows)
        return np.where(both, (rows - has) / np.maximum(has, 1), 1.0).astype(np.float32)

    def class_counts(self, labels: Array, classes: int) -> NDArray[np.int64]:
        return np.asarray((_known(labels, classes) > 0).sum(0))

    def strata(self, labels: Array) -> NDArray[np.int64]:
        """The rarest of a row's labels; of rows without one, a number of their own."""
        has = labels > 0
        rarest = np.where(has, has.sum(0), np.inf).argmin(1)
        return np.asarray(np.where(has.any(1), rarest, labels.shape[1]))

    def constant_answers(self, truths: Array, labels: Sequence[str]) -> Sequence[Constant]:
        """The labels that, said of every row, have the best F1 (micro): the most frequent ones.

        Of all sets of k labels, the k most frequent labels are right most often.
        """
        counts = (truths > 0).sum(0)
        order = np.argsort(-counts, kind="stable")
        right = counts[order].cumsum()
        said = len(truths) * np.arange(1, len(counts) + 1)
        best = int((2 * right / (said + counts.sum())).argmax()) + 1
        answer = np.full(len(counts), -1.0)
        answer[order[:best]] = 1.0
        name = ", ".join(labels[i] for i in sorted(order[:best]))
        said = answer[None]
        return (Constant(name, lambda data: np.repeat(said, len(self.truths(data)), axis=0)),)

    def simple_model(
        self, train: Examples, labels: Sequence[str], seed: int
    ) -> tuple[str, Callable[[Examples], Array]] | None:
        """Logistic regression on TF-IDF, one for each label.

        Its threshold is the best on a tenth of the rows, which it does not learn.
        """
        assert train.labels is not None
        most = max(_FLOOR_ROWS, _FLOOR_CELLS // max(1, len(labels)))
        chosen = np.random.default_rng(seed).permutation(len(train))[:most]
        apart, own = np.split(chosen, [max(1, len(chosen) // 10)])
        some, others, words = train.take(np.sort(own)), train.take(np.sort(apart)), BagOfWords()
        features = words.fit(some) if len(some) else None
        if features is None:
            return None
        assert some.labels is not None and others.labels is not None
        models = [_binary(features, has, seed) for has in (some.labels > 0).T]

        def logits(examples: Examples) -> Array:
            given = words.features(examples)
            return np.stack([model(given) for model in models], axis=1)

        cut = _logit(best_threshold(logits(others), others.labels))
        return "TF-IDF, linear", lambda examples: logits(examples) - cut

    # Training.

    def labelled(self, labels: Tensor) -> Tensor:
        return labels.isfinite().all(-1)

    def task_loss(
        self, logits: Tensor, labels: Tensor, units: Units, weights: Tensor | None = None
    ) -> Tensor:
        """Binary cross-entropy, mean over labels; `weights` are those of labels that a row has."""
        import torch.nn.functional as F

        known = self.labelled(labels)
        each = F.binary_cross_entropy_with_logits(
            logits.float(), labels.float().nan_to_num(), pos_weight=weights, reduction="none"
        )
        return (each.mean(-1) * known).sum() / known.sum().clamp_min(1)

    def logit_loss(
        self, student: Tensor, teacher: Tensor, units: Units, temperature: float, kind: LogitLoss
    ) -> Tensor:
        """The losses of a softmax for each label: that it is there or not; mean over labels too."""
        import torch.nn.functional as F

        student, teacher = student.float(), teacher.float()
        if kind == "mse":
            return F.mse_loss(student, teacher)
        given, wanted = student / temperature, teacher / temperature
        share = wanted.sigmoid()
        if kind == "ce":
            return F.binary_cross_entropy_with_logits(given, share) * temperature**2
        there = share * (F.logsigmoid(wanted) - F.logsigmoid(given))
        absent = (1 - share) * (F.logsigmoid(-wanted) - F.logsigmoid(-given))
        return (there + absent).mean() * temperature**2

    def centred(self, logits: Tensor, units: Units) -> Tensor:
        return logits.float()

    def predicted(self, logits: Tensor, units: Units) -> Tensor:
        """The probability of each label."""
        return logits.float().sigmoid()

    def better_order(self, logits: Array, labels: Array) -> list[int] | None:
        """The order whose outputs correlate with the labels more, by far more than by chance."""
        from scipy.optimize import linear_sum_assignment

        outputs, wanted = _standard(logits), _standard(labels)
        table = wanted.T @ outputs / max(1, len(labels))
        _, order = linear_sum_assignment(table, maximize=True)
        each = np.arange(len(order))
        moved = int((order != each).sum())
        gained = float((table[each, order] - table[each, each]).sum())
        # Two correlations differ by chance by about the root of 2 / rows.
        clear = gained > FAR * math.sqrt(2 * moved / max(1, len(labels)))
        return order.tolist() if clear and table[each, order].mean() > KNOWING else None

    # Scores, and what leaves kdnas.

    def read_prediction(
        self, cells: Mapping[str, Any], labels: Sequence[str], examples: Examples, row: int
    ) -> Array:
        """Logits or the probability of each label, or the labels that a row has."""
        parse = self.parser(labels)
        if "logits" in cells:
            return numbers_of(cells["logits"], labels, parse, "logits")
        if "probabilities" in cells:
            given = numbers_of(cells["probabilities"], labels, parse, "probabilities")
            return log_odds(shares(given, "probabilities"))
        name = next(name for name in ("labels", "label") if name in cells)
        cell = cells[name]
        words = list(cell) if isinstance(cell, list | tuple | np.ndarray) else [cell]
        has: Array = np.zeros(len(labels))
        for word in words:
            has[one_of(word, labels, parse, name)] += 1
        if has.max(initial=0) > 1:
            twice = shown(labels[int(has.argmax())])
            raise PredictionError(f"the label {twice!r} twice under {name!r}; give it once")
        return self.prediction_of(has, labels)

    def prediction_of(self, label: Any, labels: Sequence[str]) -> Array:
        has = np.asarray(label, np.float64)
        return log_odds(has * (1 - SMOOTHING) + SMOOTHING / 2)

    def details(self, predicted: Array, truth: Array, labels: Sequence[str]) -> dict[str, Any]:
        """Precision, recall, F1 and rows of each label."""
        p, t = predicted > 0, truth > 0
        right, said, there = ((s.sum(0).astype(np.float64)) for s in (p & t, p, t))
        numbers = {
            "precision": ratio(right, said),
            "recall": ratio(right, there),
            "f1": ratio(2 * right, said + there),
        }
        classes = [
            {"name": name, **{k: float(v[i]) for k, v in numbers.items()}, "support": int(there[i])}
            for i, name in enumerate(labels)
        ]
        return {"classes": classes}

    def decode(self, logits: Array) -> Array:
        """Logits less that of the default threshold."""
        return np.asarray(logits, np.float64) - _logit(None)

    def predictions(
        self, logits: Array, data: EncodedExamples, threshold: float | None = None
    ) -> Array:
        return np.asarray(logits, np.float64) - _logit(threshold)

    def differ(self, ours: Array, theirs: Array) -> NDArray[np.bool_]:
        """Where they have other labels."""
        found: NDArray[np.bool_] = ((ours > 0) != (theirs > 0)).any(1)
        return found

    def choose_threshold(self, logits: Array, data: EncodedExamples) -> float | None:
        assert data.labels is not None
        return best_threshold(logits, data.labels)

    def row_answers(
        self,
        logits: Array,
        labels: Sequence[str],
        data: EncodedExamples,
        threshold: float | None = None,
    ) -> list[dict[str, Any]]:
        """The labels whose probability is not below the threshold, and the probability of each."""
        from scipy.special import expit

        logits = np.asarray(logits, np.float64)
        has = logits > _logit(threshold)
        return [
            {
                "labels": [name for name, there in zip(labels, row, strict=True) if there],
                "probabilities": dict(zip(labels, shares.tolist(), strict=True)),
            }
            for row, shares in zip(has, expit(logits), strict=True)
        ]

    def answer_line(self, answer: dict[str, Any], labels: Sequence[str]) -> str:
        """`toxic 0.9731, insult 0.6214`, the most probable first."""
        shares = answer["probabilities"]
        named = sorted(answer["labels"], key=lambda name: -shares[name])
        return ", ".join(f"{name} {shares[name]:.4f}" for name in named) or _NONE

    def in_words(self, answer: Any, labels: Sequence[str]) -> str:
        has = np.asarray(answer) > 0
        return ", ".join(name for name, there in zip(labels, has, strict=True) if there) or _NONE

    def row_submission(
        self,
        logits: Array,
        labels: Sequence[str],
        form: Submission,
        data: EncodedExamples,
        threshold: float | None = None,
    ) -> list[str]:
        """The labels of a row with bars between them; nothing where it has none."""
        names = [str(i) if form.ids else label for i, label in enumerate(labels)]
        return [
            "|".join(name for name, number in zip(names, row, strict=True) if number > 0)
            for row in self.predictions(logits, data, threshold)
        ]

    def onnx_answer(self, names: Sequence[str] | None, threshold: float | None = None) -> str:
        named = json.dumps(names, ensure_ascii=False)
        return (
            f"labels = {named}\n"
            "probabilities = 1 / (1 + np.exp(-logits))\n"
            f"print([[labels[i] for i in np.flatnonzero(row >= {threshold or DEFAULT_THRESHOLD})] "
            "for row in probabilities])"
        )

    def torch_answer(self, threshold: float | None = None) -> str:
        return (
            'inputs = tokenizer(["a text"], padding=True, truncation=True, return_tensors="pt")\n'
            "for row in model(**inputs).logits.sigmoid().tolist():\n"
            "    print([model.config.id2label[i] for i, p in enumerate(row) "
            f"if p >= {threshold or DEFAULT_THRESHOLD}])"
        )


def best_threshold(logits: Array, labels: Array) -> float | None:
    """The probability from which on labels are best said: F1 (micro) on some rows is highest.

    Half way between two logits; of several that are equally good, the one nearest to 0.5.

    Args:
        logits: Shape (rows, labels).
        labels: Same shape; rows with NaN do not count.

    Returns:
        None where no row has a label, or a logit is not finite.
    """
    known = np.isfinite(labels).all(1)
    scores, has = np.asarray(logits, np.float64)[known].ravel(), labels[known].ravel() > 0
    if not has.any() or not np.isfinite(scores).all():
        return None
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], has[order].cumsum()
    f1 = 2 * right / (np.arange(1, len(scores) + 1) + right[-1])
    cuts = (scores + np.append(scores[1:], scores[-1] - 1)) / 2
    ends = np.append(np.diff(scores) != 0, True)
    best = cuts[ends & (f1 >= f1[ends].max() - 1e-12)]
    chosen = 1 / (1 + math.exp(-best[np.abs(best).argmin()]))
    return min(max(chosen, _LOWEST), 1 - _LOWEST)


def _logit(threshold: float | None) -> float:
    """The largest number below a threshold's logit, so that what is at it is above this."""
    share = min(max(DEFAULT_THRESHOLD if threshold is None else threshold, 1e-9), 1 - 1e-9)
    return math.nextafter(math.log(share / (1 - share)), -math.inf)


def _binary(features: Any, has: NDArray[np.bool_], seed: int) -> Callable[[Any], Array]:
    """Logits of one label by features; of one that all rows have, or none, always the same."""
    from sklearn.linear_model import LogisticRegression

    if has.all() or not has.any():
        always = 10.0 if has.all() else -10.0
        return lambda given: np.full(given.shape[0], always)
    model = LogisticRegression(C=4.0, solver="liblinear", random_state=seed).fit(features, has)
    return lambda given: np.asarray(model.decision_function(given), np.float64)


def _known(labels: Array, classes: int) -> Array:
    """The rows that have labels, or are known to have none, shape (rows, classes)."""
    rows = labels.reshape(-1, classes)
    return rows[np.isfinite(rows).all(1)]


def _standard(values: Array) -> Array:
    """Columns of mean 0 and variance 1; 0 where they do not vary."""
    centred = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    return ratio(centred, np.broadcast_to(centred.std(0), centred.shape))
