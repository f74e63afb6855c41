"""Step 5: students at full length, the winner and its controls."""

from __future__ import annotations

import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

from kdnas.recipes.full import FullKD
from kdnas.recipes.stage_resources import StageResources
from kdnas.runtime.console import say
from kdnas.space import Architecture
from kdnas.students.checkpoint import ship_student, shipped
from kdnas.students.state import StudentState
from kdnas.workflow.search import Searched


class Trained(Searched):
    """Trains students fully and ships them."""

    def distil(self, architecture: Architecture, trial: int | None, folder: Path) -> None:
        """Distils an architecture fully and ships it, going on from a trial's mini-KD."""
        record = self.record_of(architecture, trial)
        if shipped(folder, record):
            return
        say(f"{folder.name}: distilling {architecture.label}")
        work, title = self._work(folder, architecture), self._title(folder)

        def begin() -> StudentState:
            return self._after_mini_kd(architecture, trial, title)

        with self.run.timed(f"distil {folder.name}"):
            distilled = self.full.run(architecture, begin, work, title)
            ship_student(folder, distilled.student, self.teacher.tokenizer, record)
        shutil.rmtree(work, ignore_errors=True)

    @staticmethod
    def record_of(architecture: Architecture, trial: int | None) -> dict[str, Any]:
        """What a distilled student's folder says of it."""
        return {"architecture": architecture.params, "trial": trial, "method": "distilled"}

    @cached_property
    def full(self) -> FullKD:
        """Trains at full length."""
        return FullKD(self.settings, self.runtime, self.classroom, self.teacher.pad_id, self.record)

    @cached_property
    def classroom(self) -> StageResources:
        """Where its stages find their teachers and their data."""
        return StageResources(self.run, self.data, lambda: self.teacher, self.runtime)

    def _after_mini_kd(
        self, architecture: Architecture, trial: int | None, title: str
    ) -> StudentState:
        distilled = self.mini.start(architecture)
        kept = self.run.folder / "trials" / str(trial)
        if trial is None or not distilled.load(kept):
            self.mini.run(distilled, title=title)
        return distilled

    def fine_tune(self, architecture: Architecture, folder: Path) -> None:
        """Trains an architecture on labels alone, from the same start, and keeps it."""
        record = {"architecture": architecture.params, "trial": None, "method": "fine-tuned"}
        if shipped(folder, record):
            return
        say(f"{folder.name}: training {architecture.label} on labels alone")
        work = self._work(folder, architecture)
        with self.run.timed(f"control {folder.name}"):
            student = self.mini.start(architecture).student
            self.full.fine_tune(student, self.data.train, work, self._title(folder))
            ship_student(folder, student, self.teacher.tokenizer, record)
        shutil.rmtree(work, ignore_errors=True)

    def _title(self, folder: Path) -> str:
        """A student's name among all of the run: `student`, `hand-picked`, `trial-3 student`."""
        parts = folder.relative_to(self.run.folder).parts
        return " ".join(part for part in parts if part not in ("controls", "students"))

    def _work(self, folder: Path, architecture: Architecture) -> Path:
        """Where an unfinished training keeps its state."""
        return self.run.folder / "work" / folder.name / architecture.label.replace(" ", "-")
