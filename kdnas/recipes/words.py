"""The words of a text, also of scripts that put no spaces between them."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from kdnas.tasks.tagging.words import UNSPACED

# What TF-IDF takes for words: it knows no tokenizer.
TOKEN_PATTERN = rf"[{UNSPACED}]|[^\s{UNSPACED}]+"
_RUNS = re.compile(rf"[{UNSPACED}]+|[^\s{UNSPACED}]+")
_UNSPACED = re.compile(f"[{UNSPACED}]")
# A run of characters longer than this is no word of any language, and a token of an unspaced script
# longer than that is what the tokenizer does not know.
LONGEST_WORD = 30
LONGEST_TOKEN = 8

Span = tuple[int, int]


def word_spans(text: str, tokenizer: Any) -> list[Span]:
    """Where the words of a text begin and end.

    Words are what stands between spaces. Where a script has none, or a run of characters is too
    long for a word, they are its tokens; what the tokenizer does not know, its characters.
    """
    spans: list[Span] = []
    for run in _RUNS.finditer(text):
        unspaced = _UNSPACED.match(run[0]) is not None
        if unspaced or len(run[0]) > LONGEST_WORD:
            for start, end in _token_spans(run[0], tokenizer):
                part = [(start, end)]
                if unspaced and end - start > LONGEST_TOKEN:
                    part = [(start + a, start + b) for a, b in _characters(run[0][start:end])]
                spans += [(run.start() + a, run.start() + b) for a, b in part]
        else:
            spans.append(run.span())
    return spans


def is_unspaced(word: str) -> bool:
    """Whether a word is of a script that puts no spaces between words."""
    return _UNSPACED.match(word) is not None


def is_plain_word(word: str) -> bool:
    """Whether a word has letters and their marks alone."""
    return all(unicodedata.category(character)[0] in "LM" for character in word)


def _token_spans(run: str, tokenizer: Any) -> list[Span]:
    """Where the tokens of a run are; those that share a character are one."""
    if not tokenizer.is_fast:
        return _characters(run)
    found = tokenizer(run, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    spans: list[Span] = []
    for start, end in found["offset_mapping"]:
        if start == end:
            continue
        if spans and start < spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((start, end))
    return spans


def _characters(run: str) -> list[Span]:
    """Characters with the marks that follow them."""
    starts = [i for i, c in enumerate(run) if i == 0 or unicodedata.category(c)[0] != "M"]
    return list(zip(starts, [*starts[1:], len(run)], strict=True))
