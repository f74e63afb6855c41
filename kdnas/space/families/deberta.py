"""DeBERTa, the first: one map makes queries, keys and values, head after head; biases are apart."""

from kdnas.space.families.family import Family

FAMILY = Family(
    model_types=("deberta",),
    follows={"pooler_hidden_size": "hidden_size"},
    heads_out=("in_proj", "in_proj", "in_proj"),
    heads_also={"pos_proj": "key", "pos_q_proj": "query", "q_bias": "query", "v_bias": "value"},
    by_head=True,
    embedding_map="embeddings.embed_proj",
    drops_equal_map=True,
)
