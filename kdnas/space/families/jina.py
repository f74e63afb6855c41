"""Jina embeddings v3: GTE without gates."""

from dataclasses import replace

from kdnas.space.families import gte

FAMILY = replace(
    gte.FAMILY,
    model_types=("jina_embeddings_v3",),
    neurons_in=("mlp.fc1",),
    neurons_out="mlp.fc2",
)
