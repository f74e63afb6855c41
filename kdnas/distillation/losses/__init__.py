"""The distillation losses by name. Another package adds one: `LOSSES["mine"] = MyLoss`."""

from __future__ import annotations

from kdnas.distillation.losses.attention import AttentionLoss
from kdnas.distillation.losses.base import (
    DistillationLoss,
    LossOptions,
    Shapes,
    TeacherStatistics,
    TeacherView,
)
from kdnas.distillation.losses.filtered import FilteredLoss
from kdnas.distillation.losses.first_token import FirstTokenLoss
from kdnas.distillation.losses.hidden import EmbeddingsLoss, HiddenLoss
from kdnas.distillation.losses.logits import LogitsLoss, TaskLoss
from kdnas.distillation.losses.relations import RelationsLoss
from kdnas.distillation.losses.two_stacks import (
    CrossAttentionLoss,
    DecoderAttentionLoss,
    DecoderEmbeddingsLoss,
    DecoderHiddenLoss,
    DecoderRelationsLoss,
    EncoderOutputLoss,
)

LOSSES: dict[str, type[DistillationLoss]] = {
    "task": TaskLoss,
    "logits": LogitsLoss,
    "hidden": HiddenLoss,
    "embeddings": EmbeddingsLoss,
    "first-token": FirstTokenLoss,
    "attention": AttentionLoss,
    "relations": RelationsLoss,
    "filtered": FilteredLoss,
    "encoder-output": EncoderOutputLoss,
    "decoder-hidden": DecoderHiddenLoss,
    "decoder-embeddings": DecoderEmbeddingsLoss,
    "decoder-attention": DecoderAttentionLoss,
    "decoder-relations": DecoderRelationsLoss,
    "cross-attention": CrossAttentionLoss,
}

__all__ = [
    "LOSSES",
    "DistillationLoss",
    "LossOptions",
    "Shapes",
    "TeacherStatistics",
    "TeacherView",
]
