"""The floor: what a bag of words and a linear model reach, which no student should stay below."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from kdnas.tasks import Examples, TaskSpec

NAME = "TF-IDF, linear"
ROWS = 50_000  # of the training rows at most
FEATURES = 200_000


def floor_model(
    spec: TaskSpec, train: Examples, seed: int
) -> tuple[str, Callable[[Examples], np.ndarray]] | None:
    """A simple model's name, and its predictions of rows as the metrics take them.

    By default a linear model on TF-IDF features of words: logistic regression for classes, ridge
    regression for scores (scikit-learn); one- and two-word terms, each text of a pair with features
    of its own.

    Returns:
        None for task types that have none, or where the training texts have no words.
    """
    if train.labels is None:
        return None
    own = spec.task_type.simple_model(train, spec.labels or (), seed)
    return own or _linear_model(spec, train, seed)


def _linear_model(
    spec: TaskSpec, train: Examples, seed: int
) -> tuple[str, Callable[[Examples], np.ndarray]] | None:
    from scipy import sparse
    from sklearn.exceptions import ConvergenceWarning

    estimator = spec.task_type.linear_model(seed)
    if estimator is None:
        return None
    chosen = np.random.default_rng(seed).permutation(len(train))[:ROWS]
    some = train.take(np.sort(chosen))
    assert some.labels is not None
    columns = _columns(some)
    vectorizers = [_vectorizer() for _ in columns]
    try:
        parts = [v.fit_transform(texts) for v, texts in zip(vectorizers, columns, strict=True)]
    except ValueError:  # an empty vocabulary
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(sparse.hstack(parts).tocsr(), some.labels)

    def predict(examples: Examples) -> np.ndarray:
        texts = zip(vectorizers, _columns(examples), strict=True)
        features = sparse.hstack([v.transform(column) for v, column in texts]).tocsr()
        said: np.ndarray = spec.task_type.decode(_logits(estimator, features, spec.num_labels))
        return said

    return NAME, predict


def _columns(examples: Examples) -> list[list[str]]:
    return [part for part in (examples.text, examples.text_pair) if part is not None]


def _vectorizer() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        sublinear_tf=True, ngram_range=(1, 2), max_features=FEATURES, token_pattern=r"(?u)\b\w+\b"
    )


def _logits(estimator: Any, features: Any, outputs: int) -> np.ndarray:
    """The model's answers as logits in the order of the classes' ids, absent classes last."""
    if not hasattr(estimator, "predict_log_proba"):
        return np.asarray(estimator.predict(features), np.float64)[:, None]
    logits = np.full((features.shape[0], outputs), -np.inf)
    logits[:, estimator.classes_] = estimator.predict_log_proba(features)
    return np.maximum(logits, -1e3)
