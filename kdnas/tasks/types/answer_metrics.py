"""The metrics of answers, on all questions and on those with an answer or without."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from kdnas.tasks.questions.squad_metrics import counts_of, exact, overlap
from kdnas.tasks.types.metric import Array, Metric, ratio


def answer_metrics() -> Mapping[str, Metric]:
    """F1 and exact match, by name."""
    return {
        "f1": _metric(overlap, "F1"),
        "exact_match": _metric(exact, "Exact match"),
        "f1_has_answer": _metric(overlap, "F1 (questions with an answer)", True),
        "exact_has_answer": _metric(exact, "Exact match (questions with an answer)", True),
        "f1_no_answer": _metric(overlap, "F1 (questions without an answer)", False),
        "exact_no_answer": _metric(exact, "Exact match (questions without an answer)", False),
    }


def _metric(score: Callable[[str, str], float], name: str, answered: bool | None = None) -> Metric:
    return Metric(_mean, "squad_v2", name, counts=counts_of(score, answered))


def _mean(sums: Array) -> Array:
    """Of summed scores and counts, shape (..., 2); nan without a row."""
    rows = sums[..., 1]
    return np.where(rows > 0, ratio(sums[..., 0], rows), np.nan)
