"""The losses of encoder-decoders: on a decoder's states, and on what it reads of the encoder."""

from __future__ import annotations

from collections.abc import Collection

from kdnas.distillation.layer_map import LayerMap
from kdnas.distillation.losses.attention import AttentionLoss
from kdnas.distillation.losses.base import LossOptions, Shapes
from kdnas.distillation.losses.hidden import EmbeddingsLoss, HiddenLoss
from kdnas.distillation.losses.relations import RelationsLoss
from kdnas.space.architecture import Architecture
from kdnas.space.pruned import AnyArchitecture


class EncoderOutputLoss(HiddenLoss):
    """The last states of the encoder, which is what a decoder reads: a mean over its tokens."""

    name = "encoder-output"

    @classmethod
    def problem(
        cls, options: LossOptions, teacher: Architecture, students: Collection[AnyArchitecture]
    ) -> str | None:
        """None: the mapping is of other layers."""
        return None

    @classmethod
    def map_layers(cls, shapes: Shapes, options: LossOptions) -> LayerMap:
        last, theirs = shapes.depths
        return LayerMap(((theirs,),), first=last)


class DecoderHiddenLoss(HiddenLoss):
    """As `hidden`, of the decoder's layers: a mean over its tokens."""

    name = "decoder-hidden"
    place = "decoder"


class DecoderEmbeddingsLoss(EmbeddingsLoss):
    """As `embeddings`, of what the decoder reads: a mean over its tokens."""

    name = "decoder-embeddings"
    place = "decoder"


class DecoderAttentionLoss(AttentionLoss):
    """As `attention`, of the decoder to itself: of each token to itself and those before it."""

    name = "decoder-attention"
    place = "decoder"


class DecoderRelationsLoss(RelationsLoss):
    """As `relations`, of the decoder's tokens to themselves and those before them."""

    name = "decoder-relations"
    place = "decoder"


class CrossAttentionLoss(AttentionLoss):
    """As `attention`, of the decoder's tokens to the encoder's."""

    name = "cross-attention"
    place = "cross"
