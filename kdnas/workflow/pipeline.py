"""The whole way, from a teacher and a task to a student and a report.

Each step leaves its result in the run folder, and is skipped when that result is there.
"""

from __future__ import annotations

import math
import platform
from pathlib import Path

from optuna.trial import FrozenTrial

from kdnas.errors import KdnasError
from kdnas.recipes.stages import check_logits, check_relations
from kdnas.report import Report, write_report
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.space import Architecture
from kdnas.students.checkpoint import shipped
from kdnas.study.budget import Plan
from kdnas.study.presence import present, study_here
from kdnas.study.reachable import check_reach
from kdnas.study.rungs import spent
from kdnas.study.trials import read_study
from kdnas.study.winner import choose_winner
from kdnas.teachers.general import check_general_teacher
from kdnas.teachers.load import (
    has_head,
    load_config,
    teacher_source,
)
from kdnas.workflow.deliver import Delivered


class Pipeline(Delivered):
    """The steps of one run, one after the other."""

    def everything(self) -> Report:
        """The seven steps; returns the report."""
        with self.run.alone(), present(study_here(self.settings, self.run.folder)):
            self.check()
            self.check_total()
            self.check_limits()
            self.run.save()
            say(f"run folder: {self.run.folder}")
            self.open_study()
            self.run.log("machine", host=platform.node(), **self.runtime.describe())
            self.search()
            winner = choose_winner(self.open_study(), speedup=self.settings.speedup)
            return self.deliver(winner, self.run.folder, self.settings.speedup)

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

    def check_total(self) -> None:
        """Refuses a total that lowers the run's below what it has already.

        Raises:
            KdnasError: It is too low.
        """
        settings, folder = self.settings, self.run.folder
        if settings.trials >= Run.open(folder).settings.trials:
            return
        try:
            study = read_study(self.storage, settings.study, folder)
        except KdnasError:  # nobody has begun it
            return
        ladder = Plan.of(settings).ladder
        done = spent(study.get_trials(deepcopy=False), ladder) / ladder.top
        if settings.trials < done:
            raise KdnasError(
                f"--trials is {settings.trials}, but {done:g} are done already; it is the total: "
                f"{math.ceil(done)} ends the search with them, more go on"
            )

    def check_limits(self) -> None:
        """Refuses limits that no student keeps, before the teacher is trained.

        Raises:
            KdnasError: One is out of reach.
        """
        config = load_config(teacher_source(self.settings.teacher))
        check_reach(self.settings, self.space, config, self.data.spec, self.runtime)

    def another(self, number: int | None, speedup: float | None) -> Report:
        """Steps 5 to 7 for another trial of the study, in a folder of its own."""
        with self.run.alone():
            read_study(self.storage, self.settings.study, self.run.folder)  # or tells of none
            self.check_same_data()
            self.run.log("machine", host=platform.node(), **self.runtime.describe())
            chosen = choose_winner(self.open_study(), number=number, speedup=speedup)
            home = self.home(chosen)
            own = home == self.run.folder
            return self.deliver(chosen, home, self.settings.speedup if own else speedup)

    def home(self, trial: FrozenTrial) -> Path:
        """Where the student of a trial goes: the run's own place where it is there already."""
        folder, beside = self.run.folder, self.run.folder / "students" / f"trial-{trial.number}"
        if (beside / "student").exists():
            return beside
        record = self.record_of(Architecture.from_params(trial.params), trial.number)
        if not shipped(folder / "student", record):
            return beside
        say(f"trial {trial.number} is distilled already: it is the run's own student")
        return folder

    def deliver(self, winner: FrozenTrial, home: Path, speedup: float | None) -> Report:
        """Steps 5 to 7 for one trial of the study; student and report go to `home`.

        Args:
            winner: The trial.
            home: Folder.
            speedup: For which it was chosen; None where it was chosen otherwise.
        """
        architecture = Architecture.from_params(winner.params)
        self.distil(architecture, winner.number, home / "student")
        drawn = self.random_search()
        controls = self.controls(architecture, drawn, home / "controls")
        results = self.results(winner, home, controls, speedup)
        return write_report(self.run, self.open_study(), drawn, results)
