"""UltraBERT: EuroBERT with local and global attention."""

from dataclasses import replace

from kdnas.space.families import eurobert

FAMILY = replace(eurobert.FAMILY, model_types=("ultrabert",), per_layer=("layer_types",))
