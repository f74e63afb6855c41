"""EuroBERT: GTE with its norms ahead, and one after the last layer."""

from dataclasses import replace

from kdnas.space.families import gte

FAMILY = replace(gte.FAMILY, model_types=("eurobert",), span=("layers", "norm"))
