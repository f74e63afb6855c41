"""Students by pruning: the teacher without its least important heads and neurons."""

from kdnas.students.pruning.kept import CONFIG_KEY, Kept, architecture_of
from kdnas.students.pruning.scores import (
    Scores,
    gradient_scores,
    magnitude_scores,
    random_scores,
)
from kdnas.students.pruning.slicing import dense, is_sliced, slice_in_place, sliced

__all__ = [
    "CONFIG_KEY",
    "Kept",
    "Scores",
    "architecture_of",
    "dense",
    "gradient_scores",
    "is_sliced",
    "magnitude_scores",
    "random_scores",
    "slice_in_place",
    "sliced",
]
