"""Augmentations: new rows from a task's texts; none needs a model that a run does not have.

Masked words and spans after Tang et al. 2019, Distilling Task-Specific Knowledge from BERT into
Simple Neural Networks; replaced words after Jiao et al. 2020, TinyBERT, with the teacher's own word
embeddings in place of GloVe, and its checkpoint's masked-LM head where it has one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor

from kdnas.recipes.words import TOKEN_PATTERN, Span, is_plain_word, is_unspaced, word_spans
from kdnas.teachers.masked_lm import MaskedLM

MASKED = 0.15
REPLACED = 0.25
SHORTEST_SPAN = 0.4
NEAREST = 5
NEAREST_WORDS = 8
# Rows whose masked words are predicted at a time.
REFILLED = 64
MOST_WORDS = 20_000
MOST_TEXTS = 50_000
CHUNK = 256
BLOCK = 4096
# Words in more than a tenth of many texts say little and cost most of the time.
MANY_TEXTS = 1000
FREQUENT = 0.1
T = TypeVar("T")
Row = tuple[str, str | None]
Pair = tuple[str, str]
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
    """

    rows: list[Row]
    tokenizer: Any
    table: NDArray[np.float32]
    corpus: list[str] = field(default_factory=list)
    drawn: int = 0
    alike: bool = True
    masked_lm: MaskedLM | None = None
    _refilled: list[Row] = field(default_factory=list)

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
            for word, best in zip(words[start:], _best(likeness, NEAREST_WORDS + 1), strict=False):
                near[word] = [words[i] for i in best if words[i].lower() != word.lower()]
        return near

    @cached_property
    def _known_words(self) -> dict[str, int]:
        """The words that are one token of the vocabulary."""
        tokenizer = self.tokenizer
        ids = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
        words = dict.fromkeys(tokenizer.decode([i]).strip() for i in ids)
        return self._single_tokens([word for word in words if word and is_plain_word(word)])

    def refilled(self, rng: Random) -> Row | None:
        """A row with some words replaced by the masked LM; many are made at a time."""
        if not self._refilled:
            self._refilled = self._refill([_pick(self.rows, rng) for _ in range(REFILLED)], rng)
        return self._refilled.pop() if self._refilled else None

    def _refill(self, rows: list[Row], rng: Random) -> list[Row]:
        """Rows in which some words were masked, all at once, and predicted."""
        assert self.masked_lm is not None
        words, mask = list(self._known_words), self.tokenizer.mask_token
        if not words:
            return []
        hit: list[list[str]] = []
        masked: list[str] = []

        def hide(text: str) -> str:
            own: list[str] = []

            def masking(word: str) -> str:
                own.append(word)
                return str(mask)

            # A mask of the text's own is not ours to fill.
            share = 0.0 if mask in text else MASKED
            hit.append(own)
            masked.append(_rewritten(self, text, share, rng, masking))
            return masked[-1]

        hidden = [(hide(first), None if second is None else hide(second)) for first, second in rows]
        logits = self.masked_lm.logits(masked, list(self._known_words.values()))
        filled = iter(
            _filled(text, mask, own, found, words, rng)
            for text, own, found in zip(masked, hit, logits, strict=True)
        )
        return [(next(filled), None if second is None else next(filled)) for _, second in hidden]

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


def near(asked: Sequence[str], pool: Sequence[str]) -> dict[str, list[str]]:
    """For each text the most similar others of a pool, by TF-IDF."""
    if len(pool) < 2 or not asked:
        return {}
    vectoriser = _vectoriser(FREQUENT if len(pool) > MANY_TEXTS else 1.0)
    try:
        vectors = vectoriser.fit_transform(pool)
    except ValueError:  # every word is a frequent one
        vectoriser = _vectoriser(1.0)
        vectors = vectoriser.fit_transform(pool)
    queries = vectoriser.transform(asked)
    found = {}
    for start in range(0, len(asked), CHUNK):
        likeness = (queries[start : start + CHUNK] @ vectors.T).toarray()
        for text, row in zip(asked[start:], likeness, strict=False):
            best = _best(row[None], NEAREST + 1)[0]
            found[text] = [pool[i] for i in best if row[i] > 0 and pool[i] != text]
    return found


def _vectoriser(most: float) -> TfidfVectorizer:
    return TfidfVectorizer(
        sublinear_tf=True, token_pattern=TOKEN_PATTERN, max_df=most, dtype=np.float32
    )


def _best(likeness: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Columns of the largest values of each row, the largest first."""
    count = min(count, likeness.shape[1])
    best = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(likeness, best, 1), axis=1, kind="stable")
    return np.take_along_axis(best, order, 1)


def similar_pairs(texts: list[str], share: float, seed: int = 0) -> tuple[list[str], list[Pair]]:
    """Splits texts, all different, into single ones and pairs of similar ones.

    A general student that reads pairs learns to compare two texts. A share of the texts become the
    first of a pair; similar ones are looked for among `BLOCK` at a time.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(texts))
    alone: list[str] = []
    pairs: list[Pair] = []
    for start in range(0, len(texts), BLOCK):
        block = [texts[i] for i in order[start : start + BLOCK]]
        found = near(block[: round(share * len(block))], block)
        for text in block:
            others = found.get(text)
            if others:
                pairs.append((text, others[int(rng.integers(len(others)))]))
            else:
                alone.append(text)
    return alone, pairs


Augmentation = Callable[[Sources, Random], Row | None]


def swap(sources: Sources, rng: Random) -> Row | None:
    """A pair in the other order."""
    first, second = _pick(sources.rows, rng)
    return None if second is None else (second, first)


def recombine(sources: Sources, rng: Random) -> Row | None:
    """The first text of one row with the second of another."""
    return _pick(sources.rows, rng)[0], _pick(sources.rows, rng)[1]


def neighbours(sources: Sources, rng: Random) -> Row | None:
    """A text with one of those of other rows that are most like it."""
    return _beside_another(sources.near_texts, rng)


def contexts(sources: Sources, rng: Random) -> Row | None:
    """The first text of a row with one of the second texts that are most like its own."""
    return _beside_another(sources.near_seconds, rng)


def mask(sources: Sources, rng: Random) -> Row | None:
    """A row with some words replaced by the mask token; none where no word would remain."""
    mask_token = sources.tokenizer.mask_token
    new = _changed(sources, _pick(sources.rows, rng), MASKED, rng, lambda word: mask_token)
    bare = [not text.replace(mask_token, "").strip() for text in new if text is not None]
    return None if any(bare) else new


def replace(sources: Sources, rng: Random) -> Row | None:
    """A row with some words replaced by others that are near in the teacher's embeddings."""

    def another(word: str) -> str | None:
        near = sources.near_words.get(word)
        return _pick(near, rng) if near else None

    return _changed(sources, _pick(sources.rows, rng), REPLACED, rng, another)


def refill(sources: Sources, rng: Random) -> Row | None:
    """A row with some words masked and predicted by the masked LM of the teacher's checkpoint."""
    return sources.refilled(rng)


def span(sources: Sources, rng: Random) -> Row | None:
    """A row of which one text is cut to some consecutive words."""
    row = _pick(sources.rows, rng)
    side = int(rng.integers(2)) if row[1] is not None else 0
    text = row[side] or ""
    words = sources.spans(text)
    length = int(len(words) * rng.uniform(SHORTEST_SPAN, 1))
    if not 0 < length < len(words):
        return None
    start = int(rng.integers(len(words) - length + 1))
    part = text[words[start][0] : words[start + length - 1][1]]
    return (part, row[1]) if side == 0 else (row[0], part)


def corpus(sources: Sources, rng: Random) -> Row | None:
    """A text of the corpus; for pairs, with one of those that are most like it."""
    if not sources.pairs:
        return _pick(sources.corpus, rng), None
    return _beside_another(sources.near_corpus, rng)


AUGMENTATIONS: dict[str, Augmentation] = {
    make.__name__: make
    for make in (swap, recombine, neighbours, contexts, mask, replace, refill, span, corpus)
}


def obstacle(method: str, sources: Sources) -> str | None:
    """Why an augmentation cannot be used; None where it can."""
    kinds = "the two texts of a row are of different kinds, such as a question and its context"
    closed = (
        (
            method in ("swap", "recombine", "neighbours", "contexts") and not sources.pairs,
            "the task's rows have one text each",
        ),
        (method in ("swap", "neighbours", "corpus") and not sources.alike, kinds),
        (
            method == "contexts" and sources.alike,
            "both texts of a row are of one kind (neighbours pairs those)",
        ),
        (
            method == "mask" and sources.tokenizer.mask_token is None,
            "the teacher's tokenizer has no mask token",
        ),
        (
            method == "refill" and sources.masked_lm is None,
            "the teacher's checkpoint has no masked-LM head",
        ),
        (
            method == "corpus" and len(sources.corpus) < 2,
            "there is no --corpus, or it has a single text",
        ),
    )
    return next((why for is_closed, why in closed if is_closed), None)


def _changed(
    sources: Sources, row: Row, share: float, rng: Random, another: Callable[[str], str | None]
) -> Row:
    first, second = row
    change = partial(_rewritten, sources, share=share, rng=rng, another=another)
    return change(first), None if second is None else change(second)


def _rewritten(
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


def _filled(
    text: str, mask: str, own: list[str], logits: Tensor, words: list[str], rng: Random
) -> str:
    """A text with each mask replaced by one of the likeliest words, or by its own where cut off.

    Args:
        text: With masks.
        mask: The mask token.
        own: The words that stood there.
        logits: Shape (masks, words), without those that were cut off.
        words: What they are the logits of.
        rng: Draws.
    """
    best = logits.topk(min(NEAREST_WORDS + 1, len(words))).indices.tolist()
    for i, word in enumerate(own):
        likely = [words[j] for j in best[i]] if i < len(best) else []
        others = [other for other in likely if other.lower() != word.lower()]
        text = text.replace(mask, _pick(others, rng) if others else word, 1)
    return text


def _beside_another(found: list[tuple[str, list[str]]], rng: Random) -> Row | None:
    if not found:
        return None
    text, others = _pick(found, rng)
    return text, _pick(others, rng)


def _pick(items: list[T], rng: Random) -> T:
    return items[int(rng.integers(len(items)))]
