"""Pegasus: mBART with positions as sines, which most of its checkpoints keep."""

from dataclasses import replace

from kdnas.space.families import marian

# A narrower student has the teacher's sines in its own basis, which are nearer than sines anew.
FAMILY = replace(marian.FAMILY, model_types=("pegasus",), keeps_computed=True)
