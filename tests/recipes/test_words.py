"""Words of texts with and without spaces between them."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from kdnas.recipes.similar_texts import near
from kdnas.recipes.sources import Sources
from kdnas.recipes.transfer_set import SHARES, fill_transfer_set, rows_of
from kdnas.recipes.words import word_spans
from kdnas.tasks.examples import Examples

SPECIAL = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]"]
LETTERS = {
    "Chinese": "我你他喜欢看电影书很好坏不错的了是在有人",
    "Japanese": "わたしはえいがをみますとてもおもしろいです映画見",
    "Thai": "กขคงจชซดตถทนบปผพมยรลวสหอ",
}


def texts_of(script: str, count: int = 120) -> list[str]:
    rng = random.Random(0)
    letters = LETTERS[script]
    return ["".join(rng.choices(letters, k=rng.randint(5, 20))) for _ in range(count)]


def wordpiece(texts: list[str]) -> Any:
    """As BERT's: spaces around Chinese characters."""
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=80, special_tokens=SPECIAL))
    return with_marks(raw)


def byte_level(texts: list[str]) -> Any:
    """As RoBERTa's: tokens may be parts of a character."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet)
    raw.train_from_iterator(texts, trainer)
    return with_marks(raw)


def metaspace(texts: list[str]) -> Any:
    """As XLM-R's: a whole sentence is one word of the pre-tokenizer."""
    raw = Tokenizer(models.Unigram())
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=90, special_tokens=SPECIAL, unk_token="[UNK]")
    raw.train_from_iterator(texts, trainer)
    return with_marks(raw)


def english(texts: list[str]) -> Any:
    """Knows none of the characters: a whole sentence is one unknown token."""
    return wordpiece(["the good film", "a bad book"])


def with_marks(raw: Any) -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]", mask_token="[MASK]")


MAKERS = (wordpiece, byte_level, metaspace, english)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("script", LETTERS)
def test_a_transfer_set_of_texts_without_spaces_is_full(
    script: str, make: Callable[[list[str]], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    texts = texts_of(script)
    own = Examples(texts, None, np.arange(len(texts)) % 2)
    tokenizer = make(texts)
    vectors = np.random.default_rng(0).normal(size=(len(tokenizer), 8)).astype(np.float32)
    made = fill_transfer_set(own, {}, Sources(rows_of(own), tokenizer, vectors), SHARES, 600, 0)
    assert len(made.examples) == 600 and "[MASK]" not in made.examples.text
    assert made.methods.count("span") > 50 and made.methods.count("mask") > 50
    assert "fewer than" not in capsys.readouterr().out
    for text, method in zip(made.examples.text, made.methods, strict=True):
        if method == "span":
            assert any(text in whole for whole in texts)
        if method == "mask":
            assert len(text.replace("[MASK]", "")) >= 1


def test_words_with_spaces_stay_whole_and_their_spaces_too() -> None:
    tokenizer = wordpiece(["the good film"])
    text = " plain  words, unheard-of\tones "
    spans = word_spans(text, tokenizer)
    assert [text[a:b] for a, b in spans] == ["plain", "words,", "unheard-of", "ones"]
    mixed = "看Python电影。很好"
    found = [mixed[a:b] for a, b in word_spans(mixed, wordpiece([mixed]))]
    assert found == ["看", "Python", "电", "影", "。", "很", "好"]


def test_a_slow_tokenizer_gives_characters_with_their_marks() -> None:
    text = "ดีมาก good"
    spans = word_spans(text, SimpleNamespace(is_fast=False))
    assert [text[a:b] for a, b in spans] == ["ดี", "ม", "า", "ก", "good"]


def test_texts_without_spaces_have_neighbours() -> None:
    texts = ["我喜欢看电影", "我喜欢看书", "天气很坏"]
    assert near(texts[:1], texts)[texts[0]][0] == texts[1]


def test_rows_that_are_missing_are_told_with_the_augmentations_that_gave_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = Examples(["one", "two"], None, np.array([0, 1]))
    tokenizer = wordpiece(["one two"])
    vectors = np.zeros((len(tokenizer), 2), np.float32)
    source = Sources(rows_of(own), tokenizer, vectors)
    made = fill_transfer_set(own, {}, source, {"mask": 1, "span": 1}, 50, 0)
    assert made.examples.text == ["one", "two"]
    said = capsys.readouterr().out
    assert "the transfer set has 2 rows, fewer than --transfer-rows 50; no new row came" in said
    assert "from mask, span" in said
