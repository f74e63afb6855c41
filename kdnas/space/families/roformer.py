"""RoFormer: ELECTRA with rotary positions."""

from kdnas.space.families.family import Family

FAMILY = Family(
    model_types=("roformer",),
    rotary="neighbours",
    computed=("embed_positions",),
    embedding_map="embeddings_project",
    drops_equal_map=True,
)
