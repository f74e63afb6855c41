"""DeBERTa v2 and v3: relative positions have maps of their own."""

from kdnas.space.families.family import Family

FAMILY = Family(
    model_types=("deberta-v2",),
    follows={"pooler_hidden_size": "hidden_size"},
    heads_out=("query_proj", "key_proj", "value_proj"),
    heads_also={"pos_key_proj": "key", "pos_query_proj": "query"},
    embedding_map="embeddings.embed_proj",
    drops_equal_map=True,
)
