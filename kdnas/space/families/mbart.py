"""mBART: BART with its norms ahead, and one after each stack."""

from dataclasses import replace

from kdnas.space.families import bart

FAMILY = replace(bart.FAMILY, model_types=("mbart",))
