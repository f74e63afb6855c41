"""Step 5: students at full length, the winner and its controls."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from optuna.study import Study

from kdnas.config import Settings
from kdnas.recipes.full import run_recipe, train_on_labels
from kdnas.report.model import HAND_PICKED
from kdnas.runs.context import Context, run_step
from kdnas.runtime.console import say
from kdnas.space import Candidate
from kdnas.students.checkpoint import student_artifact
from kdnas.students.state import StudentState, state_artifact
from kdnas.study.optimize import RANDOM_SEARCH
from kdnas.study.winner import choose_winner
from kdnas.workflow.hand_picked import pick_by_hand
from kdnas.workflow.measure import Control, measured
from kdnas.workflow.prepare import Prepared


def distil(prepared: Prepared, candidate: Candidate, trial: int | None, folder: Path) -> None:
    """Distils a candidate by the whole recipe into a folder that does not hold it yet.

    It goes on from the short training of `trial`; None starts afresh.
    """
    tokenizer = prepared.teacher.tokenizer
    record = record_of(prepared.context.settings, candidate, trial)
    artifact = student_artifact(folder, record, tokenizer, prepared.teacher.scale)
    if artifact.done():
        return
    work, title = _work(prepared.context, folder, candidate)
    start = partial(after_mini_kd, prepared, candidate, trial, title)
    with prepared.context.run.timed(f"distil {folder.name}"):
        say(f"{folder.name}: distilling {candidate.label}")
        state = run_recipe(prepared.full(), candidate, work, title, start)
        artifact.write(state.model)
    shutil.rmtree(work, ignore_errors=True)


def record_of(
    settings: Settings, candidate: Candidate, trial: int | None, method: str = "distilled"
) -> dict[str, Any]:
    """What decides a trained student."""
    recipe = recipe_record(settings)
    return {"candidate": candidate.params, "trial": trial, "method": method, "recipe": recipe}


def recipe_record(settings: Settings) -> list[dict[str, Any]]:
    """The stages of a recipe as plain values."""
    return [stage.model_dump(mode="json", exclude_defaults=True) for stage in settings.recipe]


def after_mini_kd(
    prepared: Prepared, candidate: Candidate, trial: int | None, title: str
) -> StudentState:
    """A student after its short training: the trial's where it was saved, else trained now."""
    folder = prepared.context.run.folder / "trials" / str(trial)
    saved = state_artifact(folder, candidate.params)
    if trial is not None and saved.done():
        return saved.read()
    state = prepared.mini.start(candidate.architecture)
    prepared.mini.train(state, title=title)
    return state


def fine_tune(prepared: Prepared, candidate: Candidate, folder: Path) -> None:
    """Trains a student on labels alone, from the same start, and saves it."""
    record = record_of(prepared.context.settings, candidate, None, "fine-tuned")
    teacher = prepared.teacher
    artifact = student_artifact(folder, record, teacher.tokenizer, teacher.scale)
    if artifact.done():
        return
    work, title = _work(prepared.context, folder, candidate)
    with prepared.context.run.timed(f"control {folder.name}"):
        say(f"{folder.name}: training {candidate.label} on labels alone")
        state = prepared.mini.start(candidate.architecture)
        train_on_labels(prepared.full(), state, work, title)
        artifact.write(state.model)
    shutil.rmtree(work, ignore_errors=True)


def train_controls(
    prepared: Prepared, winner: Candidate, student: Path, random: Study | None, folder: Path
) -> list[Control]:
    """What the winner is compared with: without KD, hand-picked, and random search's winner.

    The winner's checkpoint is in `student`; `folder` gets those of the controls.
    """
    fine_tune(prepared, winner, folder / "fine-tuned")
    controls = [Control("fine-tuned without KD", winner, folder / "fine-tuned")]
    picked = control_by_hand(prepared, winner, student)
    if picked is not None:
        distil(prepared, picked, None, folder / "hand-picked")
        controls.append(Control(HAND_PICKED, picked, folder / "hand-picked"))
    if random and prepared.context.settings.random_control == "full":
        best = choose_winner(random, speedup=prepared.context.settings.speedup)
        found = Candidate.from_params(best.params)
        distil(prepared, found, None, folder / "random-search")
        controls.append(Control(RANDOM_SEARCH, found, folder / "random-search"))
    return controls


def control_by_hand(prepared: Prepared, winner: Candidate, student: Path) -> Candidate | None:
    """Of the shapes that a person would pick, the one nearest to the winner's speed-up.

    None where no other than the winner, whose checkpoint is in `student`, keeps the limits.
    """
    speedup = measured(prepared, winner, student)["costs"]["speedup"]

    def compute() -> dict[str, int | str] | None:
        picked = pick_by_hand(prepared, winner, near=speedup)
        return picked[0].params if picked else None

    parts = student.relative_to(prepared.context.run.folder).parent.parts
    home = [part for part in parts if part != "controls"]
    name = " ".join((HAND_PICKED, *home))
    found = run_step(prepared.context, name, winner.params, compute)
    return None if found is None else Candidate.from_params(found)


def _work(context: Context, folder: Path, candidate: Candidate) -> tuple[Path, str]:
    """Where an unfinished training keeps its state; the student's name, as `trial-3 student`."""
    home = context.run.folder
    parts = folder.relative_to(home).parts
    title = " ".join(part for part in parts if part not in ("controls", "students"))
    return home / "work" / folder.name / candidate.label.replace(" ", "-"), title
