"""The floor: what a bag of words and a linear model reach, which no student should stay below."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from kdnas.tasks import Examples, TaskSpec
from kdnas.tasks.bag_of_words import BagOfWords
from kdnas.tasks.sampling import training_sample

NAME = "TF-IDF, linear"
ROWS = 50_000  # of the training rows at most


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
    from sklearn.dummy import DummyClassifier
    from sklearn.exceptions import ConvergenceWarning

    kind, words = spec.task_type, BagOfWords()
    model = kind.linear_model(seed)
    if model is None:
        return None
    some = train.take(training_sample(train, ROWS, seed))
    features = words.fit(some)
    if features is None:
        return None
    assert some.labels is not None
    if kind.has_classes and len(np.unique(some.labels)) == 1:
        model = DummyClassifier()  # always the one class; logistic regression needs two
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, some.labels)

    def predict(examples: Examples) -> np.ndarray:
        return kind.decode(kind.linear_logits(model, words.features(examples), spec.num_labels))

    return NAME, predict
