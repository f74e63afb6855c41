"""The best trials of a search, distilled in full: one of them is its student, by held-out rows.

The score of a search ranks students after a short training; the order after a long one may differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.files.artifact import Artifact, damage, key_of
from kdnas.files.atomic import move
from kdnas.report.model import SEARCHED
from kdnas.report.search_summary import TOO_SLOW
from kdnas.report.searched import Finalist
from kdnas.runs.context import Context
from kdnas.runs.student import own_places
from kdnas.runtime.console import say
from kdnas.scoring.agreement import HeldoutAgreement
from kdnas.space.candidate import TEACHERS_VOCABULARY
from kdnas.students.checkpoint import student_artifact
from kdnas.study.study import evaluated
from kdnas.study.winner import Winner, ranked_trials
from kdnas.workflow.distilling.choose import (
    checkpoint_of,
    held_out_score,
    is_clearly_better,
)
from kdnas.workflow.distilling.distil import finalist_step, step_name
from kdnas.workflow.distilling.held_out_agreement import agreement_of, can_agree
from kdnas.workflow.distilling.measure import Control
from kdnas.workflow.distilling.train_students import controls_beside
from kdnas.workflow.distilling.within_limit import (
    distil_within_limit,
    each_kind_first,
    on_any_machine,
    speed_of_student,
)
from kdnas.workflow.preparing.prepare import Prepared
from kdnas.workflow.preparing.records import is_made, record_of
from kdnas.workflow.preparing.trials_spent import study_of


def distil_finalists(prepared: Prepared, study: Study) -> Winner:
    """Distils the best trials that keep the limits, and puts the best in RUN/student.

    The best is the first of the search, unless others agree more with the teacher on training rows
    held out, by more than a standard error: of these, the one that agrees most. Where the teacher
    cannot be asked, main scores there say so, and without labels there is one finalist. Students
    that this recipe made of other trials before are compared, too. All but the best are in
    RUN/students/trial-N.

    Raises:
        MissedLimitError: No trial keeps the speed-up that is asked for.
    """
    context = prepared.context
    settings = context.settings
    best_first = best_of(study, settings)
    labelled = prepared.rows(TEACHERS_VOCABULARY).selection.labels is not None
    count = settings.finalists if labelled else 1
    place = partial(place_of_finalist, context)
    where = on_any_machine(context)
    # Nobody knows whose controls are needed while several are trained.
    home, alone = context.run.folder, settings.finalists == 1
    beside = partial(controls_beside, prepared, home=home) if alone else None
    found = distil_within_limit(
        *(prepared, best_first, settings.speedup, place, where, count),
        of_run=True,
        beside=beside,
    )
    if labelled:
        found += _made_before(prepared, best_first, found)
    winner, scored = found[0], list[Finalist]()
    if len(found) > 1:  # of one alone nothing is asked
        winner, scored = _chosen(prepared, {trial.number: trial for trial in best_first}, found)
    _put_in_place(context, winner)
    context.run.step("finalists", {}).write([one.model_dump(mode="json") for one in scored])
    all_found(context, study).write(len(found))
    planned = (step_name(context.run, finalist_step(i), home / "student") for i in range(count))
    context.time.plan.settle({*planned})
    return winner


def best_of(study: Study, settings: Settings) -> list[FrozenTrial]:
    """The trials that a search's finalists are chosen from, the best first.

    Raises:
        KdnasError: None has ended.
        MissedLimitError: None keeps the speed-up that is asked for.
    """
    return without_copies(ranked_trials(study, speedup=settings.speedup), settings)


def without_copies(trials: Sequence[FrozenTrial], settings: Settings) -> list[FrozenTrial]:
    """Trials in their order, but for those that have another's student with a larger vocabulary.

    Under a cut vocabulary that keeps every token of the texts, a student learns what it would with
    the whole one: shape, recipe and loss are the same. The smallest stays.
    """
    smallest = dict[object, FrozenTrial]()
    for trial in sorted(trials, key=lambda one: int(one.user_attrs["params"])):
        candidate = Winner.of(trial, settings).candidate
        same = replace(candidate, vocabulary=TEACHERS_VOCABULARY), trial.user_attrs["loss"]
        smallest.setdefault(same, trial)
    kept = {trial.number for trial in smallest.values()}
    return [trial for trial in trials if trial.number in kept]


def expected_finalists(context: Context) -> list[Winner]:
    """The finalists of the trials that a run has, as far as can be said before they are timed.

    None where all are found, or no trial can be one.
    """
    settings, study = context.settings, study_of(context)
    if study is None or all_found(context, study).done():
        return []
    try:
        trials = best_of(study, settings)
    except KdnasError:  # the search says so in the end
        return []
    slow = {one["trial"] for one in context.run.events(TOO_SLOW, trial=int, speedup=float)}
    some = (Winner.of(trial, settings) for trial in trials if trial.number not in slow)
    return each_kind_first([*some], lambda one: one.candidate)[: settings.finalists]


def all_found(context: Context, study: Study) -> Artifact[Any]:
    """How many finalists there are, once a run has all that its trials and its time allow."""
    settings, trials = context.settings, len(evaluated(study))
    key = {"finalists": settings.finalists, "budget": settings.budget, "trials": trials}
    return context.run.step("finalists-found", key)


def place_of_finalist(context: Context, one: Winner, first: bool) -> Path:
    """Where a finalist's checkpoint is or will be.

    That of the first is in the run's own place, unless the student of another trial is there.
    """
    own = checkpoint_of(context, one)
    beside = _beside(context, one.trial)
    record = record_of(context.settings, one.candidate, one.trial)
    if student_artifact(own, record).done():
        return own
    return own if first and not (beside.exists() or _of_others(context, one)) else beside


def _beside(context: Context, trial: int | None) -> Path:
    return context.run.folder / "students" / f"trial-{trial}" / "student"


def _of_others(context: Context, one: Winner) -> dict[Path, int]:
    """The run's own places that have a whole student of another trial, and which trial that is."""
    found = dict[Path, int]()
    for place in own_places(context.run.folder):
        key = key_of(place) or {}
        searched = key.get("method") == "distilled" and "seed" not in key
        trial = key.get("trial") if searched else None
        if trial not in (None, one.trial) and damage(place) is None:
            found[place] = int(trial)
    return found


def _made_before(
    prepared: Prepared, best_first: Sequence[FrozenTrial], found: Sequence[Winner]
) -> list[Winner]:
    """Further trials whose students are there, by the recipe as it is, and keep the speed-up."""
    context, numbers = prepared.context, [one.trial for one in found]
    settings, where = context.settings, on_any_machine(context)
    made = list[Winner]()
    for one in (Winner.of(trial, settings) for trial in best_first):
        place = place_of_finalist(context, one, False)
        record = record_of(settings, one.candidate, one.trial)
        if one.trial in numbers or not student_artifact(place, record).done():
            continue
        limit = settings.speedup
        if limit is None or speed_of_student(prepared, one.candidate, place, where) >= limit:
            made.append(one)
    return made


def _chosen(
    prepared: Prepared, trials: Mapping[int, FrozenTrial], found: Sequence[Winner]
) -> tuple[Winner, list[Finalist]]:
    """The best of several finalists, and what each was judged by; says so.

    Args:
        prepared: Of the run.
        trials: By number, those of the finalists among them.
        found: The finalists in the search's order.
    """
    places = [place_of_finalist(prepared.context, one, False) for one in found]
    made = [Control(SEARCHED, one.candidate, at) for one, at in zip(found, places, strict=True)]
    agreed = [agreement_of(prepared, one) if can_agree(prepared) else None for one in made]
    scored = [
        _scored(prepared, one, agreement, trials[winner.trial or 0])
        for one, agreement, winner in zip(made, agreed, found, strict=True)
    ]
    place = _best(prepared, made, agreed)
    _tell(scored, scored[place])
    return found[place], scored


def _tell(scored: Sequence[Finalist], best: Finalist) -> None:
    """Says by what the best of some finalists was chosen."""
    told = ", ".join(f"trial {one.trial} {one.chosen_by:.4f}" for one in scored)
    what = "score" if best.agreement is None else "agreement with the teacher"
    why = ""
    if best.chosen_by < max(one.chosen_by for one in scored):
        why = ", the first in the search: no other is above it by more than a standard error"
    say(
        f"finalists' {what} on training rows held out: {told}; trial {best.trial} is the "
        f"search's{why}"
    )


def _best(
    prepared: Prepared, made: Sequence[Control], agreed: Sequence[HeldoutAgreement | None]
) -> int:
    """The place of the best finalist among those in the search's order.

    Few rows say little after a long training, and the short one said something, too: what they say
    overrules the search's order where it is clear.
    """

    def value(place: int) -> float:
        found = agreed[place]
        return held_out_score(prepared, made[place]) if found is None else found.value

    def is_above_the_first(place: int) -> bool:
        one, first = agreed[place], agreed[0]
        if one is None or first is None:
            return is_clearly_better(prepared, made[place], made[0])
        return one.clearly_above(first)

    return max([0, *filter(is_above_the_first, range(1, len(made)))], key=value)


def _scored(
    prepared: Prepared, made: Control, agreed: HeldoutAgreement | None, trial: FrozenTrial
) -> Finalist:
    return Finalist(
        trial=trial.number,
        name=made.candidate.label,
        score=1 - float(trial.user_attrs["loss"]),
        selection=held_out_score(prepared, made),
        agreement=None if agreed is None else agreed.value,
    )


def _put_in_place(context: Context, winner: Winner) -> None:
    """Puts the winner where the run's own student is, and that one beside.

    A kill between the two moves loses nothing: each checkpoint says which student it is.
    """
    own = own_places(context.run.folder)
    at = place_of_finalist(context, winner, False)
    if at in own:
        return
    others = _of_others(context, winner)
    for place, trial in others.items():
        beside = _beside(context, trial)
        # One by an earlier recipe does not take the place of the one that was trained after it.
        if is_made(place, context.settings) or not beside.exists():
            move(place, beside)
    move(at, next(iter(others), own[0]))
