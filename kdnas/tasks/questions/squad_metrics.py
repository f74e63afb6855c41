"""Exact match and F1 of answers, by the rules of SQuAD's official scripts.

Rajpurkar et al. 2016, SQuAD: 100,000+ Questions for Machine Comprehension of Text, section 6.1, and
Rajpurkar et al. 2018, Know What You Don't Know: Unanswerable Questions for SQuAD. An answer is a
string, empty for "no answer"; the references of a question are a tuple of strings, empty where it
has no answer.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)

References = tuple[str, ...]


@lru_cache(maxsize=1 << 18)
def plain_answer(text: str) -> str:
    """What answers are compared by: small letters, no ASCII punctuation, no articles, one space.

    Golden: 'The  Eiffel-Tower!' -> 'eiffeltower'; 'a' -> ''.
    """
    bare = _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION))
    return " ".join(bare.split())


def exact(answer: str, reference: str) -> float:
    """1 where both are the same but for what `plain_answer` takes away, else 0."""
    return float(plain_answer(answer) == plain_answer(reference))


def overlap(answer: str, reference: str) -> float:
    """F1 of the words of both; where one has none: whether neither has one.

    Golden: 'in the year 1889' and '1889' -> 0.5.
    """
    ours, theirs = plain_answer(answer).split(), plain_answer(reference).split()
    if not ours or not theirs:
        return float(ours == theirs)
    if ours == theirs:
        return 1.0
    same = sum((Counter(ours) & Counter(theirs)).values())
    if not same:
        return 0.0
    precision, recall = same / len(ours), same / len(theirs)
    return 2 * precision * recall / (precision + recall)


def against(score: Callable[[str, str], float], answer: str, references: Sequence[str]) -> float:
    """The best score against any reference; without one, whether there is no answer.

    References of which nothing is left do not count, unless none else is there.
    """
    there = [one for one in references if plain_answer(one)] or [""]
    return max(score(answer, one) for one in there)


def counts_of(
    score: Callable[[str, str], float], answered: bool | None = None
) -> Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float64]]:
    """The counts of a metric: each question's score, and 1; shape (rows, 2).

    Args:
        score: Of an answer and one reference.
        answered: Whether questions count that have an answer, or those that have none; None: all.
    """

    def counts(predicted: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
        found = np.zeros((len(truth), 2))
        for row, (answer, references) in enumerate(zip(predicted, truth, strict=True)):
            if answered is None or answered == has_answer(references):
                found[row] = against(score, answer, references), 1
        return found

    return counts


def has_answer(references: Sequence[str]) -> bool:
    """Whether a question has an answer, as the official script tells."""
    return len(references) > 0


def best_threshold(gains: NDArray[np.float64], doubts: NDArray[np.float64]) -> float:
    """The doubt above which "no answer" is the better answer, on some questions.

    Args:
        gains: Shape (rows,): what "no answer" scores more than the best answer does.
        doubts: Shape (rows,): the score of "no answer" less that of the best answer.

    Returns:
        Between two doubts, or beyond all: where the total is highest; of equals, the highest.
    """
    order = np.argsort(doubts, kind="stable")
    doubts, gains = doubts[order], gains[order]
    # `total[k]`: all but the k least doubtful questions are said to have no answer.
    total = np.append(np.cumsum(gains[::-1])[::-1], 0.0)
    between = np.concatenate([doubts[:1] - 1, (doubts[:-1] + doubts[1:]) / 2, doubts[-1:] + 1])
    # Between equal doubts there is no threshold.
    total[1:-1][np.diff(doubts) <= 0] = -np.inf
    return float(between[len(total) - 1 - int(total[::-1].argmax())])
