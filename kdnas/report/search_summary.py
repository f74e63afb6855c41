"""How a search went, beside random search with the same budget; how far an unfinished one is."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd

from kdnas.config import Settings
from kdnas.config.duration import duration
from kdnas.report.searched import Bargain, Best, Budget, Finalist, Found, Search, Spread, TooSlow
from kdnas.report.timed_again import as_timed_again
from kdnas.report.trials_table import finished, front, records, seconds_of_scores
from kdnas.runs.run_folder import Run
from kdnas.runtime.formatting import in_digits, several
from kdnas.scoring.rank_agreement import agreement
from kdnas.space import Candidate
from kdnas.study.attributes import INFEASIBLE, RUNG
from kdnas.study.pareto import hypervolume
from kdnas.study.rows import candidate_of

BUDGETS = (2.0, 4.0, 8.0)
# Bargains: how many times as fast as the winner, what counts as better, how much worse they may be.
TIMES = (1.25, 1.6, 2.5)
BETTER, WORSE = 0.002, 0.1
MOST = 3
# Choices beside the shape, as people read them, and the columns that have them.
CHOICES = {"recipes": "recipe", "vocabularies": "vocabulary"}
# The event of a trial that, timed at length, is too slow to ship.
TOO_SLOW = "too slow"
SETTINGS = ("sampler", "objective", "rungs", "max_params", "alpha", "beta", "cost", "seed")


def search_of(
    run: Run,
    settings: Settings,
    table: pd.DataFrame,
    control: pd.DataFrame | None,
    space_size: int,
    winner: int | None,
    on_offer: Mapping[str, Collection[str]],
    before: Search | None = None,
) -> Search:
    """The report's part on a run's search: its trials, what was timed at length, its finalists.

    `on_offer` has the recipes and the vocabularies that a trial may have tried (see `CHOICES`).
    Finalists are those of `before`, the last report, where a person has deleted `steps/`.
    """
    timed = run.events(TOO_SLOW, trial=int, speedup=float)
    slow = {one["trial"]: one["speedup"] for one in timed if one["trial"] != winner}
    slow = {k: fast for k, fast in slow.items() if fast < (settings.speedup or 0)}
    known = run.step("finalists", {})
    finalists = before.finalists if before else []
    if known.done():
        finalists = [Finalist(**one) for one in known.read()]
    worse = worse_in_full(finalists, winner)
    held = as_timed_again(table, run, settings)
    own = _speedup_of(winner, table)
    found = search_summary(settings, held, control, space_size, winner, slow, worse, own)
    pairs = [one.score for one in finalists], [one.selection for one in finalists]
    tau = agreement(*pairs).tau if len(finalists) > 1 else None
    untried = not_tried(table, on_offer)
    more = {"finalists": finalists, "finalists_tau": tau, "not_tried": untried}
    return found.model_copy(update=more)


def search_summary(
    settings: Settings,
    table: pd.DataFrame,
    control: pd.DataFrame | None,
    space_size: int,
    winner: int | None,
    at_length: Mapping[int, float] = MappingProxyType({}),
    worse: Collection[int] = (),
    own_speedup: float | None = None,
) -> Search:
    """The report's part on the search.

    Args:
        settings: Of the run.
        table: Its trial table.
        control: That of random search.
        space_size: Candidates of the space.
        winner: The trial that was distilled.
        at_length: Speed-ups of trials that are too slow, timed at length, by their numbers.
        worse: Numbers of trials that are worse than the winner, trained in full.
        own_speedup: The winner's, where the table has not the higher one of two that differ much.
    """
    each, scored = seconds_of_scores(table), _scored(table)
    return Search(
        **{name: getattr(settings, name) for name in SETTINGS},
        **found(table).model_dump(),
        trials=int((table.state == "COMPLETE").sum()),
        winner=winner,
        distinct=len(finished(table)),
        seen=len({candidate_of(row) for row in records(scored)}),
        infeasible=int(table[INFEASIBLE].count()),
        space=space_size,
        seconds_per_trial=Spread(median=each.median(), least=each.min(), most=each.max()),
        budgets=[
            Budget(
                speedup=speedup,
                search=best_at(table, speedup),
                random_search=None if control is None else best_at(control, speedup),
            )
            for speedup in budgets_of(settings)
        ],
        random_search=None if control is None else found(control),
        bargains=bargains(table[~table.number.isin({*at_length, *worse})], winner, own_speedup),
        too_slow=_too_slow(table, winner, at_length),
        speedup_wanted=settings.speedup,
        fastest=finished(table).speedup.max(),
    )


def _scored(table: pd.DataFrame) -> pd.DataFrame:
    """Trials with a score, also those that stopped on a rung."""
    return table[(table.state == "COMPLETE") | table[RUNG].notna()]


def not_tried(table: pd.DataFrame, on_offer: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """What of recipes and vocabularies on offer no trial was scored with.

    Choices of which all were tried are left out.
    """
    scored = _scored(table)
    tried = {name: set(scored[column]) for name, column in CHOICES.items()}
    found = {
        name: [one for one in on_offer.get(name, ()) if one not in tried[name]] for name in CHOICES
    }
    return {name: left for name, left in found.items() if left}


def not_tried_words(search: Search) -> list[str]:
    """`recipes not tried: sequence-level`, a text a choice."""
    return [f"{name} not tried: {', '.join(left)}" for name, left in search.not_tried.items()]


def worse_in_full(finalists: Sequence[Finalist], winner: int | None) -> list[int]:
    """Trials that full training found worse than the winner, whatever the search's score says."""
    own = next((one.chosen_by for one in finalists if one.trial == winner), -math.inf)
    return [one.trial for one in finalists if one.chosen_by < own]


def longer(settings: Settings) -> str:
    """The option that gives a run twice as much: `--trials 40`, or `--budget 1h30m`."""
    if settings.budget is not None:
        return f"--budget {duration(2 * settings.budget_seconds)}"
    return f"--trials {2 * settings.trials}"


def _speedup_of(winner: int | None, table: pd.DataFrame) -> float | None:
    """That of a trial; None where it has none."""
    known = table[table.number == winner].speedup.dropna()
    return None if known.empty else float(known.iloc[0])


def bargains(
    table: pd.DataFrame, winner: int | None, own_speedup: float | None = None
) -> list[Bargain]:
    """Up to three students of the front that a person might rather have than the winner.

    The best that are at least 1.25, 1.6 and 2.5 times as fast as it, and the best of all where its
    score is higher.
    """
    own = table[table.number == winner]
    if own.empty or own.score.isna().any():
        return []
    score, speedup = float(own.score.iloc[0]), own_speedup or float(own.speedup.iloc[0])
    rows = front(table)
    groups = [rows[rows.speedup >= times * speedup] for times in TIMES]
    chosen: dict[int, Bargain] = {}
    for group in (rows[rows.score > score + BETTER], *groups):
        best = best_of(group)
        if best and best.trial != winner and best.score > score - WORSE:
            chosen.setdefault(
                best.trial,
                Bargain(
                    trial=best.trial,
                    name=best.name,
                    difference=best.score - score,
                    times=best.speedup / speedup,
                ),
            )
    return list(chosen.values())[:MOST]


def _too_slow(
    table: pd.DataFrame, winner: int | None, at_length: Mapping[int, float]
) -> list[TooSlow]:
    """Those of the trials that are too slow whose score is above the winner's, the best first."""
    own = table[table.number == winner]
    rows = finished(table[table.number.isin(at_length)])
    if own.empty or own.score.isna().any():
        return []
    better = rows[rows.score > float(own.score.iloc[0])].sort_values("score", ascending=False)
    return [
        TooSlow(
            trial=int(row["number"]),
            name=candidate_of(row).label,
            speedup=at_length[int(row["number"])],
        )
        for row in records(better)
    ]


def bargain_line(one: Bargain, run: str) -> str:
    """`trial 12: score 0.0010 less, 1.5 times as fast: kdnas distill RUN --trial 12`."""
    line = f"kdnas distill {run} --trial {one.trial}"
    return f"trial {one.trial}: {bargain_words(one)}: {line}"


def bargain_words(one: Bargain) -> str:
    """`score 0.0010 less, 1.5 times as fast`, beside the winner."""
    how = "less" if one.difference <= 0 else "more"
    return f"score {abs(one.difference):.4f} {how}, {in_digits(one.times, 2)} times as fast"


def found(table: pd.DataFrame) -> Found:
    """What one search found."""
    rows = finished(table)
    points = list(zip(1 - rows.score.astype(float), 1 / rows.speedup.astype(float), strict=True))
    return Found(
        evaluated=len(rows),
        best_reward=rows.reward.max(),
        hypervolume=hypervolume(points, (1.0, 1.0)),
        seconds=table.seconds.fillna(0).sum(),
        trainings=trainings_of(table),
    )


def trainings_of(table: pd.DataFrame) -> float:
    """What the scores of a search cost in whole trainings; one that stopped on a rung is a part."""
    shares = dict[Candidate, float]()
    for row in records(_scored(table)):
        share = 1.0 if row["state"] == "COMPLETE" else float(row[RUNG])
        candidate = candidate_of(row)
        shares[candidate] = max(share, shares.get(candidate, 0.0))
    return sum(shares.values())


def budget_words(search: Found, random: Found) -> str:
    """What random search cost: `same budget`, or `1 trial (7 of this search)` where they differ."""
    if abs(search.trainings - random.trainings) < 1:
        return "same budget"
    return f"{several(round(random.trainings), 'trial')} ({round(search.trainings)} of this search)"


def budgets_of(settings: Settings) -> list[float]:
    """The speed-ups at which students are compared: the one asked for, or the usual ones."""
    return [settings.speedup] if settings.speedup else list(BUDGETS)


def best_at(table: pd.DataFrame, speedup: float) -> Best | None:
    """The best student that is at least `speedup` times as fast as the teacher."""
    rows = finished(table)
    return best_of(rows[rows.speedup >= speedup])


def best_of(rows: pd.DataFrame) -> Best | None:
    """The student of the highest score; None where there are no rows."""
    for row in records(rows.sort_values("score", ascending=False).head(1)):
        candidate = candidate_of(row)
        numbers = {name: row[name] for name in ("score", "speedup", "reward")}
        shape = candidate.architecture
        return Best(trial=row["number"], name=candidate.label, architecture=shape, **numbers)
    return None


def progress_lines(progress: dict[str, Any]) -> list[str]:
    """`ReportData.progress` in two sentences, or one where no student is scored yet.

    None without a search.
    """
    if not progress:
        return []
    of = "" if progress["planned"] is None else f" of {progress['planned']}"
    first = f"{progress['trials']:g}{of} trials are done"
    if progress["best_reward"] is not None:
        first += f"; best reward {progress['best_reward']:.4f}"
    best = progress["best"]
    if best is None:
        return [first]
    second = f"best so far: {best['name']} (trial {best['trial']}), score {best['score']:.4f}, "
    return [first, f"{second}{best['speedup']:.2f}x as fast"]
