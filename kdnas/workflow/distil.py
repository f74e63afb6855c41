"""Step 5: students at full length, the winner and its controls."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from optuna.study import Study

from kdnas.evaluation.threshold import keep_threshold
from kdnas.recipes.full import run_recipe, train_on_labels
from kdnas.report.model import (
    BY_MAGNITUDE,
    DISTILLED,
    HAND_PICKED,
    ON_LABELS,
    SEARCHED,
    WITHOUT_ASSISTANTS,
)
from kdnas.runs.context import Context, run_step
from kdnas.runs.run_folder import FAMILY, Run
from kdnas.runtime.console import say
from kdnas.space import Candidate
from kdnas.space.pruning import NONE
from kdnas.students.checkpoint import student_artifact
from kdnas.students.state import StudentState, state_artifact
from kdnas.study.optimize import RANDOM_SEARCH
from kdnas.study.winner import Winner, choose_winner
from kdnas.workflow.assistants import FOLDER as ASSISTANTS
from kdnas.workflow.assistants import (
    assistants_of,
    copy_checkpoint,
    taught_by_assistant,
)
from kdnas.workflow.check_assistants import check_larger
from kdnas.workflow.find_assistant import find_assistant
from kdnas.workflow.hand_picked import pick_by_hand
from kdnas.workflow.measure import Control, measured
from kdnas.workflow.prepare import Prepared
from kdnas.workflow.records import is_made, record_of
from kdnas.workflow.seeds import SEEDS, Train, has_time, named, train_seeds, with_seed

MAGNITUDE = "magnitude"
# What steps that distil further finalists are called, with their numbers.
FINALIST = "distil finalist"


def distil(
    prepared: Prepared,
    candidate: Candidate,
    trial: int | None,
    folder: Path,
    seed: int | None = None,
    *,
    step: str = "distil",
) -> None:
    """Distils a candidate by the whole recipe into a folder that does not hold it yet.

    Unless the recipe starts afresh, it goes on from the short training of `trial`; where that is
    None, or there is a `seed` other than the run's, of a short training of its own.
    """
    record = record_of(prepared.context.settings, candidate, trial, seed=seed)

    def train(own: Prepared, work: Path, title: str) -> StudentState:
        say(f"{title}: distilling {candidate.label}")
        known = None if seed is not None else trial
        job = taught_by_assistant(own, own.full(candidate.recipe), candidate)
        if job.settings.follows_mini_kd:
            start = partial(after_mini_kd, own, candidate, known, title)
        else:  # of the run's teacher, whoever teaches it
            start = partial(own.mini.untrained, candidate)
        given = job.settings.follows_mini_kd or candidate.assistants
        return run_recipe(job, candidate, work, title, start if given else None)

    _train(prepared, candidate, folder, seed, record, train, step)


def fine_tune(
    prepared: Prepared, candidate: Candidate, folder: Path, seed: int | None = None
) -> None:
    """Trains a student on labels alone, from the same start, and saves it."""
    record = record_of(prepared.context.settings, candidate, None, "fine-tuned", seed)

    def train(own: Prepared, work: Path, title: str) -> StudentState:
        say(f"{title}: training {candidate.label} on labels alone")
        state = own.mini.untrained(candidate)
        train_on_labels(own.full(candidate.recipe), state, work, title)
        return state

    _train(prepared, candidate, folder, seed, record, train, "control")


def _train(
    prepared: Prepared,
    candidate: Candidate,
    folder: Path,
    seed: int | None,
    record: dict[str, Any],
    train: Callable[[Prepared, Path, str], StudentState],
    step: str,
) -> None:
    """Trains a student into a folder, unless it is there."""
    teacher, context = prepared.teacher, prepared.context
    vocabulary = prepared.inputs.vocabularies[candidate.vocabulary]
    artifact = student_artifact(folder, record, vocabulary.tokenizer, teacher.scale)
    if artifact.done():
        return
    work, title = _work(context, folder, candidate, seed)
    with context.run.timed(step_name(context.run, step, folder, seed)):
        state = train(prepared if seed is None else with_seed(prepared, seed), work, title)
        model, rows = vocabulary.cut(state.model), prepared.rows(vocabulary.name)
        keep_threshold(model, rows.selection, context.runtime.exact, rows.pad_id)
        artifact.write(model)
    shutil.rmtree(work, ignore_errors=True)


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
    prepared: Prepared, candidate: Candidate, trial: int | None, title: str
) -> StudentState:
    """A student after its short training: the trial's where it was saved, else trained now."""
    folder = prepared.context.run.folder / "trials" / str(trial)
    saved = state_artifact(folder, candidate.params)
    if trial is not None and saved.done():
        return saved.read()
    state = prepared.mini.start(candidate)
    prepared.mini.train(state, candidate.recipe, candidate.vocabulary, title=title)
    return state


def train_student(prepared: Prepared, winner: Winner, folder: Path, home: Path) -> Control:
    """The run's own student, in `folder`, and with other seeds below `home`.

    Its assistants are trained first.
    """
    train_assistants(prepared, winner.candidate)
    name = DISTILLED if winner.trial is None else SEARCHED
    own = Control(name, winner.candidate, folder, "student")
    train = partial(distil, prepared, winner.candidate, winner.trial)
    return train_seeds(prepared.context, own, home, train)


def train_assistants(prepared: Prepared, candidate: Candidate) -> None:
    """Makes those that teach a candidate in the teacher's place, each taught by the one before."""
    context = prepared.context
    if candidate.assistants:
        check_larger(context, prepared.inputs, candidate, prepared.meter.shape_of)
    for one in assistants_of(context, candidate):
        if one.candidate:
            distil(prepared, one.candidate, one.trial, one.folder, step=one.step)
        elif one.source:
            copy_checkpoint(prepared, one.source, one.folder)
        else:
            record = record_of(context.settings, candidate, None, "assistant")
            find_assistant(prepared, candidate, one.folder, record)


def train_controls(
    prepared: Prepared, winner: Candidate, student: Path, random: Study | None, home: Path
) -> list[Control]:
    """What the winner is compared with: without KD, hand-picked, and random search's winner.

    A shape that is given has the first alone, a pruned student the teacher pruned by magnitude as
    well, one with assistants itself without them. The winner's checkpoint is in `student`; `home`
    gets those of the controls.
    """
    settings, controls = prepared.context.settings, list[Control]()

    def make(
        name: str, candidate: Candidate, title: str, train: Train, *, distilled: bool = True
    ) -> None:
        folder = home / "controls" / title
        own = Control(name, candidate, folder, title, distilled=distilled)
        if is_made(folder, settings) or has_time(prepared.context, own, title):
            controls.append(train_seeds(prepared.context, own, home, train))

    alone = replace(winner, assistants=())
    labels = partial(fine_tune, prepared, alone)
    make(ON_LABELS, alone, "fine-tuned", labels, distilled=False)
    if winner.assistants:
        afresh = partial(distil, prepared, alone, None)
        make(WITHOUT_ASSISTANTS, alone, "without-assistants", afresh)
    if settings.architecture is not None:
        return controls
    if winner.pruning.method not in (NONE, MAGNITUDE) and not settings.searches:
        pruning = replace(winner.pruning, method=MAGNITUDE, after=())
        other = replace(alone, pruning=pruning)
        afresh = partial(distil, prepared, other, None)
        make(BY_MAGNITUDE, other, "by-magnitude", afresh)
    # Timing shapes takes long: only where one of them can be trained.
    own = Control(HAND_PICKED, winner, home / "controls" / "hand-picked", "hand-picked")
    due = is_made(own.folder, settings) or has_time(prepared.context, own, "hand-picked")
    picked = control_by_hand(prepared, winner, student) if due else None
    if picked is not None:
        afresh = partial(distil, prepared, picked, None)
        make(HAND_PICKED, picked, "hand-picked", afresh)
    if random and settings.random_control == "full":
        best = choose_winner(random, speedup=settings.speedup)
        found = Candidate.from_params(best.params)
        afresh = partial(distil, prepared, found, None)
        make(RANDOM_SEARCH, found, "random-search", afresh)
    return controls


def control_by_hand(prepared: Prepared, winner: Candidate, student: Path) -> Candidate | None:
    """Of the shapes that a person would pick, the one nearest to the winner's speed-up.

    None where no other than the winner, whose checkpoint is in `student`, keeps the limits.
    """
    speedup = measured(prepared, winner, student)["costs"]["speedup"]

    def compute() -> dict[str, Any] | None:
        picked = pick_by_hand(prepared, winner, speedup)
        return picked[0].params if picked else None

    parts = student.relative_to(prepared.context.run.folder).parent.parts
    home = [part for part in parts if part != "controls"]
    name = " ".join((HAND_PICKED, *home))
    found = run_step(prepared.context, name, winner.params, compute)
    return None if found is None else Candidate.from_params(found)


def _work(
    context: Context, folder: Path, candidate: Candidate, seed: int | None
) -> tuple[Path, str]:
    """Where an unfinished training keeps its state; the student's name, as `trial-3 student`."""
    home = context.run.folder
    parts = folder.relative_to(home).parts
    other = ("controls", "students", FAMILY, ASSISTANTS, SEEDS, str(seed))
    title = named(" ".join(part for part in parts if part not in other), seed)
    place = named(folder.name, seed).replace(" ", "-")
    return home / "work" / place / candidate.label.replace(" ", "-"), title
