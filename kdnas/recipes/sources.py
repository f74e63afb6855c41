"""What augmentations make new rows of: a task's texts, the teacher's words, a corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kdnas.recipes.similar_texts import CHUNK, best_columns, near
from kdnas.recipes.words import Span, is_plain_word, is_unspaced, word_spans
from kdnas.teachers.masked_lm import MaskedLM

NEAREST_WORDS = 8
MOST_WORDS = 20_000
MOST_TEXTS = 50_000
T = TypeVar("T")
Row = tuple[str, str | None]
Random = np.random.Generator


@dataclass
class Sources:
    """What new rows are made of.

    Attributes:
        rows: The task's texts, one or two a row.
        tokenizer: The teacher's.
        table: Shape (vocabulary, size): the teacher's word embeddings.
        corpus: Unlabelled texts; may be empty.
        drawn: Most rows that will be made.
        alike: Whether both texts of a row are of one kind, so that either may come first.
        masked_lm: That of the teacher's checkpoint, where it has one and it is asked for.
        refilled: Rows that it filled in and that were not taken yet: many are made at a time.
    """

    rows: list[Row]
    tokenizer: Any
    table: NDArray[np.float32]
    corpus: list[str] = field(default_factory=list)
    drawn: int = 0
    alike: bool = True
    masked_lm: MaskedLM | None = None
    refilled: list[Row] = field(default_factory=list)

    @property
    def pairs(self) -> bool:
        """Whether rows have two texts."""
        return self.rows[0][1] is not None

    @cached_property
    def near_texts(self) -> list[tuple[str, list[str]]]:
        """Texts of the task, each with the most similar others; so few that it takes minutes."""
        return self._near(list(dict.fromkeys(text for row in self.rows for text in row if text)))

    @cached_property
    def near_seconds(self) -> list[tuple[str, list[str]]]:
        """First texts of rows, each with the second texts most similar to its own."""
        first = {second: first for first, second in self.rows if second}
        found = dict(self._near(list(first)))
        return [(text, found[own]) for text, own in self.rows if own in found]

    @cached_property
    def near_corpus(self) -> list[tuple[str, list[str]]]:
        """The same for texts of the corpus, among the corpus."""
        return self._near(self.corpus)

    def _near(self, texts: list[str]) -> list[tuple[str, list[str]]]:
        pool = _some(texts, MOST_TEXTS)
        found = near(_some(pool, 2 * self.drawn), pool)
        return [(text, others) for text, others in found.items() if others]

    @cached_property
    def near_words(self) -> dict[str, list[str]]:
        """For each common word of the task that is one token, the words nearest in the table."""
        counts = Counter(w for row in self.rows for text in row if text for w in self.words(text))
        common = sorted(counts, key=lambda w: (-counts[w], w))[:MOST_WORDS]
        single = self._single_tokens([word for word in common if is_plain_word(word)])
        words = list(single)
        if len(words) < 2:
            return {}
        vectors = self.table[[single[word] for word in words]]
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
        near = {}
        for start in range(0, len(words), CHUNK):
            likeness = vectors[start : start + CHUNK] @ vectors.T
            for word, best in zip(
                words[start:], best_columns(likeness, NEAREST_WORDS + 1), strict=False
            ):
                near[word] = [words[i] for i in best if words[i].lower() != word.lower()]
        return near

    @cached_property
    def known_words(self) -> dict[str, int]:
        """The words that are one token of the vocabulary, and that the masked LM has learnt."""
        assert self.masked_lm is not None, "who asks for them fills in masks"
        tokenizer, known = self.tokenizer, self.masked_lm.known
        ids = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
        words = dict.fromkeys(tokenizer.decode([i]).strip() for i in ids)
        single = self._single_tokens([word for word in words if word and is_plain_word(word)])
        return {word: token for word, token in single.items() if token < known}

    def spans(self, text: str) -> list[Span]:
        """Where the words of a text are."""
        return word_spans(text, self.tokenizer)

    def words(self, text: str) -> list[str]:
        """The words of a text."""
        return [text[start:end] for start, end in self.spans(text)]

    def _single_tokens(self, words: list[str]) -> dict[str, int]:
        """The token of each word that is one of the tokenizer's, as inside a text."""
        if not words:
            return {}
        texts = [word if is_unspaced(word) else f" {word}" for word in words]
        encoded = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        # Not words: the unknown token, and the space that sentencepiece puts before a text.
        none = {self.tokenizer.unk_token_id, self.tokenizer.convert_tokens_to_ids("\u2581")}
        none -= {None}
        space = none - {self.tokenizer.unk_token_id}
        found = {}
        for word, ids in zip(words, encoded, strict=True):
            own = [i for i in ids if i not in space]
            if len(own) == 1 and own[0] not in none:
                found[word] = own[0]
        return found


def _some(texts: list[str], count: int) -> list[str]:
    """At most `count` texts, drawn at random, always the same."""
    if len(texts) <= count:
        return texts
    return [texts[i] for i in np.random.default_rng(0).choice(len(texts), count, replace=False)]


def rewritten(
    sources: Sources, text: str, share: float, rng: Random, another: Callable[[str], str | None]
) -> str:
    """A text with a share of its words replaced; a word for which there is no other stays."""
    spans = sources.spans(text)
    chosen = rng.random(len(spans)) < share
    parts, done = [], 0
    for (start, end), hit in zip(spans, chosen, strict=True):
        word = text[start:end]
        parts += [text[done:start], (another(word) or word) if hit else word]
        done = end
    return "".join([*parts, text[done:]])


def pick(items: list[T], rng: Random) -> T:
    return items[int(rng.integers(len(items)))]
