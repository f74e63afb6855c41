"""What a model says of the words of a text: tags, entities, probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.examples import Examples
from kdnas.tasks.tagging.entities import Entity
from kdnas.tasks.tagging.words import split_words

ONNX_LOOP = """\
labels = {labels}
for text, row, scores in zip(texts, rows, logits):
    entities, word, part = [], None, "O"  # of each: [type, first character, the one behind]
    for number, (start, end), tag in zip(row.word_ids, row.offsets, scores.argmax(-1)):
        if number is None or start == end:
            continue  # special tokens and padding belong to no word
        if number != word:  # the first piece of a word has its tag
            word, before, (part, _, kind) = number, part, labels[tag].partition("-")
            goes_on = before in "BI" and part in "IE" and entities[-1][0] == kind
            if part != "O" and not goes_on:
                start += len(text[start:end]) - len(text[start:end].lstrip())
                entities.append([kind, start, end])
        if part != "O":
            entities[-1][2] = end
    print([(kind, text[start:end]) for kind, start, end in entities])"""


class Sentence(NamedTuple):
    """What decoding and scoring read of a text.

    Attributes:
        text: As offsets count its characters.
        ends: First character of each word and the one behind it, word after word.
        tags: Their ids; None without labels.
        outside: The id of O; -1 where it is not known.
    """

    text: str
    ends: tuple[int, ...]
    tags: tuple[int, ...] | None
    outside: int

    @property
    def words(self) -> list[tuple[int, int]]:
        return list(zip(self.ends[::2], self.ends[1::2], strict=True))


def words_of(examples: Examples, row: int) -> list[str]:
    text = examples.text[row]
    spans = split_words(text) if examples.words is None else examples.words[row]
    return [text[start:end] for start, end in spans]


def tagged_words(
    logits: NDArray[Any], data: EncodedExamples
) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
    """The tag id of each word of each example, and its probability: by its first piece."""
    from scipy.special import softmax

    assert data.spans is not None and data.references is not None
    odds = softmax(np.asarray(logits, np.float64), axis=-1)
    ids, best, ends = odds.argmax(-1), odds.max(-1, initial=0.0), data.unit_offsets
    for i, sentence in enumerate(data.references):
        units = slice(ends[i], ends[i + 1])
        words = data.spans[units, 0]
        first = np.diff(words, prepend=-1) > 0
        row = np.full(len(sentence.words), sentence.outside)
        sure = np.ones(len(row))
        row[words[first]], sure[words[first]] = ids[units][first], best[units][first]
        yield tuple(row.tolist()), sure


def word_probabilities(
    logits: NDArray[Any], labels: Sequence[str], data: EncodedExamples
) -> list[dict[str, Any]]:
    """The words of each text, and the probability of each tag for each of them."""
    from scipy.special import softmax

    assert data.spans is not None and data.references is not None
    odds, ends = softmax(np.asarray(logits, np.float64), axis=-1), data.unit_offsets
    found = []
    for i, sentence in enumerate(data.references):
        units = slice(ends[i], ends[i + 1])
        words = data.spans[units, 0]
        first = np.diff(words, prepend=-1) > 0
        shares = np.eye(len(labels))[[max(0, sentence.outside)] * len(sentence.words)]
        shares[words[first]] = odds[units][first]
        found.append(
            {
                "words": [sentence.text[start:end] for start, end in sentence.words],
                "probabilities": [dict(zip(labels, row.tolist(), strict=True)) for row in shares],
            }
        )
    return found


def in_text(one: Entity, sentence: Sentence) -> dict[str, Any]:
    """An entity's type, text and characters."""
    words = sentence.words[one.start : one.end]
    start, end = words[0][0], words[-1][1]
    return {"type": one.type, "text": sentence.text[start:end], "start": start, "end": end}
