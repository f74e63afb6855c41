from __future__ import annotations

import numpy as np
import pytest

from kdnas.evaluation.floor import floor_model
from kdnas.evaluation.scores import baseline
from kdnas.tasks import EncodedExamples, Examples, load_spec

GOOD = ["a good film", "a fine film", "good and fine", "so good"] * 5
BAD = ["a bad film", "a dull film", "bad and dull", "so bad"] * 5


def test_words_that_tell_the_class_are_learnt() -> None:
    train = Examples(GOOD + BAD, None, np.array([1] * 20 + [0] * 20))
    found = floor_model(load_spec("sst2"), train, 0)
    assert found is not None and found[0] == "TF-IDF, linear"
    assert found[1](Examples(["good", "dull"])).tolist() == [1, 0]


def test_each_text_of_a_pair_has_words_of_its_own() -> None:
    train = Examples(GOOD + BAD, BAD + GOOD, np.array([1] * 20 + [0] * 20))
    found = floor_model(load_spec("mrpc"), train, 0)
    assert found is not None
    assert found[1](Examples(["good", "bad"], ["bad", "good"])).tolist() == [1, 0]


def test_scores_are_regressed() -> None:
    train = Examples(GOOD + BAD, None, np.array([5.0] * 20 + [1.0] * 20), task_type="regression")
    found = floor_model(load_spec("stsb"), train, 0)
    assert found is not None
    high, low = found[1](Examples(["good", "bad"]))
    assert high > 3 > low


@pytest.mark.parametrize("texts", [["...", "!!"], ["", " "]])
def test_texts_without_words_have_no_floor(texts: list[str]) -> None:
    train = Examples(texts, None, np.array([0, 1]))
    assert floor_model(load_spec("sst2"), train, 0) is None


def test_rows_of_one_class_have_it_as_their_floor() -> None:
    found = floor_model(load_spec("sst2"), Examples(GOOD, None, np.ones(20, np.int64)), 0)
    assert found is not None and found[1](Examples(["good", "dull"])).tolist() == [1, 1]
    scores = Examples(GOOD, None, np.full(20, 3.0), task_type="regression")
    found = floor_model(load_spec("stsb"), scores, 0)
    assert found is not None and found[1](Examples(["dull"])).tolist() == [3.0]


def test_the_constant_answer_is_the_one_that_is_best_by_the_tasks_metric() -> None:
    """Always the rare class, of which F1 asks; the frequent one would have an F1 of 0."""
    labels = np.array([0] * 12 + [1] * 8)
    rows = EncodedExamples(np.zeros(20, np.int32), None, np.arange(21), labels)
    for metrics, name, score in ((["f1", "accuracy"], "spam", 4 / 7), (["accuracy"], "ham", 0.6)):
        task = {"text": "text", "labels": ["ham", "spam"], "metrics": metrics}
        found = baseline(load_spec("mine", {"mine": task}), [rows], {"validation": rows})
        assert found is not None and found["name"] == f"always {name}"
        assert next(iter(found["scores"].values())) == pytest.approx(score)
