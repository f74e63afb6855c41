"""What a model says of the words of a text: tags, entities, probabilities."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.examples import Examples
from kdnas.tasks.tagging.entities import Entity, Tag
from kdnas.tasks.tagging.words import RUN, WORDS_IN_RUN, split_words

ONNX_LOOP = """\
from bisect import bisect

from tokenizers import Regex, pre_tokenizers

labels = {labels}
# Words are what stands between spaces, without the marks at its ends.
split, runs = pre_tokenizers.Split, Regex(r"{run}")
in_run = Regex(
{in_run}
)
words = pre_tokenizers.Sequence([split(runs, "removed", invert=True), split(in_run, "isolated")])
for text, row, scores in zip(texts, rows, logits):
    spans = [span for _, span in words.pre_tokenize_str(text)]
    ends = [end for _, end in spans]
    entities, last, part = [], -1, "O"  # of each: [type, first character, the one behind]
    behind = [*[(start, chunk) for (start, _), chunk in zip(row.offsets, row.word_ids)][1:], None]
    for (start, end), chunk, then, tag in zip(row.offsets, row.word_ids, behind, scores.argmax(-1)):
        word = bisect(ends, start)  # the one that the piece is of: its first piece has its tag
        if chunk is None or word == len(spans) or word <= last:
            continue
        if end <= spans[word][0] and then != (spans[word][0], chunk):
            continue  # a space, and no mark of the word that the next piece begins
        before, last = part if word == last + 1 else "O", word
        part, _, kind = labels[tag].partition("-")
        if before in "BI" and part in "IE" and entities[-1][0] == kind:
            entities[-1][2] = ends[word]
        elif part != "O":
            entities.append([kind, *spans[word]])
    print([(kind, text[start:end]) for kind, start, end in entities])"""


def onnx_code(tags: Sequence[Tag]) -> str:
    """Python lines that print the entities in the arrays `logits`, by the tags of the outputs."""
    return ONNX_LOOP.format(
        labels=json.dumps([tag.word for tag in tags], ensure_ascii=False),
        run=RUN,
        in_run="\n".join(f'    r"{one}"' for one in WORDS_IN_RUN),
    )


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
