"""ELECTRA: embeddings have a size of their own."""

from kdnas.space.families.family import Family

FAMILY = Family(
    model_types=("electra",),
    embedding_map="embeddings_project",
    drops_equal_map=True,
)
