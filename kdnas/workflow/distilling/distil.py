"""The training of a student in full: what it is, and the folder that it fills."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from kdnas.config import Settings
from kdnas.evaluation.answers import settle_answers
from kdnas.recipes.full import prepare_data, run_recipe, train_on_labels
from kdnas.runs.context import Context
from kdnas.runs.run_folder import FAMILY, Run
from kdnas.runtime.console import say
from kdnas.space import Candidate
from kdnas.students.checkpoint import student_artifact
from kdnas.students.state import StudentState, state_artifact
from kdnas.workflow.distilling.assistants import FOLDER as ASSISTANTS
from kdnas.workflow.distilling.assistants import taught_by_assistant
from kdnas.workflow.distilling.seeds import SEEDS, named, with_seed
from kdnas.workflow.preparing.inputs import SHORT
from kdnas.workflow.preparing.prepare import Prepared
from kdnas.workflow.preparing.records import record_of

# What steps that distil further finalists are called, with their numbers.
FINALIST = "distil finalist"


@dataclass(frozen=True)
class FullTraining:
    """A student that is to be trained in full, done or not.

    Attributes:
        candidate: What is trained.
        folder: Gets the checkpoint.
        trial: Whose short training it goes on from, unless the recipe starts afresh; where that is
            None, or there is a `seed`, it goes on from a short training of its own.
        seed: Where it is not the run's.
        step: What the step is called, without the folder; with it, where there are several words.
        distilled: By the whole recipe; else on labels alone, from the same start.
    """

    candidate: Candidate
    folder: Path
    trial: int | None = None
    seed: int | None = None
    step: str = "distil"
    distilled: bool = True

    def record(self, settings: Settings) -> dict[str, Any]:
        """All that decides the checkpoint."""
        method = "distilled" if self.distilled else "fine-tuned"
        return record_of(settings, self.candidate, self.trial, method, self.seed)

    def done(self, settings: Settings) -> bool:
        """Whether the checkpoint is there."""
        return student_artifact(self.folder, self.record(settings)).done()

    def step_name(self, run: Run) -> str:
        """The step of the plan and the log."""
        return step_name(run, self.step, self.folder, self.seed)

    def prepare(self, prepared: Prepared) -> None:
        """Makes what it shares with other trainings, as far as that is not there."""
        prepared.rows(self.candidate.vocabulary)
        job = prepared.full(self.candidate.recipe)
        state = prepared.mini.untrained(self.candidate)
        if self.distilled:
            job = taught_by_assistant(prepared, job, self.candidate)
            prepare_data(job, self.candidate, state)

    def fill(self, prepared: Prepared) -> None:
        """Trains the student into its folder, unless it is there."""
        context, seed = prepared.context, self.seed
        vocabulary = prepared.inputs.vocabularies[self.candidate.vocabulary]
        given = (self.record(context.settings), vocabulary.tokenizer, prepared.teacher.scale)
        artifact = student_artifact(self.folder, *given)
        if artifact.done():
            return
        work, title = _work(context, self.folder, self.candidate, seed)
        with context.run.timed(self.step_name(context.run)):
            own = prepared if seed is None else with_seed(prepared, seed)
            state = (self._distilled if self.distilled else self._tuned)(own, work, title)
            model, rows = vocabulary.cut(state.model), prepared.rows(vocabulary.name)
            learnt = prepared.inputs.data.train
            settle_answers(model, rows.selection, context.runtime.exact, rows.pad_id, learnt)
            artifact.write(model)
        shutil.rmtree(work, ignore_errors=True)

    def _distilled(self, own: Prepared, work: Path, title: str) -> StudentState:
        candidate = self.candidate
        say(f"{title}: distilling {candidate.label}")
        known = None if self.seed is not None else self.trial
        job = taught_by_assistant(own, own.full(candidate.recipe), candidate)
        if job.settings.follows_mini_kd:
            start = partial(after_mini_kd, own, candidate, known, work, title)
        else:  # of the run's teacher, whoever teaches it
            start = partial(own.mini.untrained, candidate)
        if candidate.assistants:
            start = partial(_without_parts, start)
        given = job.settings.follows_mini_kd or candidate.assistants
        return run_recipe(job, candidate, work, title, start if given else None)

    def _tuned(self, own: Prepared, work: Path, title: str) -> StudentState:
        say(f"{title}: training {self.candidate.label} on labels alone")
        state = own.mini.untrained(self.candidate)
        train_on_labels(own.full(self.candidate.recipe), state, work, title)
        return state


def _without_parts(start: Callable[[], StudentState]) -> StudentState:
    """A student without what its losses learnt: means and scales of another teacher's states."""
    return replace(start(), parts={})


def distil(prepared: Prepared, candidate: Candidate, trial: int | None, folder: Path) -> None:
    """Distils a candidate by the whole recipe into a folder, unless it is there."""
    FullTraining(candidate, folder, trial).fill(prepared)


def finalist_step(number: int) -> str:
    """What the step that distils the student of a finalist is called, counted from 0."""
    return f"{FINALIST} {number + 1}" if number else "distil"


def step_name(run: Run, step: str, folder: Path, seed: int | None = None) -> str:
    """The step that trains the student of a folder, `distil student`; in a family with its name.

    The steps of further finalists, and of assistants, have names of their own.
    """
    if " " in step:
        return step
    parts = folder.relative_to(run.folder).parts
    family = parts[1:2] if parts[0] == FAMILY else ()
    return " ".join((step, named(folder.name, seed), *family))


def after_mini_kd(
    prepared: Prepared, candidate: Candidate, trial: int | None, work: Path, title: str
) -> StudentState:
    """A student after its short training: the trial's where it was saved, else trained now.

    What is trained now is kept in `work`, so that a run that is stopped goes on from it; with
    other settings of the short run it is trained anew.
    """
    folder = prepared.context.run.folder / "trials" / str(trial)
    saved = state_artifact(folder, candidate.params)
    if trial is not None and saved.done():
        return saved.read()
    kept = state_artifact(work / SHORT, prepared.mini.key_of(candidate))
    if kept.done():
        return kept.read()
    state = prepared.mini.start(candidate)
    prepared.mini.train(state, candidate.recipe, candidate.vocabulary, title=title)
    kept.write(state)
    return state


def _work(
    context: Context, folder: Path, candidate: Candidate, seed: int | None
) -> tuple[Path, str]:
    """Where an unfinished training keeps its state; the student's name, as `trial-3 student`."""
    home = context.run.folder
    parts = folder.relative_to(home).parts
    other = ("controls", "students", FAMILY, ASSISTANTS, SEEDS, str(seed))
    title = named(" ".join(part for part in parts if part not in other), seed)
    return home / "work" / title.replace(" ", "-") / candidate.label.replace(" ", "-"), title
