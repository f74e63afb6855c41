"""A table of evaluated students as a search space, and what can be searched on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from optuna.study import StudyDirection

from kdnas.errors import KdnasError
from kdnas.runtime.console import say
from kdnas.scoring.reward import reward
from kdnas.space import Architecture, Candidate, SearchSpace
from kdnas.space.families import FIELDS
from kdnas.study.pareto import hypervolume

SPEEDUP = 4.0
FRONT_SHARE = 0.95
MADE_BY = "benchmarks/tabular/make.py"
COLUMNS = (*FIELDS, "loss", "speedup")
Floats = npt.NDArray[np.float64]


class Table(SearchSpace):
    """The rows of a table as the whole space.

    Args:
        file: A CSV as benchmarks/tabular/make.py writes it.

    Raises:
        KdnasError: It is none.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.frame = _read(file)
        self.rows = {
            Candidate.from_params({str(name): value for name, value in row.items()}): number
            for number, row in enumerate(self.frame.to_dict("records"))
        }
        choices = {name: tuple(sorted(self.frame[name].unique().tolist())) for name in FIELDS}
        largest = Architecture(*(values[-1] for values in choices.values()))
        super().__init__(largest, choices, recipes=sorted({one.recipe for one in self.rows}))

    @cached_property
    def architectures(self) -> tuple[Architecture, ...]:
        """Those of the rows, nothing else."""
        return tuple(sorted({Architecture.from_params(one.params) for one in self.rows}))

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """The rows, nothing else."""
        return tuple(sorted(self.rows))

    @property
    def losses(self) -> Floats:
        """Held-out loss by row."""
        return self.frame["loss"].to_numpy(float)

    @property
    def costs(self) -> Floats:
        """Latency by row, in teachers."""
        return 1 / self.frame["speedup"].to_numpy(float)

    def picks(self, objective: Objective, count: int) -> list[Candidate]:
        """What a person would pick: at each depth, from half of the layers on, the most arithmetic.

        All with the most heads, and within the objective's limit; of several recipes by `states`,
        else `relations`.
        """
        if not count:
            return []
        frame = self.frame[[objective.feasible(row) for row in range(len(self.frame))]]
        frame = frame[frame.num_attention_heads == self.frame.num_attention_heads.max()]
        usual = [name for name in ("states", "relations") if name in self.recipes]
        if usual:
            frame = frame[frame.recipe == usual[0]]
        half = int(self.frame.num_hidden_layers.max()) / 2
        depths = sorted(set(frame.num_hidden_layers), key=lambda depth: abs(depth - half))
        rows = [frame.macs[frame.num_hidden_layers == depth].idxmax() for depth in depths]
        named = {row: candidate for candidate, row in self.rows.items()}
        return [named[row] for row in rows[:count]]

    def rewards(self, alpha: float) -> Floats:
        """The search's reward by row."""
        pairs = zip(self.losses, self.costs, strict=True)
        return np.array([reward(loss, cost, 1.0, alpha=alpha) for loss, cost in pairs])


def _read(file: Path) -> pd.DataFrame:
    """The rows of a table; raises KdnasError where it has none, or lacks a column."""
    try:
        frame = pd.read_csv(file)
    except ValueError:  # pandas' own errors, and bytes that are not UTF-8
        wrong = "it is not CSV"
    else:
        lacking = [f"it has no column {name}" for name in COLUMNS if name not in frame]
        wrong = next(iter(lacking), "it has no rows" if frame.empty else "")
    if wrong:
        raise KdnasError(f"{file} is no table of students: {wrong}; give a CSV of {MADE_BY}")
    return frame


@dataclass(frozen=True)
class Objective:
    """What a search on a table optimises, and how its course is judged.

    Attributes:
        directions: Of the study.
        values: Of each row, shape (rows, objectives).
        excess: Above 0 where a row breaks the constraint, shape (rows,); None without one.
        goal: A course's measure has arrived here.
        label: Of the measure.
    """

    directions: tuple[StudyDirection, ...]
    values: Floats
    excess: Floats | None
    goal: float
    label: str

    def feasible(self, row: int) -> bool:
        """Whether a row may be evaluated."""
        return self.excess is None or bool(self.excess[row] <= 0)

    def course(self, rows: Sequence[int]) -> Floats:
        """The measure after each evaluation, lower is better.

        One objective: per cent of the allowed rows that are better than the best found. Two: per
        cent of the whole front's hypervolume that is missing.
        """
        if len(self.directions) > 1:
            return self._missing(rows)
        allowed = self.values[[self.feasible(row) for row in range(len(self.values))], 0]
        better = [100 * float(np.mean(allowed > self.values[row, 0])) for row in rows]
        return np.minimum.accumulate(better)

    def _missing(self, rows: Sequence[int]) -> Floats:
        low, high = self.values.min(axis=0), self.values.max(axis=0)
        scaled = (self.values - low) / (high - low)
        whole = _area(scaled)
        found = [_area(scaled[list(rows[: n + 1])]) for n in range(len(rows))]
        return 100 * (1 - np.array(found) / whole)


def _area(costs: Floats) -> float:
    return hypervolume([(first, second) for first, second in costs.tolist()], (1.0, 1.0))


def _single(table: Table, alpha: float, limit: float | None = None) -> Objective:
    excess = None if limit is None else limit * table.costs - 1
    allowed = len(table.costs) if excess is None else int((excess <= 0).sum())
    # The best one per cent, rounded: the worst of them has one row fewer before it.
    goal = 100 * (max(1, math.floor(allowed / 100 + 0.5)) - 1) / max(1, allowed)
    label = "better students (%)"
    return Objective((StudyDirection.MAXIMIZE,), table.rewards(alpha)[:, None], excess, goal, label)


def _pareto(table: Table) -> Objective:
    values = np.stack([table.losses, table.costs], axis=1)
    goal = 100 * (1 - FRONT_SHARE)
    return Objective((StudyDirection.MINIMIZE,) * 2, values, None, goal, "hypervolume missing (%)")


OBJECTIVES: dict[str, Callable[[Table], Objective]] = {
    "reward-0.06": lambda table: _single(table, -0.06),
    "reward-0.3": lambda table: _single(table, -0.3),
    f"speedup{SPEEDUP:g}": lambda table: _single(table, -0.06, SPEEDUP),
    "pareto": _pareto,
}


def with_students(table: Table, names: Sequence[str]) -> list[str]:
    """The objectives for which a table has a student that may be evaluated; tells the others."""
    found = list[str]()
    for name in names:
        objective = OBJECTIVES[name](table)
        if any(objective.feasible(row) for row in range(len(table.rows))):
            found.append(name)
        else:
            fastest = f"the fastest student is {1 / table.costs.min():.2f} times as fast"
            say(f"{name} is left out on {table.file.stem}: {fastest} as its teacher")
    return found
