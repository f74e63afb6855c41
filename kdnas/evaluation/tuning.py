"""Fine-tunes a checkpoint on one task, over a grid and several seeds, and keeps what each gave."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from transformers import GenerationConfig, PreTrainedModel

from kdnas.config import Settings
from kdnas.config.recipe import LEAST_EPOCHS, MOST_BATCH, MOST_EPOCHS
from kdnas.distillation.schedule import Schedule
from kdnas.errors import DivergedError, KdnasError
from kdnas.evaluation.answers import keep_threshold
from kdnas.evaluation.data import Subject
from kdnas.evaluation.scores import evaluate_model
from kdnas.files.artifact import Artifact, json_artifact, key_of
from kdnas.runtime.console import progress, say
from kdnas.runtime.device import Runtime
from kdnas.runtime.formatting import as_score
from kdnas.runtime.shown import quoted, shown
from kdnas.students.checkpoint import load_student, student_artifact
from kdnas.tasks import EncodedExamples
from kdnas.tasks.metrics import scored_by, task_score
from kdnas.tasks.sampling import HELD_OUT_SHARE, split_off
from kdnas.teachers.cache import teacher_key
from kdnas.teachers.fine_tune import fine_tune
from kdnas.teachers.load import Teacher, load_teacher, with_fresh_head

# The grid of Turc et al. 2019, Well-Read Students Learn Better, appendix B.
GRID_LRS = (3e-5, 5e-5, 1e-4, 3e-4)
GRID_BATCH_SIZES = (8, 16, 32, 64, 128)
MOST_SEEDS = 1000
FINE_TUNING = "fine-tuning"
WRITING = "generation"  # in a record of scores: how the model writes
WORST = -2.0  # below every metric
WIDTH = 80  # of a terminal

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
        return f"lr {self.lr:g}, batch {self.batch_size}, seed {self.seed}"

    @property
    def schedule(self) -> Schedule:
        """The training loop's schedule; dropout is on, as in run_glue.py."""
        return Schedule(self.epochs, self.lr, self.batch_size, self.seed, dropout=True)


@dataclass(frozen=True)
class Outcome:
    """What a fine-tuning gave: its scores by metric, none where it diverged; the task's score."""

    point: Point
    key: str
    scores: dict[str, float]
    total: float  # the task's score, WORST where it diverged


def plan(
    settings: Settings,
    grid: bool = False,
    lrs: str | float | Sequence[float] | None = None,
    batch_sizes: str | int | Sequence[int] | None = None,
    epochs: float | None = None,
    seeds: int = 1,
) -> list[Point]:
    """The fine-tunings with the first seed; what is not given is as for a teacher."""
    epochs = settings.teacher_epochs if epochs is None else epochs
    limits = (("--epochs", epochs, LEAST_EPOCHS, MOST_EPOCHS), ("--seeds", seeds, 1, MOST_SEEDS))
    for flag, value, least, most in limits:
        kind, what = (int | float, "number") if flag == "--epochs" else (int, "whole number")
        if not (isinstance(value, kind) and least <= value <= most):
            raise KdnasError(
                f"invalid {flag} {shown(value)}: expected a {what} from {least} to {most:g}"
            )
    rates: Sequence[float] = GRID_LRS if grid else (settings.teacher_lr,)
    rates = rates if lrs is None else _numbers("--lrs", lrs, float)
    sizes: Sequence[int] = GRID_BATCH_SIZES if grid else (settings.batch_size,)
    sizes = sizes if batch_sizes is None else _numbers("--batch-sizes", batch_sizes, int)
    return [Point(lr, size, epochs, settings.seed) for lr in rates for size in sizes]


def _numbers(
    flag: str, given: str | Number | Sequence[Number], kind: Callable[[str], Number]
) -> tuple[Number, ...]:
    """Positive numbers, also as text with commas between them, or one alone."""
    several = [given] if isinstance(given, int | float) else given
    parts = several.split(",") if isinstance(several, str) else map(str, several)
    try:
        values = tuple(dict.fromkeys(kind(part) for part in parts))
    except ValueError:
        values = ()
    # A learning rate may be any: what diverges does not count.
    most, example = (inf, "3e-5,1e-4") if kind is float else (MOST_BATCH + 1, "16,32")
    if not values or not all(0 < value < most for value in values):
        limit = "" if most == inf else f", at most {MOST_BATCH},"
        raise KdnasError(
            f"invalid {flag} {quoted(given)}: expected numbers above 0{limit} such as {example}"
        )
    return values


@dataclass
class Tuner:
    """Fine-tunes a checkpoint on its task."""

    subject: Subject
    train: EncodedExamples
    runtime: Runtime  # of the training; scores are computed in fp32
    folder: Path  # keeps `POINT.json` for each point, and in `model` the best checkpoint
    done: list[Outcome] = field(default_factory=list)
    left: Outcome | None = None  # of the best checkpoint that an earlier evaluation left in `model`

    def tune(self, grid: Sequence[Point], seeds: int) -> list[Outcome]:
        """Fine-tunes at every point of a grid, then at the best one with further seeds.

        Returns the outcomes of the best point, the grid's own seed first, without diverged ones;
        KdnasError where every point diverged.
        """
        total, name = len(grid) + seeds - 1, self.subject.spec.name
        first = grid[0].seed
        self.left = self._left([replace(p, seed=first + i) for p in grid for i in range(seeds)])
        # Another takes the place of a checkpoint only once both are known.
        grid = sorted(grid, key=lambda point: not self._is_of_left(point))
        with progress(f"{name} {FINE_TUNING}", total, unit=f"{name}: {FINE_TUNING}") as advance:

            def take(point: Point) -> Outcome:
                outcome = self._take(point, total)
                advance("")
                return outcome

            best = max([take(point) for point in grid], key=lambda one: one.total)
            if not best.scores:
                raise KdnasError(f"{name}: every fine-tuning diverged; lower --lrs")
            others = [replace(best.point, seed=seed) for seed in range(first + 1, first + seeds)]
            outcomes = [best, *map(take, others)]
        return [outcome for outcome in outcomes if outcome.scores]

    def best_model(self) -> PreTrainedModel:
        """The checkpoint that scored best of all; trained again where it is no longer there."""
        best = max(self.done, key=lambda one: one.total)
        kept = self._kept(best.point, best.key)
        if not kept.done():
            kept.write(self._fine_tuned(best.point, best.key).model)
            self._checkpoint(best.key).unlink(missing_ok=True)
        return load_student(kept.path)

    def _take(self, point: Point, total: int) -> Outcome:
        """One point: its outcome on disk where it is done, else fine-tuned now."""
        start, key = time.perf_counter(), self._key(point)
        found, known = self._scores(point, key)
        outcome = self._outcome(point, key, found)
        self._checkpoint(key).unlink(missing_ok=True)
        self.done.append(outcome)
        result = metrics_line(outcome.scores) if outcome.scores else "diverged"
        spent = "from an earlier evaluation" if known else f"{time.perf_counter() - start:.0f} s"
        place = f"{self.subject.spec.name} {len(self.done)}/{total}"
        for line in point_lines(place, point.label, result, spent):
            say(line)
        return outcome

    def _outcome(self, point: Point, key: str, scores: dict[str, float]) -> Outcome:
        return Outcome(
            point, key, scores, task_score(self.subject.spec, scores) if scores else WORST
        )

    def _scores(self, point: Point, key: str) -> tuple[dict[str, float], bool]:
        """The scores of a point, none where it diverged, and whether they were on disk."""
        subject = self.subject
        stem = f"lr{point.lr:g}-batch{point.batch_size}-epochs{point.epochs:g}-seed{point.seed}"
        file = self.folder / f"{stem}.json"
        by = {**scored_by(subject.spec, subject.splits), **self._writing()}
        before = _known_scores(file, key, by)
        if before is not None:
            return before, True

        def compute() -> dict[str, float]:
            kept, exact = self._kept(point, key), self.runtime.exact
            there = kept.done()  # scored before by other metrics, or as it wrote otherwise
            try:
                model = self._read(kept) if there else self._fine_tuned(point, key).model
                found = evaluate_model(model, subject.splits, subject.spec, exact, subject.pad_id)
            except DivergedError:
                return {}
            if not there and self._is_best(self._outcome(point, key, found)):
                kept.write(model)
            return found

        return json_artifact(file, {"fine-tuning": key, **by}).get(compute), False

    def _is_best(self, one: Outcome) -> bool:
        """Whether an outcome is above all so far, the first of equals being the best."""
        left = self.left.total if self.left and self._is_of_left(one.point) else WORST
        return one.total > max((o.total for o in self.done), default=WORST) and one.total >= left

    def _is_of_left(self, point: Point) -> bool:
        """Whether a point is that of the checkpoint left in `model`, with whatever seed."""
        return (
            self.left is not None and replace(point, seed=self.left.point.seed) == self.left.point
        )

    def _left(self, points: Sequence[Point]) -> Outcome | None:
        """Which of some points has its checkpoint on disk, scored now where it is not."""
        named = (key_of(self.folder / "model") or {}).get("point")
        point = next((one for one in points if asdict(one) == named), None)
        key = None if point is None else self._key(point)
        if point is None or key is None or not self._kept(point, key).done():
            return None
        return self._outcome(point, key, self._scores(point, key)[0])

    @cached_property
    def _generation(self) -> GenerationConfig | None:
        """How models write; None where they do not. No training depends on it."""
        if not self.subject.spec.task_type.generates:
            return None
        own: GenerationConfig = fresh(self.subject, 0).model.generation_config
        return own

    def _writing(self) -> dict[str, Any]:
        """What decides the texts of trained weights: plain values for a key."""
        own = self._generation
        return {} if own is None else {WRITING: json.loads(own.to_json_string(use_diff=False))}

    def _read(self, kept: Artifact[PreTrainedModel]) -> PreTrainedModel:
        """A checkpoint of an earlier evaluation, which writes as the given one does now."""
        model = load_student(kept.path)
        if self._generation is not None:
            model.generation_config = self._generation
            kept.write(model)
        return model

    def _fine_tuned(self, point: Point, key: str) -> Teacher:
        tuned = fresh(self.subject, point.seed)
        title, checkpoint = f"{self.subject.spec.name}, {point.label}", self._checkpoint(key)
        schedule, remedy = point.schedule, "lower --lrs"
        train, apart = self._split()
        fine_tune(tuned, train, schedule, self.runtime, checkpoint, title, remedy)
        keep_threshold(tuned.model, apart, self.runtime.exact, tuned.pad_id, self.train)
        return tuned

    def _split(self) -> tuple[EncodedExamples, EncodedExamples]:
        """The rows to train on, and those on which a threshold is chosen, for types with one."""
        train = self.train
        if not self.subject.spec.task_type.has_threshold:
            return train, train.take([])
        count = max(1, round(HELD_OUT_SHARE * len(train)))
        kept, apart = split_off(train, count, 0)
        return train.take(kept), train.take(apart)

    def _kept(self, point: Point, key: str) -> Artifact[PreTrainedModel]:
        """The best checkpoint, where that is this point's."""
        what = {"task": self.subject.spec.name, "point": asdict(point), "key": key}
        return student_artifact(self.folder / "model", what, self.subject.tokenizer)

    def _checkpoint(self, key: str) -> Path:
        """Keeps an unfinished fine-tuning, and a finished one until its scores are on disk."""
        return self.folder / "work" / f"{key}.pt"

    def _key(self, point: Point) -> str:
        """A hash of everything that decides a fine-tuning's outcome."""
        weights = self.train.class_weights
        weighed = {} if weights is None else {"class_weights": weights.tolist()}
        return teacher_key(
            fresh(self.subject, point.seed),
            self.train,
            **weighed,
            schedule=asdict(point.schedule),
            precision=self.runtime.precision,
            evaluation={split: data.fingerprint() for split, data in self.subject.splits.items()},
        )


def _known_scores(file: Path, key: str, by: Mapping[str, Any]) -> dict[str, float] | None:
    """The scores of an earlier evaluation, in which a fine-tuning may have diverged; None: unknown.

    Args:
        file: What it left.
        key: Of the fine-tuning.
        by: What decides the scores of a model; evaluations of earlier versions do not name it, and
            count as those of a model that writes as it does now.
    """
    known = key_of(file) or {}
    record = json_artifact(file, known)
    if known.get("fine-tuning") != key or not record.done():
        return None
    found: dict[str, float] = record.read()
    if not found:
        return {}
    writing = by.get(WRITING)
    if writing is not None and WRITING not in known:
        known = {**known, WRITING: writing}
        json_artifact(file, known).write(found)  # so that a later change is seen
    asked = {"metrics": [*found], **known}
    same = all(asked.get(name) == by.get(name) for name in ("positive", WRITING))
    if not same or not {*by["metrics"]} <= {*asked["metrics"]}:
        return None
    return {name: found[name] for name in by["metrics"] if name in found}


def fresh(subject: Subject, seed: int) -> Teacher:
    """The checkpoint's encoder under a new head."""
    loaded = load_teacher(subject.model, subject.spec, seed, options=subject.options)
    return with_fresh_head(loaded, seed)


def metrics_line(scores: dict[str, float], spread: dict[str, float] | None = None) -> str:
    """`accuracy 0.8186  f1 0.8733`, each with its spread over seeds where there is one."""
    more = {name: f" ± {as_score(value)}" for name, value in (spread or {}).items()}
    return "  ".join(
        f"{name} {as_score(value)}{more.get(name, '')}" for name, value in scores.items()
    )


def point_lines(place: str, label: str, scores: str, spent: str) -> list[str]:
    """The result of one fine-tuning, in one line, or in two where one would be too wide."""
    line = f"  {place}: {label}: {scores} ({spent})"
    return [line] if len(line) <= WIDTH else [f"  {place}: {label} ({spent}):", f"    {scores}"]
