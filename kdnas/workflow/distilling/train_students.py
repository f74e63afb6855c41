"""Step 5: students at full length, the winner and its controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.study import Study

from kdnas.config import Settings
from kdnas.errors import MissedLimitError
from kdnas.files.artifact import Artifact
from kdnas.report.model import (
    BY_MAGNITUDE,
    DISTILLED,
    HAND_PICKED,
    ON_LABELS,
    SEARCHED,
    WITHOUT_ASSISTANTS,
)
from kdnas.runs.context import Context
from kdnas.runtime.console import say
from kdnas.scoring.costs import FINAL
from kdnas.space import Candidate
from kdnas.space.pruning import NONE
from kdnas.study.optimize import RANDOM_SEARCH
from kdnas.study.winner import Winner, choose_winner
from kdnas.workflow.distilling.assistants import assistants_of, copy_checkpoint
from kdnas.workflow.distilling.check_assistants import check_larger
from kdnas.workflow.distilling.distil import FullTraining
from kdnas.workflow.distilling.find_assistant import find_assistant
from kdnas.workflow.distilling.measure import Control, measured
from kdnas.workflow.distilling.seeds import named, other_seeds, place_of_seed
from kdnas.workflow.distilling.train_side_by_side import train_side_by_side
from kdnas.workflow.preparing.count_jobs import count_jobs
from kdnas.workflow.preparing.prepare import Prepared
from kdnas.workflow.preparing.records import record_of
from kdnas.workflow.searching.hand_picked import pick_by_hand

MAGNITUDE = "magnitude"


def train_students(
    prepared: Prepared,
    winner: Winner,
    student: Path,
    random: Study | None,
    home: Path,
    speedup: float | None = None,
) -> list[Control]:
    """The run's own student and what it is compared with, all trained.

    Args:
        prepared: Of the run.
        winner: The run's own student.
        student: Gets its checkpoint.
        random: The study of random search, if there is one.
        home: Gets those of the controls, and of other seeds.
        speedup: The limit that the winner was chosen under; default: the run's.

    Returns:
        The run's own student first; of the others, those that there was time for.
    """
    train_assistants(prepared, winner.candidate)
    own = own_student(winner, student)
    controls = controls_of(prepared, winner, student, random, home, speedup)
    return train_all(prepared, own, winner.trial, controls, home)


def controls_beside(
    prepared: Prepared, winner: Winner, student: Path, fast: float | None, home: Path
) -> list[FullTraining]:
    """What can be trained beside a student of a search, where trainings run side by side.

    That is all of its report but what random search finds, which may come later.

    Args:
        prepared: Of the run.
        winner: The student; one that has assistants waits for them, and its controls for it.
        student: Gets its checkpoint.
        fast: Its speed-up, timed at length; None where it was not.
        home: The folder of its report.
    """
    context = prepared.context
    if winner.candidate.assistants or count_jobs(context, 2, prepared.meter.teacher_params) < 2:
        return []
    controls = controls_of(prepared, winner, student, None, home, fast=fast)
    every = _every(context.settings, own_student(winner, student), winner.trial, controls, home)
    return labels_last(every)[1:]


def own_student(winner: Winner, folder: Path) -> Control:
    """The run's own student, whose checkpoint is or will be in a folder."""
    name = DISTILLED if winner.trial is None else SEARCHED
    return Control(name, winner.candidate, folder, "student")


def train_all(
    prepared: Prepared, own: Control, trial: int | None, controls: Sequence[Control], home: Path
) -> list[Control]:
    """Trains the run's own student, which goes on from a trial, and controls, with all seeds.

    Those that are known to be missing are trained side by side where that can be; this process
    then goes through all of them, and does what is left.
    """
    context, settings = prepared.context, prepared.context.settings
    every = _every(settings, own, trial, controls, home)
    train_side_by_side(prepared, labels_last(every))
    found = list[Control]()
    for control, (first, *others) in every:
        must = control is own or first.done(settings)
        if not (must or has_time(context, control, control.title)):
            continue
        first.fill(prepared)
        trainings = {settings.seed: first.folder}
        for one in others:
            if one.done(settings) or has_time(context, control, named(control.title, one.seed)):
                trainings[one.seed or 0] = one.folder
                one.fill(prepared)
        found.append(replace(control, trainings=trainings))
    return found


def _every(
    settings: Settings, own: Control, trial: int | None, controls: Sequence[Control], home: Path
) -> list[tuple[Control, list[FullTraining]]]:
    """The trainings of each, the run's own student first.

    With --no-controls, no further seeds of controls are trained.
    """
    found = [(own, _trainings(settings, own, home, trial))]
    for one in controls:
        first, *others = _trainings(settings, one, home)
        found.append((one, [first, *(o for o in others if settings.controls or o.done(settings))]))
    return found


def labels_last(every: Sequence[tuple[Control, list[FullTraining]]]) -> list[FullTraining]:
    """The trainings of some students; those on labels alone, which take less, come last."""
    return sorted((one for _, each in every for one in each), key=lambda one: not one.distilled)


def _trainings(
    settings: Settings, control: Control, home: Path, trial: int | None = None
) -> list[FullTraining]:
    """Those of a student: with the run's seed, and with the others."""
    step = "distil" if control.distilled else "control"
    own = FullTraining(
        control.candidate, control.folder, trial, step=step, distilled=control.distilled
    )
    places = {seed: place_of_seed(home, control.title, seed) for seed in other_seeds(settings)}
    return [own, *(replace(own, folder=at, seed=seed) for seed, at in places.items())]


def has_time(context: Context, control: Control, name: str) -> bool:
    """Whether the run's time is long enough to train a student; says so where it is not."""
    step = f"{'distil' if control.distilled else 'control'} {name}"
    enough = context.time.affords(step)
    if not enough:
        say(f"no time for {control.name} ({name}) within --budget {context.settings.budget}")
    return enough


def train_assistants(prepared: Prepared, candidate: Candidate) -> None:
    """Makes those that teach a candidate in the teacher's place, each taught by the one before."""
    context = prepared.context
    if candidate.assistants:
        check_larger(context, prepared.inputs, candidate, prepared.meter.shape_of)
    for one in assistants_of(context, candidate):
        if one.candidate:
            FullTraining(one.candidate, one.folder, one.trial, step=one.step).fill(prepared)
        elif one.source:
            copy_checkpoint(prepared, one.source, one.folder)
        else:
            record = record_of(context.settings, candidate, None, "assistant")
            find_assistant(prepared, candidate, one.folder, record)


def controls_of(
    prepared: Prepared,
    own: Winner,
    student: Path,
    random: Study | None,
    home: Path,
    speedup: float | None = None,
    fast: float | None = None,
) -> list[Control]:
    """What the winner is compared with: without KD, hand-picked, and random search's winner.

    A shape that is given has the first alone, a pruned student the teacher pruned by magnitude as
    well, one with assistants itself without them. The winner's checkpoint is or will be in
    `student`; `home` gets those of the controls. Random search has the same limit as the winner.
    `fast` is the winner's speed-up, if it was timed at length before it is trained. With
    --no-controls, only controls that were trained before count.
    """
    settings, controls, winner = prepared.context.settings, list[Control](), own.candidate

    def add(name: str, candidate: Candidate, title: str, *, distilled: bool = True) -> None:
        folder = home / "controls" / title
        control = Control(name, candidate, folder, title, distilled=distilled)
        if settings.controls or _trainings(settings, control, home)[0].done(settings):
            controls.append(control)

    alone = replace(winner, assistants=())
    add(ON_LABELS, alone, "fine-tuned", distilled=False)
    if winner.assistants:
        add(WITHOUT_ASSISTANTS, alone, "without-assistants")
    if settings.architecture is not None:
        return controls
    if winner.pruning.method not in (NONE, MAGNITUDE) and not settings.searches:
        pruning = replace(winner.pruning, method=MAGNITUDE, after=())
        add(BY_MAGNITUDE, replace(alone, pruning=pruning), "by-magnitude")
    # Timing shapes takes long: only where one of them can be trained.
    by_hand = Control(HAND_PICKED, winner, home / "controls" / "hand-picked", "hand-picked")
    due = _picked(prepared.context, winner, home).done()
    due = due or (settings.controls and has_time(prepared.context, by_hand, by_hand.title))
    if due and (picked := control_by_hand(prepared, own, student, home, fast)) is not None:
        add(HAND_PICKED, picked, by_hand.title)
    if random and settings.random_control == "full":
        best = best_of_random(random, settings, speedup or settings.speedup)
        if best is not None:
            add(RANDOM_SEARCH, best, "random-search")
    return controls


def best_of_random(random: Study, settings: Settings, speedup: float | None) -> Candidate | None:
    """Random search's winner within a speed-up; says so where none of its students is so fast."""
    try:
        return Winner.of(choose_winner(random, speedup=speedup), settings).candidate
    except MissedLimitError:
        say(f"no control of {RANDOM_SEARCH}: none of its students is {speedup:g} times as fast")
        return None


def control_by_hand(
    prepared: Prepared, winner: Winner, student: Path, home: Path, fast: float | None = None
) -> Candidate | None:
    """Of the shapes that a person would pick, the one nearest to the winner's speed-up.

    None where no other than the winner, whose checkpoint is or will be in `student`, keeps the
    limits. `home` is the folder of the report; `fast` is the winner's speed-up; default: it is
    timed.
    """

    def compute() -> dict[str, Any] | None:
        near = fast or _speedup_of(prepared, winner, student)
        picked = pick_by_hand(prepared, candidate, near)
        return picked[0].params if picked else None

    context, candidate = prepared.context, winner.candidate
    step = _picked(context, candidate, home)
    found = step.get(context.run.timed(_pick_step(context, home))(compute))
    return None if found is None else Candidate.from_params(found)


def _picked(context: Context, winner: Candidate, home: Path) -> Artifact[dict[str, Any] | None]:
    """What a person would pick beside a winner, in the report of a folder."""
    return context.run.step(_pick_step(context, home), winner.params)


def _pick_step(context: Context, home: Path) -> str:
    return " ".join((HAND_PICKED, *home.relative_to(context.run.folder).parts))


def _speedup_of(prepared: Prepared, winner: Winner, student: Path) -> float:
    """The winner's speed-up, timed at length: what it has learnt does not matter for it."""
    training = FullTraining(winner.candidate, student, winner.trial)
    if training.done(prepared.context.settings):  # that timing is in the report, too
        return float(measured(prepared, winner.candidate, student)["costs"]["speedup"])
    [speedup] = prepared.meter.speedups([winner.candidate], FINAL)
    return speedup
