"""Encoder-decoders of every family that take milliseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.packing import Packing
from kdnas.space import family_of
from kdnas.tasks import TASK_TYPES, EncodedExamples
from kdnas.tasks.encode import Units

VOCABULARY, PAD = 100, 1
ENCODER = {
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "hidden_size": 32,
    "intermediate_size": 64,
}
DECODER = {**ENCODER, "num_hidden_layers": 3}
# With embeddings of both stacks apart, and heads with embeddings of their own.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("bart", {}),
    ("bart", {"scale_embedding": True, "decoder_attention_heads": 2, "decoder_ffn_dim": 48}),
    ("bart", {"tie_word_embeddings": False}),
    ("plbart", {}),
    ("mbart", {"scale_embedding": True}),
    ("blenderbot", {}),
    ("blenderbot-small", {}),
    ("marian", {"scale_embedding": True}),
    ("marian", {"share_encoder_decoder_embeddings": False}),
    ("pegasus", {"scale_embedding": True}),
    ("t5", {}),
    ("t5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    ("mt5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    ("encoder-decoder", {}),
    ("encoder-decoder", {"inner": "roberta"}),
]


def pair_config(model_type: str, **changes: Any) -> Any:
    """A config of a family, small and otherwise with the family's own values."""
    common = {
        "vocab_size": VOCABULARY,
        "pad_token_id": PAD,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": None,
    }
    if model_type == "encoder-decoder":
        return _of_two(changes.pop("inner", "bert"), **{**common, **changes})
    family = family_of(model_type, model_type)
    assert family.decoder is not None
    values = {family.field_name(name): value for name, value in ENCODER.items()}
    values |= {family.decoder.field_name(name): value for name, value in DECODER.items()}
    values |= {"d_kv": 8} if "t5" in model_type else {"max_position_embeddings": 50}
    return AutoConfig.for_model(model_type, **{**values, **common, **changes})


def _of_two(inner: str, **changes: Any) -> Any:
    size = changes["vocab_size"]
    one = {"vocab_size": size, "pad_token_id": PAD, "max_position_embeddings": 50}
    configs = {
        "encoder": AutoConfig.for_model(inner, **ENCODER, **one),
        "decoder": AutoConfig.for_model(
            inner, **DECODER, **one, is_decoder=True, add_cross_attention=True
        ),
    }
    parts = {side: config.to_dict() for side, config in configs.items()}
    return AutoConfig.for_model("encoder-decoder", **parts, **changes)


def tiny_pair(model_type: str, **changes: Any) -> PreTrainedModel:
    """A random encoder-decoder in evaluation mode, none of whose weights is a constant.

    A T5 whose `tie_word_embeddings` is off has a head of its own, as those of version 1.1 do.
    """
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(pair_config(model_type, **changes))
    if "t5" in model_type and changes.get("tie_word_embeddings") is False:
        head = torch.nn.Linear(32, model.config.vocab_size, bias=False)
        model.set_output_embeddings(head)
        model.all_tied_weights_keys.pop("lm_head.weight", None)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            spread = 0.3 if parameter.ndim == 2 else 0.1
            torch.nn.init.normal_(parameter, 1.0 if _is_gain(name) else 0.0, spread)
    return model.eval()


def distinct_pair(model_type: str, **changes: Any) -> PreTrainedModel:
    """The same, with texts that depend on their sources.

    Random layers make all tokens alike: weaker ones in the encoder keep them apart.
    """
    model = tiny_pair(model_type, **changes)
    with torch.no_grad():
        for name, parameter in model.get_encoder().named_parameters():
            if "layer" in name and parameter.ndim > 1:
                parameter.mul_(0.3)
    return model


def _is_gain(name: str) -> bool:
    return name.endswith(".weight") and "norm" in name.lower()


def pair_batch(examples: int = 24, seed: int = 0) -> Batch:
    """Random texts of 3 to 20 tokens, and of 1 to 12 for the decoder."""
    rng = np.random.default_rng(seed)
    lengths, decoders = rng.integers(3, 21, examples), rng.integers(1, 13, examples)
    places = {}
    for name, counts in (("input_ids", lengths), ("decoder_input_ids", decoders)):
        mask = np.arange(counts.max() + 2) < counts[:, None]
        ids = np.where(mask, rng.integers(3, VOCABULARY, mask.shape), PAD)
        places[name] = mask, torch.from_numpy(ids)
    mask, decoder = places["input_ids"][0], places["decoder_input_ids"][0]
    inputs = {name: ids for name, (_, ids) in places.items()}
    inputs["attention_mask"] = torch.from_numpy(mask.astype(np.int64))
    example, position = map(torch.from_numpy, np.nonzero(decoder))
    units = Units(example, position, examples, decoder.shape[1])
    labels = torch.from_numpy(rng.integers(3, VOCABULARY, len(example)))
    task = TASK_TYPES["token-classification"]
    return Batch(np.arange(examples), inputs, labels, task, units, Packing.of(mask))


def pair_data(words: int = VOCABULARY, examples: int = 37) -> EncodedExamples:
    """Random texts, and what a decoder reads and is to say next."""
    rng = np.random.default_rng(0)
    lengths, targets = rng.integers(3, 30, examples), rng.integers(1, 15, examples)
    offsets, units = (np.concatenate([[0], np.cumsum(n)]) for n in (lengths, targets))
    ids, decoders, labels = (
        rng.integers(3, words, int(ends[-1])).astype(np.int32) for ends in (offsets, units, units)
    )
    return EncodedExamples(
        ids,
        None,
        offsets,
        labels.astype(np.int64),
        task_type="sequence-to-sequence",
        units=units,
        positions=np.concatenate([np.arange(n) for n in targets]).astype(np.int32),
        decoder_ids=decoders,
    )
