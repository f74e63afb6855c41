"""Steps 6 and 7: the winner beside its teacher and its controls, and the report."""

from __future__ import annotations

import math
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.evaluation.scores import evaluate_model
from kdnas.measure import count_params
from kdnas.measure.grid import cells_for, latency_grid
from kdnas.report import Control, Results
from kdnas.report.model import HAND_PICKED
from kdnas.runtime.console import say
from kdnas.space import Architecture
from kdnas.space.handpicked import hand_picked
from kdnas.students.checkpoint import load_student
from kdnas.study.winner import choose_winner
from kdnas.teachers.load import EMBEDDED_NAME, load_teacher
from kdnas.workflow.distil import Trained
from kdnas.workflow.search import RANDOM_SEARCH

FINAL_REPEATS = 100


class Delivered(Trained):
    """Evaluates shipped students and tells of them."""

    def controls(self, winner: Architecture, drawn: Study | None, folder: Path) -> list[Control]:
        """The same student without KD, and others with it: a hand-picked one, random search's."""
        self.fine_tune(winner, folder / "fine-tuned")
        made = [Control("fine-tuned without KD", winner, folder / "fine-tuned")]
        picked = self.hand_picked(winner, folder.parent / "student")
        if picked is not None:
            self.distil(picked, None, folder / "hand-picked")
            made.append(Control(HAND_PICKED, picked, folder / "hand-picked"))
        if drawn and self.settings.random_control == "full":
            best = choose_winner(drawn, speedup=self.settings.speedup)
            found = Architecture.from_params(best.params)
            self.distil(found, None, folder / "random-search")
            made.append(Control(RANDOM_SEARCH, found, folder / "random-search"))
        return made

    def hand_picked(self, winner: Architecture, student: Path) -> Architecture | None:
        """Of the students that one would pick by hand, the one whose speed-up is the winner's.

        Args:
            winner: The student that was searched for.
            student: Its checkpoint.

        Returns:
            The one nearest to it; None where the space has no other than the winner.
        """
        candidates = hand_picked(self.space, winner)
        if not candidates:
            return None
        wanted = self.measured(winner, student)["costs"]["speedup"]

        def compute() -> dict[str, int | str]:
            say(f"timing {len(candidates)} students that one would pick by hand")
            return min(
                candidates, key=lambda a: abs(math.log(self.evaluator.speedup(a) / wanted))
            ).params

        name = " ".join((HAND_PICKED, *student.parent.relative_to(self.run.folder).parts))
        step = self.run.step(name, winner.params)
        return Architecture.from_params(step.get(self.run.timed(name)(compute)))

    def measured(self, architecture: Architecture, folder: Path) -> dict[str, Any]:
        """Scores and costs of a shipped student, measured once."""
        name = " ".join(("evaluate", *folder.relative_to(self.run.folder).parts))

        def compute() -> dict[str, Any]:
            # With its classes in the task's order, also where an older version had another one.
            model = load_teacher(str(folder), self.data.spec).model
            costs = self.evaluator.costs(model, FINAL_REPEATS)
            return {"costs": asdict(costs), "scores": self.score(model)}

        step = self.run.step(name, {"architecture": architecture.params, **self.here})
        measured: dict[str, Any] = step.get(self.run.timed(name)(compute))
        return measured

    def grid(self, architecture: Architecture, folder: Path) -> list[dict[str, Any]]:
        """Latencies of a shipped student and its teacher by batch size and length, once."""
        settings = self.settings
        name = " ".join(("latency", *folder.relative_to(self.run.folder).parts))
        cells = cells_for(self.data.length, settings.latency_batch, settings.latency_length)

        def compute() -> list[dict[str, Any]]:
            timed, teacher = (
                self.evaluator.timed(load_student(folder)),
                self.evaluator.timed_teacher,
            )
            return latency_grid(timed, teacher, cells, settings.latency_quiet)

        key = {"architecture": architecture.params, "cells": cells, **self.here}
        measured: list[dict[str, Any]] = self.run.step(name, key).get(self.run.timed(name)(compute))
        return measured

    @property
    def here(self) -> dict[str, Any]:
        """The machine that latencies are of: on another one they are measured again."""
        return {"host": platform.node(), "environment": self.runtime.describe()}

    def score(self, model: Any) -> dict[str, float]:
        """A model's scores on the task's evaluation splits, in fp32 as official scores are."""
        data, exact = self.data, self.runtime.exact
        return evaluate_model(model, data.evaluation, data.spec, exact, self.teacher.pad_id)

    def results(
        self, winner: FrozenTrial, home: Path, controls: list[Control], speedup: float | None
    ) -> Results:
        """Everything that a report tells, apart from the trials."""
        architecture = Architecture.from_params(winner.params)
        teacher = self.teacher
        scores = {}
        if teacher.has_head:
            name = "evaluate teacher"
            compute = self.run.timed(name)(lambda: self.score(teacher.model))
            scores = self.run.step(name, {}).get(compute)
        return Results(
            spec=self.data.spec,
            teacher_name=self.settings.teacher or EMBEDDED_NAME,
            teacher_params=count_params(teacher.model),
            teacher_macs=self.evaluator.teacher_macs,
            teacher_architecture=self.space.teacher,
            teacher_scores=scores,
            winner=winner.number,
            architecture=architecture,
            speedup_wanted=speedup,
            home=home,
            student=self.measured(architecture, home / "student"),
            controls=[(c, self.measured(c.architecture, c.folder)) for c in controls],
            grid=self.grid(architecture, home / "student"),
            space_size=len(self.space.architectures),
            environment=self.runtime.describe(),
        )
