"""Which trials are distilled in full: timed again before, and within a limit on the speed-up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from optuna.trial import FrozenTrial

from kdnas.config import Settings, settings_of
from kdnas.errors import MissedLimitError
from kdnas.files.artifact import Artifact
from kdnas.files.atomic import move
from kdnas.report.search_summary import TOO_SLOW, longer
from kdnas.report.timed_again import TIMED_AGAIN
from kdnas.runs.context import Context, run_step
from kdnas.runs.run_folder import Run
from kdnas.runs.student import own_places
from kdnas.runtime.console import say
from kdnas.scoring.costs import FINAL, TOGETHER, margin_of
from kdnas.scoring.reward import reward_at
from kdnas.space import Candidate
from kdnas.study.winner import Winner
from kdnas.workflow.distilling.distil import FullTraining, finalist_step
from kdnas.workflow.distilling.measure import measured
from kdnas.workflow.distilling.train_side_by_side import train_side_by_side
from kdnas.workflow.preparing.prepare import Prepared
from kdnas.workflow.preparing.records import method_of

Timed = tuple[Winner, float | None]  # a trial, and its speed-up if it was timed again
T = TypeVar("T")
OF_CHOICE = "of choice"
PlaceOf = Callable[[Winner, bool], Path]  # of a trial's checkpoint; whether it is the first one
# What need not wait for a student: of a trial, its folder, and its speed-up if it was timed again.
Beside = Callable[[Winner, Path, float | None], Sequence[FullTraining]]


@dataclass(frozen=True)
class Where:
    """On which machine speed-ups must have been timed to hold.

    Attributes:
        name: Tells steps apart that hold in different places.
        key: What decides whether they hold.
    """

    name: str
    key: Mapping[str, Any]


def on_this_machine(context: Context) -> Where:
    """On this one, as it is now."""
    return Where("here", context.machine)


def on_any_machine(context: Context) -> Where:
    """On any one with such a device: of a run's own choice.

    A run that goes on on another machine, or after an update, keeps the students that it has
    chosen and trained; its report is of the machine that writes it.
    """
    runtime = context.runtime
    key = {"device": runtime.device.type, "precision": runtime.precision}
    return Where(OF_CHOICE, key)


def distil_within_limit(
    prepared: Prepared,
    trials: Sequence[FrozenTrial],
    speedup: float | None,
    place_of: PlaceOf,
    where: Where,
    count: int = 1,
    *,
    of_run: bool = False,
    beside: Beside | None = None,
) -> list[Winner]:
    """Distils the best trials that keep a speed-up when they are timed at length.

    They are timed before they are trained, and each student afterwards. As many as are wanted are
    trained side by side where that can be; the next ones take the place of those that turn out too
    slow. Trials that come to the same student count once.

    Args:
        prepared: Of the run.
        trials: Those of a study, the best first.
        speedup: None is no limit.
        place_of: The folder for a trial's checkpoint.
        where: On which machine speed-ups must have been timed that are not timed anew.
        count: How many; fewer where there are no more, or no time.
        of_run: Whether one of them will be the run's own student: the best of each kind come first
            (see `each_kind_first`), and one that is too slow makes way where the run has its own.
        beside: What is trained beside the first of those that begin together; default: nothing.

    Raises:
        MissedLimitError: None of them keeps the speed-up.
    """
    found, reached = list[Winner](), dict[int, float]()
    timed = best_at_length(prepared, trials, speedup, where, by_kind=of_run)
    ahead = _fast_enough(prepared, timed, speedup, where, reached)
    while some := list(itertools.islice(ahead, count - len(found))):
        due = _trainings([winner for winner, _ in some], place_of, len(found))
        winner, fast = some[0]
        further = beside(winner, due[0].folder, fast) if beside else ()
        train_side_by_side(prepared, [*due, *further])
        for (winner, _), training in zip(some, due, strict=True):
            if found and not _has_time(prepared.context, training):
                return found
            training.fill(prepared)
            if _keeps(prepared, winner, training.folder, speedup, where, reached):
                found.append(winner)
            elif of_run:
                _put_beside(prepared, winner, training.folder)
    if not found:
        raise MissedLimitError(_what_can_be_had(prepared, trials, reached, speedup or 0))
    return found


def each_kind_first(best_first: Sequence[T], candidate_of: Callable[[T], Candidate]) -> list[T]:
    """The best of each recipe, pruned or not, ahead of all others, else in the given order.

    What a short training says of shapes of one recipe holds more often than what it says of
    recipes, some of which start slowly and end higher, or of pruned students, which begin near
    their teacher.
    """
    firsts: dict[tuple[str, bool], T] = {}
    for one in best_first:
        candidate = candidate_of(one)
        firsts.setdefault((candidate.recipe, bool(candidate.pruning)), one)
    leads = list(firsts.values())
    return [*leads, *(one for one in best_first if one not in leads)]


def _fast_enough(
    prepared: Prepared,
    timed: Iterable[Timed],
    speedup: float | None,
    where: Where,
    reached: dict[int, float],
) -> Iterator[Timed]:
    """Trials that may keep a speed-up, each student once; `reached` gets those of the others."""
    seen = list[object]()
    for winner, fast in timed:
        assert winner.trial is not None, "a shape that is given has no limit"
        same = _in_effect(prepared.context.settings, winner.candidate)
        if same in seen:
            continue
        if speedup is not None:
            known = speedup_of(prepared, winner.candidate, where)
            speed = known.read() if known.done() else float(fast or 0.0)
            if speed < speedup:
                reached[winner.trial] = speed
                continue
        seen.append(same)
        yield winner, fast


def _trainings(winners: Sequence[Winner], place_of: PlaceOf, number: int) -> list[FullTraining]:
    """Those of some finalists, counted from `number`.

    The very first takes the run's own place, unless the student of another of them is there.
    """
    places = [place_of(one, False) for one in winners]
    if not number and winners and (own := place_of(winners[0], True)) not in places:
        places[0] = own
    return [
        FullTraining(one.candidate, place, one.trial, step=finalist_step(i))
        for i, (one, place) in enumerate(zip(winners, places, strict=True), number)
    ]


def _has_time(context: Context, training: FullTraining) -> bool:
    """Whether a finalist is there, or can be; says so where not."""
    if training.done(context.settings) or context.time.affords(training.step_name(context.run)):
        return True
    say(f"no time for another finalist within --budget {context.settings.budget}")
    return False


def _keeps(
    prepared: Prepared,
    winner: Winner,
    folder: Path,
    speedup: float | None,
    where: Where,
    reached: dict[int, float],
) -> bool:
    """Whether the student of a trial keeps a speed-up; says so where not."""
    if speedup is None:
        return True
    assert winner.trial is not None, "a shape that is given has no limit"
    fast = reached[winner.trial] = speed_of_student(prepared, winner.candidate, folder, where)
    if fast < speedup:
        _say_slow(prepared.context.run, winner, fast, speedup)
    return fast >= speedup


def best_at_length(
    prepared: Prepared,
    trials: Sequence[FrozenTrial],
    speedup: float | None,
    where: Where,
    *,
    by_kind: bool = False,
) -> Iterator[Timed]:
    """Trials in the order in which they are chosen, timed again beside each other.

    At a speed-up, those that exceed it by a margin come first, by their loss. Without one, rewards
    are worked out anew where they depend on latency. With `by_kind`, the best of each kind come
    first; where trials are timed, before the others that they are timed with.
    """
    settings = prepared.context.settings
    if by_kind:
        trials = each_kind_first(trials, lambda trial: Winner.of(trial, settings).candidate)
    if speedup is None and (settings.cost != "latency" or len(trials) == 1):
        yield from ((Winner.of(trial, settings), None) for trial in trials)
        return
    short: list[tuple[float, Winner, float]] = []
    for start in range(0, len(trials), TOGETHER):
        some = trials[start : start + TOGETHER]
        winners = [Winner.of(trial, settings) for trial in some]
        speeds = _timed(prepared, [winner.candidate for winner in winners], where)
        if where.name == OF_CHOICE:
            _log_timed(prepared.context.run, winners, speeds)
        losses = [float(trial.user_attrs["loss"]) for trial in some]
        each = [*zip(losses, winners, speeds, strict=True)]
        if speedup is None:
            each.sort(key=lambda one: -reward_at(one[0], one[2], settings))
        else:
            each.sort(key=lambda one: one[0])
            late = [one for one in each if one[2] < _wanted(one[1], speedup)]
            for _, winner, fast in late:
                _say_slow(prepared.context.run, winner, fast, speedup)
            short += late
            each = [one for one in each if one not in late]
        if by_kind:
            each = each_kind_first(each, lambda one: one[1].candidate)
        yield from ((winner, fast) for _, winner, fast in each)
    yield from ((winner, fast) for _, winner, fast in sorted(short, key=lambda one: one[0]))


def speed_of_student(prepared: Prepared, candidate: Candidate, folder: Path, where: Where) -> float:
    """The speed-up of a trained student, which is timed unless it was."""

    def timed() -> float:
        return float(measured(prepared, candidate, folder)["costs"]["speedup"])

    return speedup_of(prepared, candidate, where).get(timed)


def speedup_of(prepared: Prepared, candidate: Candidate, where: Where) -> Artifact[float]:
    """The speed-up of a trained student, as it was when it was chosen or found too slow."""
    key = {"candidate": candidate.params, **where.key}
    return prepared.context.run.step(f"speed-up {where.name} {candidate.label}", key)


def _wanted(winner: Winner, speedup: float) -> float:
    """The speed-up that a trial has to show, with its margin."""
    return margin_of(winner.candidate.pruning, speedup) * speedup


def _log_timed(run: Run, winners: Sequence[Winner], speeds: Sequence[float]) -> None:
    """Keeps what the run's own choice rests on; a report has it beside what the search saw."""
    for winner, fast in zip(winners, speeds, strict=True):
        run.log(TIMED_AGAIN, trial=winner.trial, speedup=round(fast, 3))


def _say_slow(run: Run, winner: Winner, fast: float, speedup: float) -> None:
    """Says why a trial is passed over: too slow, or so near the limit that others go first."""
    run.log(TOO_SLOW, trial=winner.trial, speedup=round(fast, 3))
    margin = _wanted(winner, speedup) / speedup
    how = "less than" if fast < speedup else f"not {margin - 1:.0%} above"
    say(
        f"trial {winner.trial}  {winner.candidate.label}  is {fast:.2f} times as fast, timed at "
        f"length: {how} --speedup {speedup:g}"
    )


def _timed(prepared: Prepared, candidates: Sequence[Candidate], where: Where) -> list[float]:
    """Speed-ups of candidates, timed beside each other once."""
    key = {"candidates": [candidate.params for candidate in candidates], **where.key}
    name = f"speed-ups {where.name} {candidates[0].label}"
    compute = partial(prepared.meter.speedups, candidates, FINAL)
    return [float(fast) for fast in run_step(prepared.context, name, key, compute)]


def _in_effect(settings: Settings, candidate: Candidate) -> object:
    """What a candidate comes to: recipes of other names may train alike."""
    params = {name: value for name, value in candidate.params.items() if name != "recipe"}
    return params, method_of(settings_of(settings, candidate.recipe))


def _put_beside(prepared: Prepared, winner: Winner, folder: Path) -> None:
    """Moves a student that is too slow from where it would ship to where `--trial N` has it."""
    run = prepared.context.run.folder
    if folder in own_places(run):
        move(folder, run / "students" / f"trial-{winner.trial}" / "student")


def _what_can_be_had(
    prepared: Prepared, trials: Sequence[FrozenTrial], reached: dict[int, float], speedup: float
) -> str:
    run, settings = prepared.context.run, prepared.context.settings
    number = max(reached, key=lambda n: reached[n])
    chosen = next(Winner.of(t, settings) for t in trials if t.number == number)
    label = chosen.candidate.label
    least = math.floor(100 * reached[number]) / 100
    return (
        f"no student keeps --speedup {speedup:g}: timed at length, the fastest of those tried, "
        f"trial {number} ({label}), is {reached[number]:.2f} times as fast as the teacher; take "
        f"it with `kdnas distill {run.folder} --speedup {least:g}`, or try more candidates with "
        f"`kdnas resume {run.folder} {longer(run.settings)}`"
    )
