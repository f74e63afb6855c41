"""The words of a plain text, for tasks whose labels belong to words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from kdnas.tasks.encode import TokenPlaces
from kdnas.tasks.examples import Spans as Places

Span = tuple[int, int]

# Thai, Lao, Tibetan, Burmese, Khmer; kana and Chinese characters.
UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff"
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff"
)
_RUNS = re.compile(r"\S+")
_CHARACTERS = re.compile(f"[{UNSPACED}]|[^{UNSPACED}]+")
# Endings of English words that stand alone in tokenised text.
_CLITIC = re.compile("['\u2019](?:s|m|d|t|re|ve|ll)", re.IGNORECASE)
_GENITIVES = ("'s", "\u2019s", "'S", "\u2019S")
_OF_NAMES = "@#$"  # they stay before a word: names and tags of social media, prices


def _words_in_run() -> tuple[str, ...]:
    mark = r"[\p{P}\p{S}&&[^_]]"
    quote = r"['\x{2019}]"
    ending = f"(?:{quote}[sS]|{mark})"
    before = rf"(?<![^\p{{P}}\p{{S}}]{mark}*|_{mark}*)"
    behind = rf"(?=(?>{ending}*)\z)"
    unspaced = "".join(c if c == "-" else rf"\x{{{ord(c):x}}}" for c in UNSPACED)
    return (
        # Endings that stand alone, and marks before a word but for those that stay there.
        rf"{before}{quote}(?i:s|m|d|t|re|ve|ll)\z",
        rf"|{before}(?![{_OF_NAMES}][\p{{L}}\p{{N}}])({mark})\1*",
        # Behind it genitives and marks.
        rf"|{quote}[sS]{behind}|({mark})\2*{behind}",
        # The word, or a character of scripts without spaces.
        rf"|(?:(?!(?>{ending}+)\z)[^{unspaced}])+|.",
    )


# `split_words` for programs without kdnas, as expressions of the package tokenizers (`Regex`): what
# stands between spaces, and the alternatives that part it. A run of more than 999 characters is
# cut, since the time for it grows with its square.
RUN = r"\S{1,999}"
WORDS_IN_RUN = _words_in_run()


def split_words(text: str) -> Places:
    """Where the words of a text are, shape (words, 2): what stands between spaces.

    Punctuation at its ends and an English 's are words of their own, as are the characters of
    scripts without spaces.

    Golden: `"Hi," (Ann's)...` -> `"` `Hi` `,` `"` `(` `Ann` `'s` `)` `...`; `U.S.-made` is whole.
    """
    found, spaced = list[Span](), text.isascii()
    for run in _RUNS.finditer(text):
        start, end = run.span()
        before, start = _peeled_before(text, start, end)
        behind, end = _peeled_behind(text, start, end)
        inside = [(start, end)] if start < end else []
        if not spaced:
            inside = [part.span() for part in _CHARACTERS.finditer(text, start, end)]
        found += [*before, *inside, *reversed(behind)]
    return np.array(found, np.int64).reshape(-1, 2)


def _peeled_before(text: str, start: int, end: int) -> tuple[list[Span], int]:
    """Runs of a punctuation mark before a word, and where the word begins."""
    found: list[Span] = []
    while start < end and _is_mark(text[start]):
        named = text[start] in _OF_NAMES and text[start + 1 : end][:1].isalnum()
        if named or _CLITIC.fullmatch(text, start, end):
            break
        to = start
        while to < end and text[to] == text[start]:
            to += 1
        found.append((start, to))
        start = to
    return found, start


def _peeled_behind(text: str, start: int, end: int) -> tuple[list[Span], int]:
    """Runs of a punctuation mark behind a word, and 's, the last first; where the word ends."""
    found: list[Span] = []
    while start < end and not _CLITIC.fullmatch(text, start, end):
        to = end
        if text.endswith(_GENITIVES, start, end):
            to = end - 2
        else:
            while to > start and text[to - 1] == text[end - 1] and _is_mark(text[to - 1]):
                to -= 1
        if to == end:
            break
        found.append((to, end))
        end = to
    return found, end


def _is_mark(character: str) -> bool:
    """Whether it is punctuation or a symbol; marks of letters, such as vowel signs, are not."""
    return unicodedata.category(character)[0] in "PS" and character != "_"


def joined_words(words: Sequence[str]) -> tuple[str, Places]:
    """Words as a text with a space between them, and where they are, shape (words, 2).

    Golden: ['New', 'York'] -> 'New York', [[0, 3], [4, 8]].
    """
    ends = np.cumsum([len(word) + 1 for word in words], dtype=np.int64) - 1
    lengths = np.array([len(word) for word in words], np.int64)
    return " ".join(words), np.stack([ends - lengths, ends], axis=-1)


def piece_words(tokens: TokenPlaces, spans: Places) -> np.ndarray:
    """The word that each of a text's tokens belongs to, shape (tokens,); -1 where to none.

    A token that only marks the space before a word (a lone `▁`) is the word's, as it is in the
    tokenizer's `word_ids()` of words given one by one.

    Args:
        tokens: Some tokenizers count the space before a word as the token's.
        spans: Shape (words, 2), ascending.
    """
    offsets, chunks = tokens
    full = np.flatnonzero(spans[:, 1] > spans[:, 0])
    starts, ends = offsets[:, 0], offsets[:, 1]
    if not len(full):
        return np.full(len(offsets), -1)
    at = np.searchsorted(spans[full, 1], starts, side="right")
    words = full[np.minimum(at, len(full) - 1)]
    inside = (at < len(full)) & (spans[words, 0] < ends) & (starts >= 0)
    found = np.where(inside, words, -1)
    # A space that the tokenizer parts from the word (another chunk) is a token of its own.
    begins, same = inside & (starts == spans[words, 0]), chunks[:-1] == chunks[1:]
    marks = np.flatnonzero(~inside[:-1] & (chunks[:-1] >= 0) & same & begins[1:])
    found[marks] = found[marks + 1]
    return found
