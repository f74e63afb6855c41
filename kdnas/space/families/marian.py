"""Marian: BART with positions as sines, which follow from the hidden size."""

from dataclasses import replace

from kdnas.space.families import bart

COMPUTED = ("embed_positions",)
FAMILY = replace(
    bart.FAMILY,
    model_types=("marian",),
    computed=COMPUTED,
    decoder=replace(bart.DECODER, computed=COMPUTED),
)
