"""Encoder-decoders that take milliseconds, with a tokenizer, and captions that they can learn."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

from support.tiny import ADJECTIVES, NOUNS, VERBS, sentence

SPECIAL = ["<pad>", "</s>", "<unk>", "<s>"]
PAD, END, UNKNOWN, BEGIN = range(4)
# By model type: the fields that make it small, and what its decoder reads first.
SMALL: dict[str, dict[str, Any]] = {
    "bart": {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2}
    | {f"{side}_attention_heads": 4 for side in ("encoder", "decoder")}
    | {f"{side}_ffn_dim": 64 for side in ("encoder", "decoder")}
    | {"max_position_embeddings": 64, "decoder_start_token_id": END, "bos_token_id": BEGIN},
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    | {"decoder_start_token_id": PAD},
}
SMALL["marian"] = {**SMALL["bart"], "decoder_start_token_id": PAD}
SMALL["mbart"] = SMALL["bart"]
GERMAN = {word: f"{word[::-1]}en" for word in ("the", *NOUNS, *VERBS, *ADJECTIVES)}
WORDS = len(SPECIAL) + 2 * len(GERMAN)


def translated(text: str) -> str:
    """Word by word, in a language of its own."""
    return " ".join(GERMAN[word] for word in text.split())


def writers_tokenizer(*, begins: bool = False) -> PreTrainedTokenizerFast:
    """Of both languages; texts end with a token and, where asked for, begin with one."""
    words = [*SPECIAL, *GERMAN, *GERMAN.values()]
    vocabulary = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if begins else "$A </s>",
        special_tokens=[("</s>", END), ("<s>", BEGIN)],
    )
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "bos_token": "<s>"}
    inputs = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=inputs, model_max_length=64, **names
    )


def writers_config(model_type: str, **changes: Any) -> Any:
    common: dict[str, Any] = {"vocab_size": WORDS, "pad_token_id": PAD, "eos_token_id": END}
    common |= {"forced_eos_token_id": None, "dropout": 0.0, "dropout_rate": 0.0}
    return AutoConfig.for_model(model_type, **{**SMALL[model_type], **common, **changes})


def save_writer(folder: Path, model_type: str = "bart", **changes: Any) -> Path:
    """A small untrained encoder-decoder and its tokenizer in a folder."""
    torch.manual_seed(0)
    model = AutoModelForSeq2SeqLM.from_config(writers_config(model_type, **changes))
    model.save_pretrained(folder)
    writers_tokenizer(begins=model_type != "t5").save_pretrained(folder)
    return folder


def save_captions(folder: Path, *, train: int = 240, dev: int = 24) -> Path:
    """Parallel lines in folder/captions, and captions.yaml."""
    place = folder / "captions"
    place.mkdir()
    rng = random.Random(3)
    for name, rows in (("train", train), ("val", dev), ("test", 8)):
        texts = [sentence(rng) for _ in range(rows)]
        for ending, written in (("en", texts), ("de", list(map(translated, texts)))):
            text = "\n".join(written) + "\n"
            (place / f"{name}.{ending}").write_text(text, encoding="utf-8")
    entry = "name: captions\ntype: sequence-to-sequence\ntext: en\nlabel: de\n"
    (folder / "captions.yaml").write_text(entry, encoding="utf-8")
    return folder
