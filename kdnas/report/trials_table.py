"""The trial table (trials.csv), which every report and plot reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from optuna.study import Study
from optuna.trial import TrialState

from kdnas.config import Settings
from kdnas.runtime.formatting import in_millions
from kdnas.study import attributes as attr
from kdnas.study.rows import ALL_COLUMNS, COLUMNS, WHOLE, Row, row_of

FORMATS: dict[str, Callable[[Any], str]] = {
    **{"number": str, "proposed": str, "score": "{:.4f}".format, "reward": "{:.4f}".format},
    **{"speedup": "{:.2f}x".format, "latency_ms": "{:.2f}".format, "seconds": "{:.1f}".format},
    **{"params": lambda n: in_millions(n, 2), "macs": lambda n: in_millions(n, 0)},
}


def trial_table(study: Study, settings: Settings) -> pd.DataFrame:
    """One row a trial; enqueued trials that have not started are left out.

    `settings` are the search's. Columns are COLUMNS, and those of ALL_COLUMNS in which some row has
    a value.
    """
    trials = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
    return _table([row_of(trial, settings) for trial in trials])


def no_trials() -> pd.DataFrame:
    """The table of a run without a study."""
    return _table([])


def _table(rows: list[Row]) -> pd.DataFrame:
    used = set(COLUMNS).union(*rows)
    table = pd.DataFrame(rows, columns=[name for name in ALL_COLUMNS if name in used])
    return table.astype({name: "Int64" for name in WHOLE if name in table})


def finished(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that were evaluated, each candidate once."""
    return table[(table.state == "COMPLETE") & table[attr.REPEATS].isna()]


def seconds_of_scores(table: pd.DataFrame) -> pd.Series[float]:
    """What the score of each finished row took, in seconds: on all rungs that led to it."""
    known = {int(row["number"]): row for row in records(table)}

    def seconds(row: dict[str, Any]) -> float:
        before = row[attr.CONTINUES]
        earlier = 0.0 if pd.isna(before) else seconds(known[int(before)])
        return earlier + (0.0 if pd.isna(row["seconds"]) else float(row["seconds"]))

    return pd.Series([seconds(row) for row in records(finished(table))], dtype=float)


def front(table: pd.DataFrame, cost: str = "speedup") -> pd.DataFrame:
    """Finished rows that no other beats in both score and a column of costs, the cheapest first."""
    ordered = finished(table).sort_values([cost, "score"], ascending=[cost != "speedup", False])
    score = ordered.score.astype(float)
    return ordered[score > score.cummax().shift(fill_value=float("-inf"))]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Its rows as plain mappings by column."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def cells(row: dict[str, Any], *columns: str) -> list[str]:
    """Some columns of a row as a person reads them; empty where there is no value."""
    return ["" if pd.isna(row[name]) else FORMATS[name](row[name]) for name in columns]
