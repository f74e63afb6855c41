"""RoBERTa and its kin: BERT with positions that are counted from the padding id up."""

from kdnas.space.families.family import Family

FAMILY = Family(
    model_types=("camembert", "data2vec-text", "roberta", "xlm-roberta", "xlm-roberta-xl"),
    position_offset=True,
)
