"""Size and arithmetic of a model, counted, not timed."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from kdnas.measure.latency import NEW_TOKENS, generates


def count_params(model: PreTrainedModel, *, embeddings: bool = True) -> int:
    """Parameters, each shared one once; without `embeddings` those of tables of vectors are out."""
    tables = {m.weight for m in model.modules() if isinstance(m, nn.Embedding)}
    return sum(p.numel() for p in model.parameters() if embeddings or p not in tables)


@torch.no_grad()
def count_macs(model: PreTrainedModel, length: int, new_tokens: int = NEW_TOKENS) -> int:
    """Multiply-accumulates of one forward pass over one example of `length` tokens.

    Of a model that generates, they are those of both stacks, the decoder's and the head's over
    `new_tokens`. Matrix products alone are counted, attention scores among them, by torch's own
    counter.
    """
    tokens = torch.ones(1, length, dtype=torch.long, device=model.device)
    decoder = generates(model)
    written = {"decoder_input_ids": tokens.new_ones(1, new_tokens)} if decoder else {}
    attention = model.config._attn_implementation
    # The counter does not know every fused kernel; eager attention is plain matrix products.
    model.set_attn_implementation("eager")
    # It follows what a backward pass would do, and stumbles over parameters that a layer is given.
    trained = [p for p in model.parameters() if p.requires_grad]
    model.requires_grad_(False)
    try:
        with FlopCounterMode(display=False) as counter:
            model(input_ids=tokens, attention_mask=torch.ones_like(tokens), **written)
    finally:
        model.set_attn_implementation(attention)
        for parameter in trained:
            parameter.requires_grad_(True)
    return int(counter.get_total_flops()) // 2
