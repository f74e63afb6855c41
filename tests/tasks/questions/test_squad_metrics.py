"""SQuAD's metrics: against a plain implementation of the official rules, on stored predictions."""

from __future__ import annotations

import gzip
import json
import re
import string
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdnas.errors import KdnasError
from kdnas.tasks.comparison import difference, share_kept
from kdnas.tasks.metrics import Answers, metrics_of, score_intervals, task_score
from kdnas.tasks.questions.squad_metrics import (
    against,
    best_threshold,
    exact,
    overlap,
    plain_answer,
)
from kdnas.tasks.registry import load_spec
from kdnas.tasks.types import TASK_TYPES
from kdnas.tasks.types.values import object_rows

METRICS = TASK_TYPES["question-answering"].metrics
STORED = Path(__file__).parent / "squad_predictions.json.gz"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The  Eiffel-Tower!", "eiffeltower"),
        ("a", ""),
        ("an apple a day", "apple day"),
        ("Theatre of the\u00a0Absurd", "theatre of absurd"),
        ("$1,000.50", "100050"),
        ("", ""),
    ],
)
def test_answers_are_compared_without_case_punctuation_articles_and_spaces(
    text: str, plain: str
) -> None:
    assert plain_answer(text) == plain


@pytest.mark.parametrize(
    ("answer", "reference", "f1"),
    [
        ("in the year 1889", "1889", 0.5),
        ("1889", "1889", 1.0),
        ("dog dog", "dog", 2 / 3),
        ("cat", "dog", 0.0),
        ("the", "a", 1.0),
        ("the", "dog", 0.0),
    ],
)
def test_words_that_two_answers_share(answer: str, reference: str, f1: float) -> None:
    assert overlap(answer, reference) == pytest.approx(f1)


def test_the_best_reference_counts() -> None:
    assert against(exact, "Denver Broncos", ("Broncos", "the Denver Broncos")) == 1
    assert against(overlap, "", ()) == 1
    assert against(overlap, "Denver", ()) == 0
    assert against(overlap, "", ("Denver",)) == 0
    assert against(exact, "", ("the", "Denver")) == 0  # a reference of which nothing is left


def reference_scores(answer: str, golds: list[str]) -> tuple[float, float]:
    """Exact match and F1 as the official script of SQuAD 2.0 describes them, step by step."""

    def normalise(text: str) -> str:
        text = "".join(ch for ch in text.lower() if ch not in set(string.punctuation))
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", text, flags=re.UNICODE).split())

    golds = [gold for gold in golds if normalise(gold)] or [""]
    f1s = []
    for gold in golds:
        ours, theirs = normalise(answer).split(), normalise(gold).split()
        common = sum((Counter(ours) & Counter(theirs)).values())
        if not ours or not theirs:
            f1s.append(float(ours == theirs))
        elif not common:
            f1s.append(0.0)
        else:
            precision, recall = common / len(ours), common / len(theirs)
            f1s.append(2 * precision * recall / (precision + recall))
    return max(float(normalise(answer) == normalise(gold)) for gold in golds), max(f1s)


@pytest.fixture(scope="module")
def stored() -> list[dict[str, Any]]:
    """500 questions of SQuAD's kind: an answer and the references of each."""
    with gzip.open(STORED, "rt", encoding="utf-8") as file:
        found: list[dict[str, Any]] = json.load(file)
    assert len(found) == 500
    return found


def test_scores_of_stored_predictions_are_the_official_ones(stored: list[dict[str, Any]]) -> None:
    answers = np.array([one["answer"] for one in stored], object)
    golds = TASK_TYPES["question-answering"].as_rows([one["references"] for one in stored])
    each = [reference_scores(one["answer"], one["references"]) for one in stored]
    has = np.array([bool(one["references"]) for one in stored])
    assert 0 < has.sum() < len(has)
    exacts, f1s = np.array(each).T
    expected = {
        "exact_match": exacts.mean(),
        "f1": f1s.mean(),
        "exact_has_answer": exacts[has].mean(),
        "f1_has_answer": f1s[has].mean(),
        "exact_no_answer": exacts[~has].mean(),
        "f1_no_answer": f1s[~has].mean(),
    }
    for name, value in expected.items():
        assert METRICS[name](answers, golds) == pytest.approx(value, abs=1e-9), name


def test_scores_are_those_of_transformers(stored: list[dict[str, Any]]) -> None:
    squad = pytest.importorskip("transformers.data.metrics.squad_metrics")
    for one in stored:
        golds = [gold for gold in one["references"] if squad.normalize_answer(gold)] or [""]
        f1 = max(squad.compute_f1(gold, one["answer"]) for gold in golds)
        assert against(overlap, one["answer"], one["references"]) == pytest.approx(f1, abs=1e-9)


def test_resamples_are_scored_at_once() -> None:
    golds = TASK_TYPES["question-answering"].as_rows([["x y"], [], ["z"]])
    of_rows = METRICS["f1"].on(np.array(["x", "", "q"], object), golds)
    assert of_rows(np.array([[0, 0, 1], [2, 2, 2]])) == pytest.approx([(4 / 3 + 1) / 3, 0])
    none = METRICS["f1_no_answer"].on(np.array(["x", "", "q"], object), golds)
    assert none(np.array([[0, 1, 2], [0, 2, 2]])) == pytest.approx([1, np.nan], nan_ok=True)


def test_the_threshold_is_where_most_is_gained() -> None:
    gains, doubts = np.array([1.0, -1, 1, -0.5]), np.array([3.0, -2, 5, 1])
    assert best_threshold(gains, doubts) == 2.0  # the two most doubtful ones have no answer
    assert best_threshold(-np.ones(3), np.array([1.0, 2, 3])) == 4.0
    assert best_threshold(np.ones(3), np.array([1.0, 2, 3])) == 0.0
    rng = np.random.default_rng(0)
    gains, doubts = rng.choice([-1.0, -0.4, 0, 1], 60), rng.integers(-9, 9, 60) / 2
    best = max(gains[doubts > t].sum() for t in np.arange(-6, 6, 0.25))
    assert gains[doubts > best_threshold(gains, doubts)].sum() == pytest.approx(best)


def test_metrics_of_no_question_are_not_told() -> None:
    spec = load_spec("squad2")
    truth = object_rows([["a"], ["b"], ["c"], ["d"]])
    found = Answers(object_rows(["a", "b", "c", "x"]), truth)
    scores = metrics_of(spec, found)
    assert set(scores) == {"f1", "exact_match", "f1_has_answer", "exact_has_answer"}
    assert set(score_intervals(spec, found)) == set(scores)
    assert task_score(spec, scores) == 0.75
    lone = spec.changed(metrics=("f1_no_answer",))
    assert metrics_of(lone, found) == {}
    with pytest.raises(KdnasError, match="no row of validation is one that 'f1_no_answer' is abo"):
        task_score(lone, {})
    rows = {"validation": {"predicted": ["a"] * 4, "truth": truth.tolist()}}
    assert difference(lone, rows, rows) is None and share_kept(lone, rows, rows) is None


def test_resamples_without_such_a_question_do_not_count() -> None:
    spec = load_spec("squad2").changed(metrics=("f1_no_answer",))
    truth = object_rows([["a"], ["b"], ["c"], []])
    found = Answers(object_rows(["a", "b", "c", ""]), truth)  # a third of resamples lacks the last
    assert metrics_of(spec, found) == {"f1_no_answer": 1.0}
    assert score_intervals(spec, found) == {"f1_no_answer": (1.0, 1.0)}
    ours, theirs = (
        {"validation": {"predicted": ["a", "b", "c", said], "truth": truth.tolist()}}
        for said in ("", "x")
    )
    apart = difference(spec, ours, theirs)
    assert apart is not None and apart[:2] == (1.0, (1.0, 1.0))
