"""Tokenizers of each kind, in the layout of a family, trained in milliseconds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from support.tiny import sentence

LETTERS = "abcdefghijklmnopqrstuvwxyzäß"
FRONT = ["<s>", "<pad>", "</s>", "<unk>"]  # as fairseq numbers them


def texts(count: int = 300, seed: int = 0) -> list[str]:
    """Sentences among words that nobody has seen, numbers and marks."""
    rng = random.Random(seed)

    def parts() -> Iterator[str]:
        yield sentence(rng)
        for _ in range(3):
            yield "".join(rng.choices(LETTERS, k=rng.randint(1, 9)))
        yield f"{rng.randint(0, 9999)}, {rng.choice('!?;:-')}"

    return [" ".join(parts()) for _ in range(count)]


def byte_level_bpe(size: int = 700) -> Any:
    """RoBERTa's: pairs of bytes, joined by rank."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[*FRONT, "<mask>"], initial_alphabet=alphabet
    )
    made.train_from_iterator(texts(), trainer)
    model = json.loads(made.to_str())["model"]
    return transformers.RobertaTokenizer(
        vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]]
    )


def unigram(class_name: str, special: list[str], unknown: str, size: int = 400) -> Any:
    """One of SentencePiece's kind: the likeliest pieces, in a class of transformers."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=special, unk_token=unknown, show_progress=False
    )
    made.train_from_iterator(texts(), trainer)
    pieces = json.loads(made.to_str())["model"]["vocab"]
    return getattr(transformers, class_name)(vocab=[tuple(piece) for piece in pieces])


def word_pieces(size: int = 500) -> Any:
    """BERT's."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(
        texts(), trainers.WordPieceTrainer(vocab_size=size, special_tokens=special)
    )
    return transformers.BertTokenizer(vocab=made.get_vocab(), do_lower_case=False)


MAKE: dict[str, Callable[[], Any]] = {
    "bert": word_pieces,
    "roberta": byte_level_bpe,
    "xlm-roberta": lambda: unigram("XLMRobertaTokenizer", FRONT, "<unk>"),
    "albert": lambda: unigram(
        "AlbertTokenizer", ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], "<unk>"
    ),
    "deberta-v2": lambda: unigram(
        "DebertaV2Tokenizer", ["[PAD]", "[CLS]", "[SEP]", "[UNK]"], "[UNK]"
    ),
}
