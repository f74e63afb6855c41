"""Pegasus: mBART with positions as sines, which its checkpoints keep."""

from dataclasses import replace

from kdnas.space.families import bart

FAMILY = replace(bart.FAMILY, model_types=("pegasus",))
