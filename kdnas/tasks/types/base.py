"""What kdnas must know of a kind of task: one object, from raw label cells to the hub's tags."""

from __future__ import annotations

from kdnas.tasks.types.aspects.cells import Cells
from kdnas.tasks.types.aspects.learning import Learning
from kdnas.tasks.types.aspects.predictions import Predictions
from kdnas.tasks.types.aspects.shipping import Shipping


class TaskType(Cells, Learning, Predictions, Shipping):
    """A kind of task; an instance of a subclass stands in `TASK_TYPES` under its name.

    A model's logits come in units: one for each example, unless `encode` fills the `units` of its
    examples, e.g. with the tokens that are classified. Labels have one row for each unit. Every
    method that takes logits takes shape (units, outputs). `labels` are the names of the classes in
    the order of their ids, empty for a type without classes.

    Scores are of rows: what the data have one of, a text or a question. Where a unit is not a row,
    a type has its own `predictions` and `truths`, which read the `references` that its `encode`
    fills.
    """
