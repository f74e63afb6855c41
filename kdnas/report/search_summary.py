"""How a search went, beside random search with the same budget; how far an unfinished one is."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kdnas.config import Settings
from kdnas.report.model import Best, Budget, Found, Search, Spread
from kdnas.report.trials_table import CANDIDATE, candidate_of, finished, records
from kdnas.study.attributes import INFEASIBLE, RUNG
from kdnas.study.pareto import hypervolume

BUDGETS = (2.0, 4.0, 8.0)
SETTINGS = ("sampler", "objective", "rungs", "max_params", "alpha", "beta", "cost", "seed")


def search_summary(
    settings: Settings, table: pd.DataFrame, control: pd.DataFrame | None, space_size: int
) -> Search:
    """The report's part on the search; `control` is the trial table of random search."""
    each = finished(table).seconds.astype(float)
    scored = table[(table.state == "COMPLETE") | table[RUNG].notna()]
    return Search(
        **{name: getattr(settings, name) for name in SETTINGS},
        **found(table).model_dump(),
        trials=int((table.state == "COMPLETE").sum()),
        distinct=len(finished(table)),
        seen=len(scored.drop_duplicates(list(CANDIDATE))),
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
        speedup_wanted=settings.speedup,
    )


def found(table: pd.DataFrame) -> Found:
    """What one search found."""
    rows = finished(table)
    points = list(zip(1 - rows.score.astype(float), 1 / rows.speedup.astype(float), strict=True))
    return Found(
        evaluated=len(rows),
        best_reward=rows.reward.max(),
        hypervolume=hypervolume(points, (1.0, 1.0)),
        seconds=table.seconds.fillna(0).sum(),
    )


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
    """`ReportData.progress` in two sentences, or one where no student is scored yet."""
    first = f"{progress['trials']:g} of {progress['planned']} trials are done"
    if progress["best_reward"] is not None:
        first += f"; best reward {progress['best_reward']:.4f}"
    best = progress["best"]
    if best is None:
        return [first]
    second = f"best so far: {best['name']} (trial {best['trial']}), score {best['score']:.4f}, "
    return [first, f"{second}{best['speedup']:.2f}x as fast"]
