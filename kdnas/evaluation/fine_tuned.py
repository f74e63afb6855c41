"""Fine-tunes a checkpoint on one task at several points, and keeps what each gave."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from kdnas.errors import DivergedError, KdnasError
from kdnas.evaluation.grid import Point, Tuning
from kdnas.evaluation.scores import evaluate_model
from kdnas.evaluation.show import metrics_line, point_lines
from kdnas.evaluation.subject import Subject
from kdnas.files.artifact import json_artifact
from kdnas.files.atomic import read_json
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.students.checkpoint import RECORD, load_student, ship_student
from kdnas.tasks import EncodedExamples
from kdnas.tasks.metrics import task_score
from kdnas.teachers.cache import teacher_key
from kdnas.teachers.fine_tune import fine_tune
from kdnas.teachers.load import Teacher, load_teacher, with_fresh_head

WORST = -2.0  # below every metric


class Tuned:
    """The fine-tunings of one checkpoint on one task.

    Args:
        subject: Both of them.
        tuning: The points.
        runtime: Where; scores are computed in fp32 all the same.
        folder: Keeps `POINT.json` for each point, and in `model` the best checkpoint.
    """

    def __init__(self, subject: Subject, tuning: Tuning, runtime: Runtime, folder: Path) -> None:
        self.subject = subject
        self.name = subject.spec.name
        self.tuning = tuning
        self.runtime = runtime
        self.folder = folder
        self.done: dict[Point, dict[str, Any]] = {}

    def run(self) -> list[tuple[Point, dict[str, float]]]:
        """The scores at the grid's best point with each seed, the grid's own seed first.

        Raises:
            KdnasError: No point has converged.
        """
        grid = self.tuning.grid
        for point in grid:
            self._take(point)
        best = max(grid, key=self._score)
        if not self.done[best]["scores"]:
            raise KdnasError(f"{self.name}: every fine-tuning has diverged; lower --lrs")
        chosen = [best, *self.tuning.repeats(best)]
        for point in chosen[1:]:
            self._take(point)
        return [(p, self.done[p]["scores"]) for p in chosen if self.done[p]["scores"]]

    @property
    def diverged(self) -> list[str]:
        """The points that have."""
        return [point.label for point, result in self.done.items() if not result["scores"]]

    def model(self) -> Any:
        """The checkpoint that scored best, of all points and seeds."""
        best = max(self.done, key=self._score)
        record = read_json(self.folder / "model" / RECORD) or {}
        if record.get("key") != self.done[best]["key"]:
            self._ship(best, self._fine_tuned(best, self.done[best]["key"]))
            self._checkpoint(self.done[best]["key"]).unlink(missing_ok=True)
        return load_student(self.folder / "model")

    def _take(self, point: Point) -> None:
        """One point: from the folder where it was taken before, else now."""
        start, path = time.perf_counter(), self.folder / f"{point.stem}.json"
        key = self._key(point)
        step = json_artifact(path, {"key": key})
        before = step.done()
        self.done[point] = {"key": key, "scores": {}}
        self.done[point]["scores"] = step.get(lambda: self._scores(point, key))
        self._checkpoint(key).unlink(missing_ok=True)
        scores = self.done[point]["scores"]
        told = metrics_line(scores) if scores else "has diverged"
        spent = "kept from before" if before else f"{time.perf_counter() - start:.0f} s"
        total = len(self.tuning.grid) + self.tuning.seeds - 1
        for line in point_lines(f"{self.name} {len(self.done)}/{total}", point.label, told, spent):
            say(line)

    def _scores(self, point: Point, key: str) -> dict[str, float]:
        """Fine-tunes and scores; ships the checkpoint if none so far was better."""
        subject, tuned = self.subject, self._fine_tuned(point, key)
        data, exact = subject.evaluation, self.runtime.exact
        try:
            scores = evaluate_model(tuned.model, data, subject.spec, exact, tuned.pad_id)
        except DivergedError:
            return {}
        if task_score(scores) > max(map(self._score, self.done)):
            self._ship(point, tuned)
        return scores

    def _fine_tuned(self, point: Point, key: str) -> Teacher:
        tuned, title = self._fresh(point.seed), f"{self.name}, {point.label}"
        checkpoint = self._checkpoint(key)
        fine_tune(tuned, self._train, point.schedule, self.runtime, checkpoint, title)
        return tuned

    def _checkpoint(self, key: str) -> Path:
        """Keeps an unfinished fine-tuning, and a finished one until its scores are safe."""
        return self.folder / "work" / f"{key}.pt"

    def _ship(self, point: Point, tuned: Teacher) -> None:
        record = {"task": self.name, "point": asdict(point), "key": self.done[point]["key"]}
        ship_student(self.folder / "model", tuned.model, tuned.tokenizer, record)

    def _score(self, point: Point) -> float:
        scores = self.done[point]["scores"]
        return task_score(scores) if scores else WORST

    def _key(self, point: Point) -> str:
        """Names everything that decides a fine-tuning's outcome."""
        evaluation = {s: data.fingerprint() for s, data in self.subject.evaluation.items()}
        return teacher_key(
            self._fresh(point.seed),
            self._train,
            schedule=asdict(point.schedule),
            precision=self.runtime.precision,
            evaluation=evaluation,
        )

    def _fresh(self, seed: int) -> Teacher:
        loaded = load_teacher(self.subject.model, self.subject.spec, seed)
        return with_fresh_head(loaded, seed)

    @cached_property
    def _train(self) -> EncodedExamples:
        return self.subject.train()
