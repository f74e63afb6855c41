"""Fine-tunes a checkpoint on one task, over a grid and several seeds, and keeps what each gave."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from math import inf
from pathlib import Path
from typing import TypeVar

from transformers import PreTrainedModel

from kdnas.distillation.schedule import Schedule
from kdnas.errors import DivergedError, KdnasError
from kdnas.evaluation.data import Subject
from kdnas.evaluation.scores import evaluate_model
from kdnas.evaluation.show import metrics_line, point_lines
from kdnas.files.artifact import json_artifact
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.students.checkpoint import load_student, student_artifact
from kdnas.tasks import EncodedExamples
from kdnas.tasks.metrics import task_score
from kdnas.teachers.cache import teacher_key
from kdnas.teachers.fine_tune import fine_tune
from kdnas.teachers.load import Teacher, load_teacher, with_fresh_head

# The grid of Turc et al. 2019, Well-Read Students Learn Better, appendix B.
GRID_LRS = (3e-5, 5e-5, 1e-4, 3e-4)
GRID_BATCH_SIZES = (8, 16, 32, 64, 128)
WORST = -2.0  # below every metric

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
        """The training loop's schedule; dropout is on, as in run_glue.py."""
        return Schedule(self.epochs, self.lr, self.batch_size, self.seed, dropout=True)


@dataclass(frozen=True)
class Tuning:
    """All fine-tunings of one task.

    Attributes:
        lrs: Peak learning rates of the grid.
        batch_sizes: Its batch sizes.
        epochs: Epochs of each.
        seeds: Seeds at the grid's best point; the grid itself runs with the first.
        first_seed: The first of them.
    """

    lrs: tuple[float, ...]
    batch_sizes: tuple[int, ...]
    epochs: float = 3.0
    seeds: int = 1
    first_seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("--epochs", self.epochs), ("--seeds", self.seeds)):
            if not 0 < value < inf:
                raise KdnasError(f"invalid {name} {value}: expected a number above 0")

    @property
    def grid(self) -> list[Point]:
        """Every learning rate with every batch size, all with the first seed."""
        pairs = product(self.lrs, self.batch_sizes)
        return [Point(lr, size, self.epochs, self.first_seed) for lr, size in pairs]

    def repeats(self, best: Point) -> list[Point]:
        """The best point with the other seeds."""
        others = range(self.first_seed + 1, self.first_seed + self.seeds)
        return [Point(best.lr, best.batch_size, best.epochs, seed) for seed in others]


@dataclass(frozen=True)
class Outcome:
    """What a fine-tuning gave: its scores by metric, none where it diverged."""

    point: Point
    key: str
    scores: dict[str, float]

    @property
    def total(self) -> float:
        """The mean of the metrics."""
        return task_score(self.scores) if self.scores else WORST


def numbers(
    flag: str, given: str | Sequence[Number], kind: Callable[[str], Number]
) -> tuple[Number, ...]:
    """Positive numbers, also as text with commas between them.

    Raises:
        KdnasError: There is none, or one is not a positive number.
    """
    parts = given.split(",") if isinstance(given, str) else map(str, given)
    try:
        values = tuple(dict.fromkeys(kind(part) for part in parts))
    except ValueError:
        values = ()
    if not values or not all(0 < value < inf for value in values):
        example = "3e-5,1e-4" if kind is float else "16,32"
        raise KdnasError(f"invalid {flag} {given!r}: expected numbers above 0 such as {example}")
    return values


def tune(
    subject: Subject, train: EncodedExamples, tuning: Tuning, runtime: Runtime, folder: Path
) -> tuple[list[Outcome], list[Outcome]]:
    """Fine-tunes at every point of the grid, then at the best one with the other seeds.

    Args:
        subject: The checkpoint and its task.
        train: Training examples.
        tuning: The points.
        runtime: Device and precision of the training; scores are computed in fp32.
        folder: Keeps `POINT.json` for each point, and in `model` the best checkpoint.

    Returns:
        All outcomes; and those of the best point, the grid's own seed first, without diverged ones.

    Raises:
        KdnasError: Every point diverged.
    """
    done: list[Outcome] = []
    total = len(tuning.grid) + tuning.seeds - 1

    def take(point: Point) -> Outcome:
        place = f"{subject.spec.name} {len(done) + 1}/{total}"
        done.append(_take(subject, train, point, runtime, folder, done, place))
        return done[-1]

    best = max([take(point) for point in tuning.grid], key=lambda outcome: outcome.total)
    if not best.scores:
        raise KdnasError(f"{subject.spec.name}: every fine-tuning diverged; lower --lrs")
    seeds = [best, *(take(point) for point in tuning.repeats(best.point))]
    return done, [outcome for outcome in seeds if outcome.scores]


def best_model(
    subject: Subject,
    train: EncodedExamples,
    done: Sequence[Outcome],
    runtime: Runtime,
    folder: Path,
) -> PreTrainedModel:
    """The checkpoint that scored best of all; trained again where it is no longer there."""
    best = max(done, key=lambda outcome: outcome.total)
    kept = student_artifact(folder / "model", _kept_key(subject, best.point, best.key))
    if not kept.done():
        tuned = _fine_tuned(subject, train, best.point, best.key, runtime, folder)
        _keep(subject, best.point, best.key, tuned, folder)
        _checkpoint(folder, best.key).unlink(missing_ok=True)
    return load_student(folder / "model")


def _take(
    subject: Subject,
    train: EncodedExamples,
    point: Point,
    runtime: Runtime,
    folder: Path,
    done: Sequence[Outcome],
    place: str,
) -> Outcome:
    """One point: its outcome on disk where it is done, else fine-tuned now."""
    start, key = time.perf_counter(), _key(subject, train, point, runtime)
    record = json_artifact(folder / f"{point.stem}.json", {"fine-tuning": key})
    before = record.done()

    def scores() -> dict[str, float]:
        tuned = _fine_tuned(subject, train, point, key, runtime, folder)
        try:
            found = evaluate_model(
                tuned.model, subject.splits, subject.spec, runtime.exact, tuned.pad_id
            )
        except DivergedError:
            return {}
        if task_score(found) > max((outcome.total for outcome in done), default=WORST):
            _keep(subject, point, key, tuned, folder)
        return found

    outcome = Outcome(point, key, record.get(scores))
    _checkpoint(folder, key).unlink(missing_ok=True)
    result = metrics_line(outcome.scores) if outcome.scores else "diverged"
    spent = "from an earlier evaluation" if before else f"{time.perf_counter() - start:.0f} s"
    for line in point_lines(place, point.label, result, spent):
        say(line)
    return outcome


def _fine_tuned(
    subject: Subject,
    train: EncodedExamples,
    point: Point,
    key: str,
    runtime: Runtime,
    folder: Path,
) -> Teacher:
    tuned, title = fresh(subject, point.seed), f"{subject.spec.name}, {point.label}"
    fine_tune(tuned, train, point.schedule, runtime, _checkpoint(folder, key), title)
    return tuned


def fresh(subject: Subject, seed: int) -> Teacher:
    """The checkpoint's encoder under a new head."""
    return with_fresh_head(load_teacher(subject.model, subject.spec, seed), seed)


def _keep(subject: Subject, point: Point, key: str, tuned: Teacher, folder: Path) -> None:
    kept_key = _kept_key(subject, point, key)
    student_artifact(folder / "model", kept_key, tuned.tokenizer).write(tuned.model)


def _kept_key(subject: Subject, point: Point, key: str) -> dict[str, object]:
    return {"task": subject.spec.name, "point": asdict(point), "key": key}


def _checkpoint(folder: Path, key: str) -> Path:
    """Keeps an unfinished fine-tuning, and a finished one until its scores are on disk."""
    return folder / "work" / f"{key}.pt"


def _key(subject: Subject, train: EncodedExamples, point: Point, runtime: Runtime) -> str:
    """A hash of everything that decides a fine-tuning's outcome."""
    return teacher_key(
        fresh(subject, point.seed),
        train,
        schedule=asdict(point.schedule),
        precision=runtime.precision,
        evaluation={split: data.fingerprint() for split, data in subject.splits.items()},
    )
