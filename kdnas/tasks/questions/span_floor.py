"""The floor of question answering: a short span beside the question's words in its context.

After the sliding-window baseline of Richardson et al. 2013, MCTest, which SQuAD's paper reports,
too: sentences are ranked by the rare words that they share with the question, and of the best one
the run of other words that fits the question word and is nearest to the shared ones is taken.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

NAME = "word overlap, short span"
MOST_WORDS = 5  # of an answer

_WORD = re.compile(r"\w+(?:[-.,'\u2019]\w+)*")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])")
_NUMBER = re.compile(r"\d")
# Words that say little.
_STOP = re.compile(
    "a|an|the|of|in|on|at|to|for|by|with|from|as|and|or|but|nor|not|no|if|so|such|than|then|there|"
    "is|are|was|were|be|been|being|has|have|had|do|does|did|can|could|may|might|will|would|should|"
    "this|that|these|those|it|its|he|she|his|her|him|they|them|their|we|our|you|your|i|"
    "who|whom|whose|which|what|when|where|why|how|many|much|also|into|after|before|during|between|"
    "about|over|under|while"
)
_OF_NUMBERS = re.compile(
    r"\b(when|how many|how much|how long|how old|what year|which year)\b", re.I
)
_OF_NAMES = re.compile(r"\b(who|whom|whose|where|which|what (city|country|person|company))\b", re.I)


class _Word(NamedTuple):
    text: str
    start: int
    end: int

    @property
    def plain(self) -> str:
        return self.text.lower()


def answers_by_overlap(
    train_contexts: Sequence[str],
) -> Callable[[Sequence[str], Sequence[str]], list[str]]:
    """A function of questions and contexts to answers; it knows how rare words are in training.

    The answer is empty where the context has no word.
    """
    documents = list(dict.fromkeys(train_contexts))
    counts = Counter(word for text in documents for word in {w.plain for w in _words(text)})

    def weight(word: str) -> float:
        return 0.0 if _STOP.fullmatch(word) else math.log((1 + len(documents)) / (1 + counts[word]))

    def answer(questions: Sequence[str], contexts: Sequence[str]) -> list[str]:
        sentences = {text: _sentences(text) for text in dict.fromkeys(contexts)}
        pairs = zip(questions, contexts, strict=True)
        return [_answer(question, text, sentences[text], weight) for question, text in pairs]

    return answer


def _answer(
    question: str, context: str, sentences: list[list[_Word]], weight: Callable[[str], float]
) -> str:
    asked = {word.plain for word in _words(question)}
    weights = {word: weight(word) for word in asked}

    def shared(sentence: list[_Word]) -> float:
        return sum(weights[plain] for plain in {w.plain for w in sentence} & asked)

    for sentence in sorted(sentences, key=shared, reverse=True):
        spans = _spans(sentence, asked)
        if spans:
            first, last = max(
                spans, key=lambda span: _fit(question, sentence, asked, span, weights)
            )
            return context[sentence[first].start : sentence[last].end]
    return ""


def _spans(sentence: list[_Word], asked: set[str]) -> list[tuple[int, int]]:
    """Runs of words that are neither the question's nor mean little, at most MOST_WORDS each."""
    spans: list[tuple[int, int]] = []
    begin = None
    for place, word in enumerate([*sentence, None]):
        inside = word is not None and word.plain not in asked and not _STOP.fullmatch(word.plain)
        if inside and begin is None:
            begin = place
        if begin is not None and (not inside or place - begin == MOST_WORDS):
            spans.append((begin, place - 1))
            begin = place if inside else None
    return spans


def _fit(
    question: str,
    sentence: list[_Word],
    asked: set[str],
    span: tuple[int, int],
    weights: dict[str, float],
) -> float:
    """How well a span fits: its kind counts most, then how near the question's words are."""
    first, last = span
    words = sentence[first : last + 1]
    kind = 0.0
    if _OF_NUMBERS.search(question):
        kind = float(any(_NUMBER.search(word.text) for word in words))
    elif _OF_NAMES.search(question):
        kind = float(all(word.text[0].isupper() for word in words)) * (1 + 0.1 * len(words))
    near = sum(
        weights[word.plain] / (first - place if place < first else place - last)
        for place, word in enumerate(sentence)
        if word.plain in asked
    )
    return 10 * kind + near


def _sentences(text: str) -> list[list[_Word]]:
    found, begin = list[list[_Word]](), 0
    for end in (*(match.end() for match in _SENTENCE.finditer(text)), len(text)):
        words = [_Word(w.text, w.start + begin, w.end + begin) for w in _words(text[begin:end])]
        found += [words] if words else []
        begin = end
    return found


def _words(text: str) -> list[_Word]:
    return [_Word(match[0], match.start(), match.end()) for match in _WORD.finditer(text)]
