"""The students that a run trains in full, as a plan lists them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path
from typing import Any

from kdnas.config import Settings
from kdnas.config.assistants import AUTO
from kdnas.runs.context import Context
from kdnas.space import Architecture, Candidate, SearchSpace
from kdnas.space.arithmetic import share_of_arithmetic
from kdnas.space.pruning import NOT_PRUNED, Pruning
from kdnas.students.checkpoint import student_artifact
from kdnas.study.winner import Winner
from kdnas.workflow.distilling.assistants import assistants_of
from kdnas.workflow.distilling.distil import FINALIST, finalist_step, step_name
from kdnas.workflow.distilling.finalists import all_found, place_of_finalist
from kdnas.workflow.distilling.seeds import other_seeds, place_of_seed
from kdnas.workflow.distilling.train_students import MAGNITUDE
from kdnas.workflow.planning.estimate import share_asked
from kdnas.workflow.preparing.pruned import importance_file, importance_step
from kdnas.workflow.preparing.records import is_made, record_of
from kdnas.workflow.preparing.trials_spent import study_of, trials_left, trials_spent

__all__ = [
    "FINALIST",
    "REPORT",
    "Kind",
    "Training",
    "before_training",
    "most_finalists",
    "report_before",
    "trained_in_full",
]

REPORT = "report"


class Kind(Enum):
    """How long something takes."""

    RECIPE = auto()  # a student by the whole recipe
    LAYERED = auto()  # likewise one that is sure to have layers
    LABELS = auto()  # likewise by labels alone
    SANDWICH = auto()  # students of several sparsities in one network
    IMPORTANCE = auto()  # no training: what of a student goes first
    REPORT = auto()  # no training: of a student that others are pruned from


# Of controls by a recipe, those whose kind is known.
KIND_OF = {"hand-picked": Kind.LAYERED}


@dataclass(frozen=True)
class Training:
    """A student to be trained in full, or what is measured before.

    Attributes:
        step: As the log has it.
        title: What a person reads.
        place: The folder of the checkpoint, or the file of what is measured.
        kind: How long it takes.
        group: Those of a group are trained side by side; of none, by itself.
        share: Its layers' arithmetic as a share of its teacher's; None where nobody knows yet.
        record: What decides its checkpoint, where that is known; else any by a recipe of the run
            may be it.
    """

    step: str
    title: str
    place: Path
    kind: Kind = Kind.RECIPE
    group: str = ""
    share: float | None = None
    record: Mapping[str, Any] | None = None

    @property
    def is_student(self) -> bool:
        """Whether a student comes of it."""
        return self.kind not in (Kind.IMPORTANCE, Kind.REPORT)

    def is_made(self, settings: Settings) -> bool:
        """Whether it is there, by a recipe of the run."""
        if self.record is not None:
            return student_artifact(self.place, self.record).done()
        return is_made(self.place, settings) if self.is_student else self.place.exists()


def report_before(context: Context, home: Path) -> list[Training]:
    """The report of a student that others are pruned from, as a step of its own."""
    if home == context.run.folder:
        return []
    name = home.relative_to(context.run.folder).as_posix()
    title = f"evaluate and report {home.name}"
    return [Training(f"{REPORT} {name}", title, home / "report.json", Kind.REPORT)]


def before_training(
    context: Context, teacher: Architecture, candidate: Candidate
) -> list[Training]:
    """What a student of a teacher needs first: which heads and neurons go, where it is pruned from
    a student that is trained before it, and its assistants."""
    found, pruning = list[Training](), candidate.pruning
    if pruning.after:
        step = importance_step(pruning)
        found.append(Training(step, step, importance_file(context, pruning), Kind.IMPORTANCE))
    for one in assistants_of(context, candidate):
        kind = Kind.SANDWICH if one.word == AUTO else Kind.RECIPE
        if not one.source:
            share = None if one.candidate is None else _share_of(one.candidate, teacher)
            title = f"assistant: {one.title}"
            found.append(Training(one.step, title, one.folder, kind, share=share))
    return found


def _share_of(candidate: Candidate, teacher: Architecture) -> float | None:
    """A student's layers' arithmetic as a share of its teacher's; None where nobody knows yet."""
    if candidate.pruning:
        return share_asked(candidate.pruning)
    return share_of_arithmetic(candidate.architecture, teacher)


def trained_in_full(
    context: Context,
    home: Path,
    assistants: Sequence[str] = (),
    pruning: Pruning = NOT_PRUNED,
    most: int | None = None,
    chosen: Sequence[Winner] = (),
) -> list[Training]:
    """The students that are trained in full for a report.

    `assistants` teach the student of the report; `pruning` is how that is pruned, if it is asked.
    A search has `most` finalists, these `chosen`; default: as many as are asked for, and nobody
    knows which.
    """
    settings = context.settings
    kinds = [
        ("distil", "student", "distil the student"),
        ("control", "fine-tuned", "control: the student on labels alone"),
    ]
    if assistants:
        kinds.append(("distil", "without-assistants", "control: the student without assistants"))
    if settings.pruned and not (settings.searches or settings.pruned == MAGNITUDE):
        kinds.append(("distil", "by-magnitude", "control: pruned by magnitude"))
    if settings.architecture is None:
        kinds.append(("distil", "hand-picked", "control: a shape picked by hand"))
    if settings.searches and settings.random_control == "full" and settings.sampler != "random":
        kinds.append(("distil", "random-search", "control: the best of random search"))
    share = share_asked(pruning)
    found, of_search = list[Training](), settings.searches and home == context.run.folder
    for step, name, title in kinds if settings.controls else kinds[:1]:
        place = home / "student" if name == "student" else home / "controls" / name
        kind = Kind.LABELS if step == "control" else KIND_OF.get(name, Kind.RECIPE)
        among = of_search and name == "student" and settings.finalists > 1
        first = FINALIST if among else str(home)
        named = step_name(context.run, step, place)
        one = Training(named, title, place, kind, first, share)
        known = of_search and name == "student" and chosen
        found.append(_of_finalist(context, one, chosen[0], first=True) if known else one)
        for seed in other_seeds(settings):
            place, told = place_of_seed(home, name, seed), f"{title}, seed {seed}"
            own = step_name(context.run, step, place, seed)
            found.append(Training(own, told, place, kind, str(home), share))
    if not of_search:
        return found
    # Where time is short: to choose between two students comes before a control, to choose among
    # more does not.
    ours, further = 1 + len(other_seeds(settings)), _finalists(context, most, chosen)
    return [*found[:ours], *further[:1], *found[ours:], *further[1:]]


def most_finalists(context: Context, space: SearchSpace, *, finish: bool = False) -> int:
    """As many finalists as a search may have trials for, and its space candidates.

    With `finish`, no further trial comes.
    """
    trials = trials_spent(context, ended=True)
    trials += 0 if finish else trials_left(context, space=space)
    return min(math.ceil(trials), len(space.candidates))


def _of_finalist(context: Context, one: Training, chosen: Winner, *, first: bool) -> Training:
    """The training of a finalist, now that it is known which one it is."""
    record = record_of(context.settings, chosen.candidate, chosen.trial)
    return replace(one, place=place_of_finalist(context, chosen, first), record=record)


def _finalists(context: Context, most: int | None, chosen: Sequence[Winner]) -> list[Training]:
    """The trainings of the search's further finalists, of which there are `most`.

    Where nobody knows which are `chosen`, those that are over have the place of a student, and so
    have those that there are too few trials for: they come again where students are trained again.
    """
    asked = context.settings.finalists
    count = asked if most is None else min(asked, most)
    known, study = context.run.step("finalists", {}), study_of(context)
    made = len(known.read()) if known.done() else 0
    made = asked if study is not None and all_found(context, study).done() else made
    student, none = context.run.folder / "student", context.run.folder / "students" / "finalists"
    further = [
        Training(
            *(finalist_step(i), f"distil finalist {i + 1}", student if i < made else none),
            group=FINALIST,
        )
        for i in range(1, count)
    ]
    if not chosen:
        return further
    return [
        _of_finalist(context, one, winner, first=False)
        for one, winner in zip(further, chosen[1:], strict=False)
    ]
