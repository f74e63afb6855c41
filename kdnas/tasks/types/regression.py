"""Regression: each example, one text or two, has a score."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kdnas.errors import KdnasError
from kdnas.runtime.formatting import in_decimals
from kdnas.tasks.encode import Units
from kdnas.tasks.examples import Examples, Label, NoLabel, RawSplit
from kdnas.tasks.predicted import LARGEST, number_of
from kdnas.tasks.types.base import TaskType
from kdnas.tasks.types.metric import Array, Metric, correlation
from kdnas.tasks.types.values import (
    RELATIONS,
    UNSCALED,
    Constant,
    LabelScale,
    LogitLoss,
    Submission,
)

if TYPE_CHECKING:
    from torch import Tensor

_STRATA = 10
# How far float32 may round a label, as a share of the labels' standard deviation.
_ROUNDING = 1e-3
# Outputs whose squared error is so many times what it would be with the labels' mean and spread
# have another unit.
CLEARLY = 1.5
# What float() takes beyond this, such as 1_000 or nan, is a mistake in a data file.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WITH_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
# What may as well be thousands: 1,500.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)


def _pearson(predicted: Array, labels: Array, axis: int = -1) -> Array:
    return correlation(predicted, labels, axis)


def _spearman(predicted: Array, labels: Array, axis: int = -1) -> Array:
    from scipy import stats

    return _pearson(stats.rankdata(predicted, axis=axis), stats.rankdata(labels, axis=axis), axis)


def _mae(predicted: Array, labels: Array, axis: int = -1) -> Array:
    return np.asarray(np.abs(predicted - labels).mean(axis))


class Regression(TaskType):
    """A score for each example; labels are float32."""

    name = "regression"
    head = "ForSequenceClassification"
    problem_type = "regression"
    has_classes = False
    no_label = math.nan
    label_dtype = np.float32
    prediction_columns = ("score", "label", "logits")
    metrics: ClassVar[Mapping[str, Metric]] = {
        "pearson": Metric(_pearson, "pearsonr", "Pearson correlation"),
        "spearman": Metric(_spearman, "spearmanr", "Spearman correlation"),
    }
    default_metrics = ("pearson", "spearman")
    errors: ClassVar[Mapping[str, Metric]] = {"mae": Metric(_mae, "mae", "Mean absolute error")}
    skill = "pearson"
    defaults_with_heads: ClassVar[Mapping[str, Any]] = RELATIONS
    pipeline_tag = "text-classification"
    hub_name = "Text Classification"

    def num_outputs(self, labels: Sequence[str]) -> int:
        return 1

    def with_plain_labels(self, raw: RawSplit, labels: Sequence[str]) -> RawSplit:
        """Decimal commas become points where they can be nothing else: none has a point beside.

        One of them at least, or one of train, is not like the thousands of `1,500`.
        """
        commas, clear = _commas(raw)
        if not clear and commas and raw.train is not None:
            clear = list(commas.values()) if _commas(raw.train)[1] else []
        if not clear:
            return raw
        cells = enumerate(raw.cells or ())
        pointed = [w.replace(",", ".") if (w := commas.get(i)) else cell for i, cell in cells]
        told = f"labels with a decimal comma: {clear[0]} is {clear[0].replace(',', '.')}"
        return replace(raw, cells=pointed, assumed=(*raw.assumed, told))

    def asks_train(self, raw: RawSplit, labels: Sequence[str]) -> bool:
        """Where all commas may be of thousands."""
        commas, clear = _commas(raw)
        return bool(commas) and not clear

    def parser(self, labels: Sequence[str]) -> Callable[[str], Label | None]:
        return _score

    def parse_labels(self, raw: RawSplit, labels: Sequence[str]) -> list[Label]:
        found = super().parse_labels(raw, labels)
        _check_float32(raw, np.array([one for one in found if not isinstance(one, NoLabel)], float))
        return found

    def expected(self, labels: Sequence[str]) -> str:
        return "a number, such as 3.5 or 1500"

    def label_range(self, labels: Array) -> tuple[float, float] | None:
        known = labels[np.isfinite(labels)]
        return (float(known.min()), float(known.max())) if len(known) else None

    def differ(self, ours: Array, theirs: Array) -> NDArray[np.bool_]:
        return ~np.isclose(ours, theirs)

    def strata(self, labels: Array) -> NDArray[np.int64]:
        """Deciles."""
        edges = np.unique(np.quantile(labels, np.linspace(0, 1, _STRATA + 1)[1:-1]))
        return np.digitize(labels, edges)

    def label_scale(self, labels: Array) -> LabelScale:
        known = labels[np.isfinite(labels)].astype(np.float64)
        mean, spread = float(known.mean()), float(known.std())
        return LabelScale(mean, spread) if spread > 0 else UNSCALED

    def linear_model(self, seed: int) -> Any:
        from sklearn.linear_model import Ridge

        return Ridge(alpha=1.0)

    def linear_logits(self, model: Any, features: Any, outputs: int) -> Array:
        return np.asarray(model.predict(features), np.float64)[:, None]

    def constant_answers(self, truths: Array, labels: Sequence[str]) -> Sequence[Constant]:
        """The mean."""
        mean = float(truths.astype(np.float64).mean())
        return (Constant(f"{mean:.4g}", lambda data: np.full(len(self.truths(data)), mean)),)

    def unit_of(self, logits: Array, labels: Array) -> LabelScale:
        """Slope and offset of the labels by the outputs, where these clearly have another unit.

        That they shrink towards the mean is no other unit, but what noise does to a regression.
        Outputs that fall where labels rise have no unit.
        """
        outputs, truth = logits[:, 0].astype(np.float64), labels.astype(np.float64)
        if np.ptp(outputs) == 0 or np.ptp(truth) == 0:
            return UNSCALED
        slope, offset = (float(f"{x:.6g}") for x in np.polyfit(outputs, truth, 1))
        alike = (outputs - outputs.mean()) / outputs.std() * truth.std() + truth.mean()
        now, then = (np.square(values - truth).mean() for values in (outputs, alike))
        return LabelScale(offset, slope) if slope > 0 and now > CLEARLY * then else UNSCALED

    def labelled(self, labels: Tensor) -> Tensor:
        return labels.isfinite()

    def task_loss(self, logits: Tensor, labels: Tensor, units: Units) -> Tensor:
        known = self.labelled(labels)
        errors = (logits.float().squeeze(-1) - labels.float().nan_to_num()).square() * known
        return errors.sum() / known.sum().clamp_min(1)

    def logit_loss(
        self, student: Tensor, teacher: Tensor, units: Units, temperature: float, kind: LogitLoss
    ) -> Tensor:
        """Squared error, whatever is asked for."""
        import torch.nn.functional as F

        return F.mse_loss(student.float(), teacher.float())

    def centred(self, logits: Tensor, units: Units) -> Tensor:
        return logits.float()

    def predicted(self, logits: Tensor, units: Units) -> Tensor:
        """The scores themselves."""
        return logits.float()

    def decode(self, logits: Array) -> Array:
        scores: Array = logits[:, 0]
        return scores

    def read_prediction(
        self, cells: Mapping[str, Any], labels: Sequence[str], examples: Examples, row: int
    ) -> Array:
        """A score, in the unit of the labels."""
        name = next(name for name in self.prediction_columns if name in cells)
        cell = cells[name]
        if isinstance(cell, list | tuple | np.ndarray) and len(cell) == 1:
            cell = cell[0]
        return np.array([number_of(cell, name)])

    def prediction_of(self, label: Any, labels: Sequence[str]) -> Array:
        return np.array([float(label)])

    def answers(self, logits: Array, labels: Sequence[str]) -> list[dict[str, Any]]:
        return [{"score": float(score)} for score in self.decode(logits)]

    def submission(self, logits: Array, labels: Sequence[str], form: Submission) -> list[str]:
        scores = self.decode(logits)
        if form.bounds is None:  # whatever the unit: as many digits as a model computes in
            return [f"{score:.7g}" for score in scores]
        return [f"{score:.3f}" for score in np.clip(scores, *form.bounds)]

    def answer_line(self, answer: dict[str, Any], labels: Sequence[str]) -> str:
        return in_decimals(answer["score"], digits=4)

    def onnx_answer(self, names: Sequence[str] | None, threshold: float | None = None) -> str:
        return "print(logits[:, 0])"


def _commas(raw: RawSplit) -> tuple[dict[int, str], list[str]]:
    """Label cells with a comma, by their place, and those of them that are clearly decimal.

    None where a label has a point.
    """
    words = [cell.strip() if isinstance(cell, str) else "" for cell in raw.cells or ()]
    if any("." in word for word in words):
        return {}, []
    commas = {i: word for i, word in enumerate(words) if word and _WITH_COMMA.fullmatch(word)}
    return commas, [word for word in commas.values() if not _THOUSANDS.fullmatch(word)]


def _score(word: str) -> Label | None:
    if not word:
        return NoLabel.MISSING
    value = float(word) if _NUMBER.fullmatch(word) else math.inf
    return value if abs(value) <= LARGEST else None


def _check_float32(raw: RawSplit, labels: NDArray[np.float64]) -> None:
    """Refuses labels that differ by less than a checkpoint's outputs can tell at their size."""
    off = np.abs(labels.astype(np.float32) - labels).max(initial=0)
    if len(labels) and off > _ROUNDING * labels.std() > 0:
        low, high = labels.min(), labels.max()
        raise KdnasError(
            f"{raw.source}: labels from {low:.12g} to {high:.12g} are too near each other for "
            f"their size, and float32 would merge them; subtract a number such as {low:.12g}"
        )
