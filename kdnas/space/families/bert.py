"""BERT, and encoders that differ from it in nothing that kdnas reads."""

from kdnas.space.families.family import Family

FAMILY = Family(model_types=("bert", "ernie", "megatron-bert"))
