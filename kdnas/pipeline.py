"""The whole way, from a teacher and a task to a student and a report.

Each step leaves its result in the run folder, and is skipped when that result is there.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from kdnas.console import say
from kdnas.distill.staging import check_logits, check_relations
from kdnas.report import write_report
from kdnas.search.presence import present, study_here
from kdnas.search.winner import choose_winner
from kdnas.space import Architecture
from kdnas.steps.deliver import Delivered
from kdnas.teacher.general import check_general_teacher
from kdnas.teacher.load import (
    has_head,
    load_config,
    teacher_source,
)


class Pipeline(Delivered):
    """The steps of one run, one after the other."""

    def everything(self) -> dict[str, Any]:
        """The seven steps; returns the content of report.json."""
        with self.run.alone(), present(study_here(self.settings, self.run.folder)):
            self.check()
            self.run.save()
            say(f"run folder: {self.run.folder}")
            self.open_study()
            self.run.log("machine", host=platform.node(), **self.runtime.describe())
            self.search()
            winner = choose_winner(self.open_study(), speedup=self.settings.speedup)
            return self.deliver(winner, self.run.folder)

    def check(self) -> None:
        """Tells bad input before anything is written.

        Raises:
            KdnasError: What is wrong.
        """
        settings, source = self.settings, teacher_source(self.settings.teacher)
        config = load_config(source)
        if settings.teacher_as_is:
            stages = (settings.mini_stage, *settings.stages)
            check_logits(stages, has_head(config, self.data.spec), source)
        check_relations(settings.recipe, self.space)
        if settings.general_teacher:
            check_general_teacher(settings.general_teacher, config, self.data.tokenizer)
        self.classroom.check()
        self.check_teacher()

    def another(self, number: int | None, speedup: float | None) -> dict[str, Any]:
        """Steps 5 to 7 for another trial of the study, in a folder of its own."""
        with self.run.alone():
            self.check_same_data()
            self.run.log("machine", host=platform.node(), **self.runtime.describe())
            chosen = choose_winner(self.open_study(), number=number, speedup=speedup)
            return self.deliver(chosen, self.run.folder / "students" / f"trial-{chosen.number}")

    def deliver(self, winner: FrozenTrial, home: Path) -> dict[str, Any]:
        """Steps 5 to 7 for one trial of the study; student and report go to `home`."""
        architecture = Architecture.from_params(winner.params)
        self.distil(architecture, winner.number, home / "student")
        drawn = self.random_search()
        controls = self.controls(architecture, drawn, home / "controls")
        results = self.results(winner, home, controls)
        return write_report(self.run, self.open_study(), drawn, results)
