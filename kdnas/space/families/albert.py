"""ALBERT: all layers share their weights."""

from kdnas.space.families.family import Family

FAMILY = Family(
    model_types=("albert",),
    layers=None,
    heads_in="attention.dense",
    neurons_in=("ffn",),
    neurons_out="ffn_output",
    embedding_map="encoder.embedding_hidden_mapping_in",
)
