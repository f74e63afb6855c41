"""RoBERTa with its norms ahead; the last one stands behind the encoder."""

from dataclasses import replace

from kdnas.space.families import roberta

FAMILY = replace(
    roberta.FAMILY, model_types=("roberta-prelayernorm",), span=("encoder", "LayerNorm")
)
