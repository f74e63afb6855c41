"""MPNet: all layers share a bias for each head and distance."""

from kdnas.space.families.family import Family

FAMILY = Family(
    model_types=("mpnet",),
    heads_out=("attn.q", "attn.k", "attn.v"),
    heads_in="attn.o",
    position_offset=True,
    padding_id=1,
)
