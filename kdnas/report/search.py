"""How a search went, beside random search with the same budget."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kdnas.config import Settings
from kdnas.report.table import finished
from kdnas.space.families import FIELDS
from kdnas.study.pareto import hypervolume
from kdnas.study.samplers.names import RUNG
from kdnas.study.trials import INFEASIBLE

BUDGETS = (2.0, 4.0, 8.0)


def search_summary(
    settings: Settings, table: pd.DataFrame, control: pd.DataFrame | None, space_size: int
) -> dict[str, Any]:
    """The part of report.json on the search.

    Args:
        settings: Of the run.
        table: The trial table.
        control: That of random search; None where there was none.
        space_size: Valid students of the space.
    """
    each = finished(table).seconds.astype(float)
    scored = table[(table.state == "COMPLETE") | table[RUNG].notna()]
    return {
        "sampler": settings.sampler,
        "objective": settings.objective,
        "trials": int((table.state == "COMPLETE").sum()),
        "distinct": len(finished(table)),
        "seen": len(scored.drop_duplicates(list(FIELDS))),
        "infeasible": int(table[INFEASIBLE].notna().sum()),
        "space": space_size,
        **_found(table),
        "seconds_per_trial": {
            "median": round(float(each.median()), 2),
            "least": round(float(each.min()), 2),
            "most": round(float(each.max()), 2),
        },
        "budgets": [_budget(speedup, table, control) for speedup in budgets_of(settings)],
        "random_search": None if control is None else _found(control),
        "rungs": settings.rungs,
        "speedup_wanted": settings.speedup,
        "max_params": settings.max_params,
        "alpha": settings.alpha,
        "beta": settings.beta,
        "cost": settings.cost,
        "seed": settings.seed,
    }


def _found(table: pd.DataFrame) -> dict[str, Any]:
    """What one search found; its seconds are those that trials took, over all processes."""
    rows = finished(table)
    points = list(zip(rows.loss.astype(float), 1 / rows.speedup.astype(float), strict=True))
    return {
        "evaluated": len(rows),
        "best_reward": round(float(rows.reward.max()), 5),
        "hypervolume": round(hypervolume(points, (1.0, 1.0)), 5),
        "seconds": round(float(table.seconds.fillna(0).sum()), 1),
    }


def budgets_of(settings: Settings) -> list[float]:
    """The speed-ups at which students are compared."""
    # Told to look beyond one limit, a search does not look elsewhere.
    return [settings.speedup] if settings.speedup else list(BUDGETS)


def _budget(speedup: float, table: pd.DataFrame, control: pd.DataFrame | None) -> dict[str, Any]:
    """The best student of each search that is at least so many times as fast as the teacher."""
    drawn = None if control is None else _best(control, speedup)
    return {"speedup": speedup, "search": _best(table, speedup), "random_search": drawn}


def _best(table: pd.DataFrame, speedup: float) -> dict[str, Any] | None:
    rows = finished(table)
    fast = rows[rows.speedup >= speedup]
    if fast.empty:
        return None
    row = fast.sort_values("loss").iloc[0]
    return {
        "trial": int(row.number),
        "score": round(1 - float(row.loss), 5),
        "speedup": round(float(row.speedup), 3),
        "architecture": {name: _plain(row[name]) for name in FIELDS},
    }


def _plain(value: Any) -> int | str:
    return value if isinstance(value, str) else int(value)
