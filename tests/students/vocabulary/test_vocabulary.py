"""Cut vocabularies: what a tokenizer does with fewer tokens, and a model with fewer rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny import small_config
from support.tiny_tokenizers import MAKE, texts
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from kdnas.errors import KdnasError
from kdnas.students.vocabulary import Vocabulary, cut_vocabulary
from kdnas.tasks import embedded_teacher
from kdnas.teachers.load import load_parts
from kdnas.teachers.tokenizer import as_used

SEEN, NEW = texts(12), [*texts(200, seed=1), "Ünseen ☃ 日本 \U0001f600 naïve", "q" * 120, ""]


@cache
def teacher_parts(family: str) -> tuple[Any, Any]:
    """A config and the tokenizer that fits it."""
    made = MAKE[family]()
    config = small_config(family, vocab_size=len(made), pad_token_id=made.pad_token_id)
    return config, as_used(made, config)


def ids_of(tokenizer: Any, given: list[str]) -> list[list[int]]:
    found: list[list[int]] = tokenizer(given, verbose=False)["input_ids"]
    return found


def cut(config: Any, tokenizer: Any, given: list[str], least: int = 1) -> Vocabulary:
    every = np.concatenate([np.array(ids, int) for ids in ids_of(tokenizer, given)])
    counts = np.bincount(every, minlength=config.vocab_size)
    return cut_vocabulary("task", tokenizer, config, counts, least)


@pytest.mark.parametrize("family", MAKE)
def test_counted_texts_have_the_same_tokens(family: str) -> None:
    config, tokenizer = teacher_parts(family)
    made = cut(config, tokenizer, SEEN)
    assert len(made) < 0.75 * config.vocab_size
    ours = ids_of(made.tokenizer, SEEN)
    assert [made.kept[ids].tolist() for ids in ours] == ids_of(tokenizer, SEEN)
    pairs = tokenizer(SEEN[0], SEEN[1]), made.tokenizer(SEEN[0], SEEN[1])
    theirs, own = (pair["input_ids"] for pair in pairs)
    assert made.kept[own].tolist() == theirs


@pytest.mark.parametrize("family", MAKE)
def test_nothing_becomes_unknown_and_texts_read_back_the_same(family: str) -> None:
    config, tokenizer = teacher_parts(family)
    made = cut(config, tokenizer, SEEN)
    differ = 0
    for ours, theirs in zip(ids_of(made.tokenizer, NEW), ids_of(tokenizer, NEW), strict=True):
        differ += made.kept[ours].tolist() != theirs
        unknown = made.tokenizer.unk_token_id, tokenizer.unk_token_id
        assert ours.count(unknown[0]) == theirs.count(unknown[1])
        said = made.tokenizer.decode(ours, skip_special_tokens=True)
        assert said == tokenizer.decode(theirs, skip_special_tokens=True)
    assert differ > len(NEW) / 2  # else there was nothing to see


@pytest.mark.parametrize("family", MAKE)
def test_special_tokens_keep_their_meaning(family: str) -> None:
    config, tokenizer = teacher_parts(family)
    made = cut(config, tokenizer, SEEN)
    for name in ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"):
        token = getattr(tokenizer, name)
        assert getattr(made.tokenizer, name) == token
        own = made.tokenizer.convert_tokens_to_ids(token)
        assert made.kept[own] == tokenizer.convert_tokens_to_ids(token)
    assert made.config_of(config).pad_token_id == made.tokenizer.pad_token_id
    assert made.pad_id(config) == made.tokenizer.pad_token_id


@pytest.mark.parametrize("family", MAKE)
def test_a_cut_model_says_the_same_and_loads_plainly(family: str, tmp_path: Path) -> None:
    config, tokenizer = teacher_parts(family)
    made = cut(config, tokenizer, SEEN)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    small = made.cut(model)
    small.save_pretrained(tmp_path)
    made.tokenizer.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert ids_of(again, NEW) == ids_of(made.tokenizer, NEW)
    assert loaded.config.vocab_size == len(made) == len(loaded.get_input_embeddings().weight)
    assert len(model.get_input_embeddings().weight) == config.vocab_size  # a copy was cut
    with torch.no_grad():
        said = loaded(**again(SEEN, return_tensors="pt", padding=True)).logits
        wanted = model(**tokenizer(SEEN, return_tensors="pt", padding=True)).logits
    torch.testing.assert_close(said, wanted)


@pytest.mark.parametrize("family", ["eurobert", "modernbert"])
def test_ids_outside_the_tokenizer_become_the_paddings(family: str) -> None:
    """As a class's own defaults are, for a smaller tokenizer: EuroBERT's mask is 128002."""
    _, tokenizer = teacher_parts("bert")
    padding = tokenizer.pad_token_id
    config = AutoConfig.for_model(
        *(family,), vocab_size=len(tokenizer), pad_token_id=padding, eos_token_id=[padding, 128001]
    )
    made = cut(config, tokenizer, SEEN)
    own = made.config_of(config)
    assert own.pad_token_id == made.place[padding]
    name = "mask_token_id" if family == "eurobert" else "cls_token_id"
    assert getattr(config, name) > len(tokenizer) and getattr(own, name) == own.pad_token_id
    assert own.eos_token_id == [own.pad_token_id]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_tokens_that_stand_between_texts_are_kept(own: bool, nested: bool) -> None:
    """Also where no text has them, and no list of special tokens names them."""
    words = ["[PAD]", "[UNK]", "ab", "[CLS]", "[SEP]", "[PAIR]", "a", "##a", "b", "##b"]
    ids = {word: number for number, word in enumerate(words)}
    plain = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    template = processors.TemplateProcessing(
        single="[CLS] $A",
        pair="[CLS] $A [PAIR] $B:1 [SEP]:1",
        special_tokens=[(word, ids[word]) for word in ("[CLS]", "[PAIR]", "[SEP]")],
    )
    berts = processors.BertProcessing(("[PAIR]", ids["[PAIR]"]), ("[CLS]", ids["[CLS]"]))
    after = berts if own else template
    plain.post_processor = processors.Sequence([after]) if nested else after
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="[UNK]", pad_token="[PAD]", model_max_length=64
    )
    config = small_config("bert", vocab_size=len(words), pad_token_id=0)
    counts = np.bincount([ids["a"]], minlength=len(words))
    made = cut_vocabulary("task", tokenizer, config, counts, 1)
    assert "ab" not in made.tokenizer.get_vocab()
    ours, theirs = (one("a", "b")["input_ids"] for one in (made.tokenizer, tokenizer))
    assert made.kept[ours].tolist() == theirs and ids["[PAIR]"] in theirs


def test_tokens_must_occur_often_enough() -> None:
    config, tokenizer = teacher_parts("bert")
    sizes = [len(cut(config, tokenizer, texts(60), least)) for least in (1, 2, 5)]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3


def test_positions_of_roberta_stay_where_they_are() -> None:
    """They are counted from the padding's id on, which must not move."""
    config, tokenizer = teacher_parts("roberta")
    assert cut(config, tokenizer, ["a"]).kept[:5].tolist() == [0, 1, 2, 3, 4]


def test_the_embedded_teacher_is_cut_to_a_tenth() -> None:
    config, tokenizer = load_parts(str(embedded_teacher()))
    made = cut(config, tokenizer, SEEN)
    assert len(made) < 0.1 * config.vocab_size
    assert "[unused5]" not in made.tokenizer.get_vocab()
    ours, theirs = ids_of(made.tokenizer, NEW), ids_of(tokenizer, NEW)
    unknown = tokenizer.unk_token_id
    assert [made.kept[ids].tolist().count(unknown) for ids in ours] == [
        ids.count(unknown) for ids in theirs
    ]


def whole_words() -> Any:
    made = Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1, "b": 2, "[UNK]": 3}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", cls_token="[PAD]"
    )


class Slow:
    """A tokenizer without a tokenizer.json, such as those written in Python."""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (whole_words, "a tokenizer of the kind WordLevel cannot be cut"),
        (Slow, "Slow has no tokenizer.json"),
    ],
)
def test_tokenizers_that_cannot_be_cut_are_refused(make: Callable[[], Any], message: str) -> None:
    config = small_config("bert", vocab_size=4)
    with pytest.raises(KdnasError, match=message):
        cut_vocabulary("task", make(), config, np.ones(4, np.int64), 1)
