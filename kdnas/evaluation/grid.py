"""How a checkpoint is fine-tuned before it is scored: learning rates, batch sizes, seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import inf
from typing import TypeVar

from kdnas.config import Settings
from kdnas.distillation.schedule import Schedule
from kdnas.errors import KdnasError

# The grid of Turc et al. 2019, Well-Read Students Learn Better, appendix B.
GRID_LRS = (3e-5, 5e-5, 1e-4, 3e-4)
GRID_BATCH_SIZES = (8, 16, 32, 64, 128)

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Point:
    """One fine-tuning: a learning rate, a batch size, epochs and a seed."""

    lr: float
    batch_size: int
    epochs: float
    seed: int

    @property
    def label(self) -> str:
        """For people: `lr 5e-05, batch 32, seed 0`."""
        return f"lr {self.lr:g}, batch {self.batch_size}, seed {self.seed}"

    @property
    def stem(self) -> str:
        """For files: `lr5e-05-batch32-epochs3-seed0`."""
        return f"lr{self.lr:g}-batch{self.batch_size}-epochs{self.epochs:g}-seed{self.seed}"

    @property
    def schedule(self) -> Schedule:
        """As the training core follows it; dropout is on, as in run_glue.py."""
        return Schedule(self.epochs, self.lr, self.batch_size, self.seed, dropout=True)


@dataclass(frozen=True)
class Tuning:
    """All fine-tunings of one task.

    Attributes:
        lrs: Peak learning rates of the grid.
        batch_sizes: Its batch sizes.
        epochs: Epochs of each.
        seeds: Seeds at the grid's best point; the grid itself is gone through with the first.
        first_seed: The first of them.
    """

    lrs: tuple[float, ...]
    batch_sizes: tuple[int, ...]
    epochs: float
    seeds: int
    first_seed: int

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        grid: bool = False,
        lrs: str | None = None,
        batch_sizes: str | None = None,
        epochs: float | None = None,
        seeds: int = 1,
    ) -> Tuning:
        """From the command line; what is not given is as in the settings of a teacher.

        Raises:
            KdnasError: A value is no positive number.
        """
        usual_lrs = GRID_LRS if grid else (settings.teacher_lr,)
        usual_sizes = GRID_BATCH_SIZES if grid else (settings.batch_size,)
        epochs = settings.teacher_epochs if epochs is None else epochs
        for name, value in (("--epochs", epochs), ("--seeds", seeds)):
            if not 0 < value < inf:
                raise KdnasError(f"{name} is {value}; it should be above 0")
        return cls(
            usual_lrs if lrs is None else _numbers("--lrs", lrs, float),
            usual_sizes if batch_sizes is None else _numbers("--batch-sizes", batch_sizes, int),
            epochs,
            seeds,
            settings.seed,
        )

    @property
    def grid(self) -> list[Point]:
        """Every learning rate with every batch size, all with the first seed."""
        pairs = product(self.lrs, self.batch_sizes)
        return [Point(lr, size, self.epochs, self.first_seed) for lr, size in pairs]

    def repeats(self, best: Point) -> list[Point]:
        """The best point with the other seeds."""
        others = range(self.first_seed + 1, self.first_seed + self.seeds)
        return [Point(best.lr, best.batch_size, best.epochs, seed) for seed in others]


def _numbers(flag: str, text: str, kind: Callable[[str], Number]) -> tuple[Number, ...]:
    try:
        values = tuple(dict.fromkeys(kind(part) for part in text.split(",")))
    except ValueError:
        values = ()
    if not values or not all(0 < value < float("inf") for value in values):
        example = "3e-5,1e-4" if kind is float else "16,32"
        raise KdnasError(f"{flag} is {text!r}; numbers above 0 such as {example} would be right")
    return values
