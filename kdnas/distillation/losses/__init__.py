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

LOSSES: dict[str, type[DistillationLoss]] = {
    "task": TaskLoss,
    "logits": LogitsLoss,
    "hidden": HiddenLoss,
    "embeddings": EmbeddingsLoss,
    "first-token": FirstTokenLoss,
    "attention": AttentionLoss,
    "relations": RelationsLoss,
    "filtered": FilteredLoss,
}

__all__ = [
    "LOSSES",
    "DistillationLoss",
    "LossOptions",
    "Shapes",
    "TeacherStatistics",
    "TeacherView",
]
