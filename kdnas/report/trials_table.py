"""The trial table (trials.csv), which every report and plot reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from kdnas.runtime.formatting import in_millions
from kdnas.space import Candidate
from kdnas.space.families import FIELDS
from kdnas.study import attributes as attr

CANDIDATE = (*FIELDS, "recipe", "vocabulary")
COSTS = ("params", "macs", "latency_ms", "latency_iqr_ms", "teacher_latency_ms", "speedup")
NUMBERS = (*COSTS, "loss", "score", "reward", "seconds")
NUMBERS_OF_TRIALS = (attr.CONTINUES, attr.REPEATS, attr.BORROWED, attr.RETRY_OF)
MARKS = (
    *(attr.RUNG, attr.CONTINUES, attr.REPEATS, attr.BORROWED, attr.INFEASIBLE, attr.RUNTIME),
    *(attr.RETRY_OF, attr.ERROR),
)
# Who proposed a trial, the share of random trials in its episode, and the machine it ran on.
ORIGINS = ("proposed", "epsilon", "machine")
COLUMNS = ("number", "state", *CANDIDATE, *NUMBERS, *MARKS, *ORIGINS)
WHOLE = (*FIELDS[:-1], "params", "macs", *NUMBERS_OF_TRIALS)
FORMATS: dict[str, Callable[[Any], str]] = {
    **{"number": str, "proposed": str, "score": "{:.4f}".format, "reward": "{:.4f}".format},
    **{"speedup": "{:.2f}x".format, "latency_ms": "{:.2f}".format, "seconds": "{:.1f}".format},
    **{"params": lambda n: in_millions(n, 2), "macs": lambda n: in_millions(n, 0)},
}


def trial_table(study: Study) -> pd.DataFrame:
    """One row a trial, columns COLUMNS; enqueued trials that have not started are left out."""
    trials = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
    table = pd.DataFrame([_row(trial) for trial in trials], columns=list(COLUMNS))
    return table.astype(dict.fromkeys(WHOLE, "Int64"))


def _row(trial: FrozenTrial) -> dict[str, Any]:
    known = {name: trial.user_attrs.get(name) for name in (*NUMBERS, *MARKS)}
    if known["score"] is None and known["loss"] is not None:
        known["score"] = 1 - known["loss"]
    complete = set(FIELDS) <= trial.params.keys()
    proposed = trial.system_attrs.get(attr.PROPOSAL_ATTR)
    if attr.CONTINUES in trial.user_attrs:
        proposed = "promoted"
    elif attr.FIXED_ATTR in trial.system_attrs:
        proposed = "enqueued"
    return {
        **{"number": trial.number, "state": trial.state.name},
        **(Candidate.from_params(trial.params).params if complete else trial.params),
        **known,
        **{"proposed": proposed, "epsilon": trial.system_attrs.get(attr.EPSILON_ATTR)},
        "machine": str(trial.user_attrs.get(attr.WORKER, "")).partition(":")[0] or None,
    }


def finished(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that were evaluated, each candidate once."""
    return table[(table.state == "COMPLETE") & table[attr.REPEATS].isna()]


def front(table: pd.DataFrame, cost: str = "speedup") -> pd.DataFrame:
    """Finished rows that no other beats in both score and a column of costs, the cheapest first."""
    ordered = finished(table).sort_values([cost, "score"], ascending=[cost != "speedup", False])
    score = ordered.score.astype(float)
    return ordered[score > score.cummax().shift(fill_value=float("-inf"))]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Its rows as plain mappings by column."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def candidate_of(row: dict[str, Any]) -> Candidate:
    """The candidate of a row."""
    plain = {name: row[name] if isinstance(row[name], str) else int(row[name]) for name in FIELDS}
    return Candidate.from_params({**row, **plain})


def cells(row: dict[str, Any], *columns: str) -> list[str]:
    """Some columns of a row as a person reads them; empty where there is no value."""
    return ["" if pd.isna(row[name]) else FORMATS[name](row[name]) for name in columns]
