"""What an evaluation will do: fine-tunings, their minutes, disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kdnas.distillation.probe import seconds_a_step
from kdnas.evaluation.data import Subject
from kdnas.evaluation.tuning import FINE_TUNING, Point, fresh
from kdnas.files.disk import PAUSED, WEIGHT_BYTES, Disk
from kdnas.measure import count_params
from kdnas.runtime.device import Runtime
from kdnas.runtime.formatting import several
from kdnas.runtime.plan import Plan, Step
from kdnas.tasks import EncodedExamples


@dataclass(frozen=True)
class Foreseen:
    """The plan of an evaluation; without fine-tunings it has no steps."""

    plan: Plan
    rows: dict[str, dict[str, int]]  # by task and split
    disk: Disk | None

    @property
    def lines(self) -> list[str]:
        """For people."""
        rows = {task: _counts(splits) for task, splits in self.rows.items()}
        told = [f"  {task:<11}{counts}" for task, counts in rows.items()]
        if not self.plan.steps:
            return ["plan: score the checkpoint as it is", *told]
        disk = self.disk.lines if self.disk else []
        return [self.plan.headline, *told, *self.plan.lines, *disk]

    @property
    def described(self) -> dict[str, Any]:
        """As plain values, for --json."""
        disk = self.disk and {**asdict(self.disk), "folder": str(self.disk.folder)}
        return {**self.plan.described, "rows": self.rows, "disk": disk, "lines": self.lines}


def foresee(
    subjects: Sequence[Subject],
    trains: Mapping[str, EncodedExamples],
    points: Sequence[Point],
    seeds: int,
    runtime: Runtime,
    folder: Path,
) -> Foreseen:
    """Plans an evaluation, after a few steps of training on the first task that needs it.

    `trains` has the training examples of the tasks that are fine-tuned, by name; `points` are the
    fine-tunings with the first seed.
    """
    rows = {}
    for one in subjects:
        name = one.spec.name
        train = {"train": trains[name].row_count} if name in trains else {}
        rows[name] = train | {split: data.row_count for split, data in one.splits.items()}
    tuned = [one for one in subjects if one.spec.name in trains]
    if not tuned:
        return Foreseen(Plan([]), rows, None)
    teacher, first = fresh(tuned[0], points[0].seed), trains[tuned[0].spec.name]
    needed = (1 + PAUSED) * WEIGHT_BYTES * count_params(teacher.model) * len(tuned)
    probed = (teacher.model, first, points[0].schedule, runtime, teacher.pad_id)
    seconds, tokens = seconds_a_step(*probed)
    count = len(points) + seeds - 1
    # Of the best point, which is not known yet, there are more seeds.
    epochs = sum(point.epochs for point in points) + (seeds - 1) * points[0].epochs
    steps = []
    for one in tuned:
        name = one.spec.name
        spent = epochs * int(trains[name].sizes.sum()) * seconds / tokens
        title = f"{name}: {several(count, 'fine-tuning')}"
        steps.append(Step(name, title, {FINE_TUNING: spent / runtime.team.size}))
    return Foreseen(Plan(steps), rows, Disk.of(folder, needed))


def _counts(splits: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in splits.items()) + " rows"
