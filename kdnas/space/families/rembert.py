"""RemBERT: BERT whose embeddings have a size of their own."""

from dataclasses import replace

from kdnas.space.families import bert

FAMILY = replace(
    bert.FAMILY,
    model_types=("rembert",),
    fields={"embedding_size": "input_embedding_size"},
    embedding_map="encoder.embedding_hidden_mapping_in",
)
