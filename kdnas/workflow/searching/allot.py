"""What a search does within its time: how many trials, which trainings in full."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kdnas.config.duration import duration
from kdnas.errors import KdnasError
from kdnas.runs.time_budget import RESERVE, SHARE_OF_OTHERS
from kdnas.runtime.formatting import FEW_SECONDS, in_time
from kdnas.runtime.plan import Step

# Least budgets are rounded up: those up to so many seconds to multiples of so many. Speeds are
# measured anew each time.
ROUNDS, SURE = ((300, 15), (math.inf, 60)), 1.05


@dataclass(frozen=True)
class Work:
    """Something that takes its part of a budget.

    Attributes:
        title: As a person reads it: `scoring`.
        shorter: What makes it shorter, with the options: `fewer epochs (--teacher-epochs)`; empty
            where nothing does.
    """

    title: str
    shorter: str = ""


@dataclass(frozen=True)
class Allotment:
    """What there is time for.

    Attributes:
        trials: Of the search, still to come; of random search beside it as many in all.
        random: Of random search, still to come.
        students: Trainings in full.
        left_out: Those that there is no time for.
    """

    trials: float
    random: float
    students: list[Step]
    left_out: list[Step] = field(default_factory=list)


def allot(
    left: float,
    seconds: float,
    *,
    before: float,
    trial: float,
    students: Sequence[Step],
    report: Callable[[int], float],
    needed: int,
    done: tuple[float, float],
    most: float,
    control: bool,
    begun: bool,
    work: Mapping[Work, float],
) -> Allotment:
    """Divides the time left: one trial, its student and the report come first.

    Controls and further finalists follow in their order, as far as half of the rest pays for them.
    The rest is for trials, half of it for random search's.

    Args:
        left: Seconds left.
        seconds: Of the whole budget.
        before: What comes before the search.
        trial: Seconds that a trial adds to the search.
        students: The trainings in full that are missing.
        needed: Of these, as many as the run has to train: its own student, if missing, is first.
        report: What the report takes for so many students.
        done: Trials of the search and of random search that are paid for.
        most: Trials of the search, and of random search, in all.
        control: Whether random search follows.
        begun: Whether the run has trials already: it then ends as soon as it can.
        work: Seconds by kind of work, of the least of it: what comes before, one trial, its student
            and the report.

    Raises:
        KdnasError: There is no time for the least of it.
    """
    must, others = list(students[:needed]), students[needed:]
    first = trial if most > done[0] else 0.0  # nothing, once the search is over
    least = before + first + sum(step.seconds for step in must) + report(needed)
    rest = left - RESERVE * seconds - least
    if rest < 0 and not begun:
        raise KdnasError(too_short(seconds, seconds - left, before, least - before, work))
    budget, left_out = SHARE_OF_OTHERS * max(0.0, rest), list[Step]()
    for step in others:
        price = step.added * step.seconds + report(2) - report(1)
        if price <= budget:
            must.append(step)
            budget, rest = budget - price, rest - price
        else:
            left_out.append(step)
    count = max(0.0, rest + first) / trial
    mine, theirs = split(count, done, control=control)
    mine = min(mine, max(0.0, most - done[0]))
    theirs = min(theirs, max(0.0, done[0] + mine - done[1]))
    return Allotment(_whole(mine), _whole(theirs), must, left_out)


def split(count: float, done: tuple[float, float], *, control: bool) -> tuple[float, float]:
    """Trials for the search and for random search, such that both have as many in the end."""
    if not control:
        return count, 0.0
    mine = min(count, max(0.0, (count - done[0] + done[1]) / 2))
    return mine, count - mine


def _whole(trials: float) -> float:
    return float(math.floor(trials + 1e-6))


def too_short(
    seconds: float, spent: float, before: float, least: float, work: Mapping[Work, float]
) -> str:
    """The message for a budget that does not pay for one trial and its student.

    Its numbers add up: each part is rounded up to whole seconds.

    Args:
        seconds: Of the whole budget.
        spent: Of these, over already.
        before: What comes before the search.
        least: One trial, its student and the report.
        work: Seconds of both by kind of work: the longest is named, with what makes it shorter.
    """
    fits = rounded_up((spent + SURE * (before + least)) / (1 - RESERVE))
    parts = {"ahead": before, "least": least, "spent": spent, "reserve": RESERVE * seconds}
    whole = {name: math.ceil(part) for name, part in parts.items()}
    over = sum(whole.values()) - math.floor(seconds)
    told = {name: in_time(part, rough=part < FEW_SECONDS) for name, part in whole.items()}
    ahead = f"what comes before takes {told['ahead']}, " if whole["ahead"] else ""
    longest = max(work, key=work.__getitem__)
    taken = in_time(work[longest], rough=True)
    return (
        f"invalid --budget {duration(seconds)}: one trial, its distillation in full and its "
        f"evaluation take about {told['least']} here, {ahead}{told['spent']} have passed since the "
        f"start and {told['reserve']} stay in reserve: {in_time(over, rough=over < FEW_SECONDS)} "
        f"too much; most of it is {longest.title}, about {taken}; give --budget {duration(fits)} "
        f"or more{longest.shorter and f', or {longest.shorter}'}"
    )


def rounded_up(seconds: float) -> int:
    """A time that a person would type, at least so long.

    Golden: 125 -> 135, 299 -> 300, 301 -> 360.
    """
    unit = next(unit for most, unit in ROUNDS if seconds <= most)
    return unit * math.ceil(seconds / unit)
