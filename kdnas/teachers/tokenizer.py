"""A teacher's tokenizer, made to say of itself how kdnas uses it: it ships with the students."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.config.options.base import MOST_TOKENS
from kdnas.distillation.modules import readers_of
from kdnas.errors import KdnasError
from kdnas.space import family_of
from kdnas.space.families import SIDES, Place

# Where a tokenizer names no padding token, one of its other special tokens serves.
SPECIAL = ("sep_token_id", "eos_token_id", "cls_token_id", "unk_token_id")


def longest_input(config: Any) -> int:
    """Tokens that fit a model's position table; of one without, such as T5, as many as kdnas takes.

    RoBERTa and its kin count positions from the padding token's id on, so two of them are lost.
    """
    return _positions(config, "encoder")


def longest_target(config: Any) -> int:
    """The same of an encoder-decoder's decoder."""
    return _positions(config, "decoder")


def _positions(config: Any, side: Place) -> int:
    if family_of(config.model_type, config.model_type).inner:
        config = getattr(config, side)
    if getattr(config, "max_position_embeddings", None) is None:
        return MOST_TOKENS
    family = family_of(config.model_type, config.model_type)
    padding = config.pad_token_id if family.padding_id is None else family.padding_id
    lost = int(padding or 0) + 1 if family.position_offset else 0
    return int(config.max_position_embeddings) - lost


def as_used(tokenizer: Any, config: Any) -> Any:
    """The tokenizer as kdnas trains and scores with it, so that a checkpoint with it does the same.

    It pads on the right, has a padding token, and cuts inputs where the model's positions end.
    """
    tokenizer.padding_side = "right"
    tokenizer.model_max_length = min(tokenizer.model_max_length, longest_input(config))
    if tokenizer.pad_token is None:
        ids = (config.pad_token_id, *(getattr(tokenizer, name, None) for name in SPECIAL), 0)
        known = next(i for i in ids if i is not None and 0 <= i < int(config.vocab_size))
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(known)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:  # what tokenizer.json says to users of the tokenizers package
        backend.no_padding()
        backend.no_truncation()
    return tokenizer


def vocabulary_size(name: str, config: Any, tokenizer: Any) -> int:
    """Rows that a model's embedding table needs: the config's, and those of tokens added later.

    Raises:
        KdnasError: The tokenizer's own vocabulary is larger than the model's.
    """
    size = int(config.vocab_size)
    vocabulary = tokenizer.get_vocab()
    added = set(tokenizer.added_tokens_decoder)
    foreign = [i for i in vocabulary.values() if i >= size and i not in added]
    if foreign:
        raise KdnasError(
            f"the tokenizer of {name!r} has tokens up to {max(foreign)}, but the model's "
            f"vocab_size is {size}; give the tokenizer that the model was trained with"
        )
    return max(size, 1 + max(vocabulary.values(), default=0))


@torch.no_grad()
def fit_embeddings(model: PreTrainedModel, tokenizer: Any, size: int) -> None:
    """Gives tokens that were added to a tokenizer, but not to its model, the unknown token's row.

    Without a row of their own they would end in an error; without an unknown token they get the
    mean of all rows.
    """
    before = int(model.config.vocab_size)
    if size <= before:
        return
    _resize(model, size)
    set_vocabulary_size(model.config, size)
    unknown = tokenizer.unk_token_id
    known = unknown is not None and unknown < before
    for table in _tables(model, size):
        table[before:] = table[unknown] if known else table[:before].mean(0)


def set_vocabulary_size(config: Any, size: int) -> None:
    """Says how many tokens a model has, in each place of its config that does."""
    family = family_of(config.model_type, config.model_type)
    inner = [getattr(config, side) for side in SIDES] if family.inner else []
    for one in (config, *inner):
        one.vocab_size = size
    if getattr(config, "decoder_vocab_size", None) is not None:  # Marian's
        config.decoder_vocab_size = max(size, config.decoder_vocab_size)


def _resize(model: Any, size: int) -> None:
    family = family_of(model.config.model_type, model.config.model_type)
    if family.inner:
        for part in (model.encoder, model.decoder):
            part.resize_token_embeddings(size, mean_resizing=False)
        return
    head, own = model.get_output_embeddings(), None
    if head is not None and all(head.weight is not e.weight for e in readers_of(model)):
        own = head.weight
    model.resize_token_embeddings(size, mean_resizing=False)
    apart = not getattr(model.config, "share_encoder_decoder_embeddings", True)
    if apart and model.config.decoder_vocab_size < size:
        model.resize_decoder_token_embeddings(size)
    if own is not None and len(own) < size:  # T5 1.1's, which a change of size ties to the others
        more = own.new_zeros(size - len(own), own.shape[1])
        model.get_output_embeddings().weight = nn.Parameter(torch.cat([own, more]))


def _tables(model: Any, size: int) -> Iterator[Tensor]:
    """Embeddings and head: whatever has a row for each of so many tokens."""
    head = model.get_output_embeddings()
    for module in (*readers_of(model), *([] if head is None else [head])):
        yield from (table for table in module.parameters() if len(table) == size)
    bias = getattr(model, "final_logits_bias", None)
    if bias is not None and bias.shape[1] == size:
        yield bias[0]
