"""The trial table, which every report and plot reads."""

from __future__ import annotations

from typing import Any

import pandas as pd
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from kdnas.search.rungs import CONTINUES
from kdnas.search.samplers.names import RUNG
from kdnas.search.study import BORROWED, INFEASIBLE, REPEATS, RUNTIME
from kdnas.space.families import FIELDS

NUMBERS = (
    "params",
    "macs",
    "latency_ms",
    "latency_iqr_ms",
    "teacher_latency_ms",
    "speedup",
    "loss",
    "reward",
    "seconds",
)
MARKS = (RUNG, CONTINUES, REPEATS, BORROWED, INFEASIBLE, RUNTIME, "retry_of", "error")
COLUMNS = ("number", "state", *FIELDS, *NUMBERS, *MARKS)


def trial_table(study: Study) -> pd.DataFrame:
    """One row a trial, columns COLUMNS; trials that wait to be asked for are left out."""
    trials = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
    table = pd.DataFrame([_row(trial) for trial in trials], columns=list(COLUMNS))
    whole = (*FIELDS[:-1], "params", "macs", CONTINUES, REPEATS, BORROWED, "retry_of")
    return table.astype(dict.fromkeys(whole, "Int64"))


def finished(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that were evaluated, each architecture once."""
    return table[(table.state == "COMPLETE") & table[REPEATS].isna()]


def front(table: pd.DataFrame) -> pd.DataFrame:
    """Finished rows that no other beats in both loss and speed-up, fastest first."""
    ordered = finished(table).sort_values(["speedup", "loss"], ascending=[False, True])
    return ordered[ordered.loss < ordered.loss.cummin().shift(fill_value=float("inf"))]


def _row(trial: FrozenTrial) -> dict[str, Any]:
    attributes = {name: trial.user_attrs.get(name) for name in (*NUMBERS, *MARKS)}
    params = {name: trial.params.get(name) for name in FIELDS}
    return {"number": trial.number, "state": trial.state.name, **params, **attributes}
