"""The forward pass of a teacher or a student, which answers a request for its outputs."""

from __future__ import annotations

from dataclasses import replace

from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.decoders import forward_pair
from kdnas.distillation.encoders import forward_encoder
from kdnas.distillation.heads import heads_of, recorded_heads
from kdnas.distillation.modules import family
from kdnas.distillation.outputs import ModelOutputs, OutputRequest


def forward(model: PreTrainedModel, batch: Batch, request: OutputRequest) -> ModelOutputs:
    """Runs a model with its head, or as far as the request needs it, on a batch.

    Families whose attention goes through transformers' interface run packed, the others padded. A
    decoder reads what the batch gives it (teacher forcing).

    Raises:
        KdnasError: States of heads are asked for, and some layer of a pruned student has no heads.
    """
    run = forward_pair if family(model).decoder else forward_encoder
    with recorded_heads(model, batch, request) as recorded:
        found = run(model, batch, request)
    return replace(found, states=heads_of(model, request, recorded) | found.states)
