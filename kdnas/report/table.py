"""The trial table, which every report and plot reads."""

from __future__ import annotations

from typing import Any

import pandas as pd
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from kdnas.space.families import FIELDS
from kdnas.study.rungs import CONTINUES
from kdnas.study.samplers.names import EPSILON_ATTR, FIXED_ATTR, PROPOSAL_ATTR, RUNG
from kdnas.study.trials import BORROWED, INFEASIBLE, REPEATS, RUNTIME
from kdnas.study.workers import WORKER

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
# Who proposed a trial, the share of random trials in its episode, and whose machine worked on it.
ORIGINS = ("proposed", "epsilon", "machine")
COLUMNS = ("number", "state", *FIELDS, *NUMBERS, *MARKS, *ORIGINS)


def trial_table(study: Study) -> pd.DataFrame:
    """One row a trial, columns COLUMNS; trials that wait to be asked for are left out."""
    trials = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
    table = pd.DataFrame([_row(trial) for trial in trials], columns=list(COLUMNS))
    whole = (*FIELDS[:-1], "params", "macs", CONTINUES, REPEATS, BORROWED, "retry_of")
    return table.astype(dict.fromkeys(whole, "Int64"))


def finished(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that were evaluated, each architecture once."""
    return table[(table.state == "COMPLETE") & table[REPEATS].isna()]


def front(table: pd.DataFrame, cost: str = "speedup", *, descending: bool = True) -> pd.DataFrame:
    """Finished rows that no other beats in both loss and cost, the cheapest first.

    Args:
        table: The trial table.
        cost: A column.
        descending: Whether more of it is cheaper, as of the speed-up.
    """
    ordered = finished(table).sort_values([cost, "loss"], ascending=[not descending, True])
    return ordered[ordered.loss < ordered.loss.cummin().shift(fill_value=float("inf"))]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Its rows as plain mappings by column."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _row(trial: FrozenTrial) -> dict[str, Any]:
    attributes = {name: trial.user_attrs.get(name) for name in (*NUMBERS, *MARKS)}
    params = {name: trial.params.get(name) for name in FIELDS}
    known = {**params, **attributes, **_origin(trial)}
    return {"number": trial.number, "state": trial.state.name, **known}


def _origin(trial: FrozenTrial) -> dict[str, Any]:
    proposed = trial.system_attrs.get(PROPOSAL_ATTR)
    if CONTINUES in trial.user_attrs:
        proposed = "promoted"
    elif FIXED_ATTR in trial.system_attrs:
        proposed = "enqueued"
    machine = str(trial.user_attrs.get(WORKER, "")).partition(":")[0] or None
    epsilon = trial.system_attrs.get(EPSILON_ATTR)
    return {"proposed": proposed, "epsilon": epsilon, "machine": machine}
