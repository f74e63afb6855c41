"""Students by pruning: the teacher without its least important heads and neurons."""

from kdnas.space.pruned import CONFIG_KEY
from kdnas.students.pruning.depth import shallower
from kdnas.students.pruning.kept import Kept, architecture_of, shape_of
from kdnas.students.pruning.masks import masked, masks
from kdnas.students.pruning.methods import PRUNING_METHODS
from kdnas.students.pruning.order import Damage, PruningOrder, ScoreOrder
from kdnas.students.pruning.scores import (
    Scores,
    gradient_scores,
    magnitude_scores,
    random_scores,
)
from kdnas.students.pruning.slicing import dense, is_sliced, slice_in_place, sliced
from kdnas.students.pruning.speed import LatencyTable, count_cells, counts_at_speedup, latency_table
from kdnas.students.pruning.students import PrunedStudents, order_file

__all__ = [
    "CONFIG_KEY",
    "PRUNING_METHODS",
    "Damage",
    "Kept",
    "LatencyTable",
    "PrunedStudents",
    "PruningOrder",
    "ScoreOrder",
    "Scores",
    "architecture_of",
    "count_cells",
    "counts_at_speedup",
    "dense",
    "gradient_scores",
    "is_sliced",
    "latency_table",
    "magnitude_scores",
    "masked",
    "masks",
    "order_file",
    "random_scores",
    "shallower",
    "shape_of",
    "slice_in_place",
    "sliced",
]
