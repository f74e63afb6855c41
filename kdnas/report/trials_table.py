"""The trial table (trials.csv), which every report and plot reads."""

from __future__ import annotations

from typing import Any

import pandas as pd
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from kdnas.space.candidate import Candidate
from kdnas.space.families import FIELDS
from kdnas.study.attributes import (
    BORROWED,
    CONTINUES,
    EPSILON_ATTR,
    FIXED_ATTR,
    INFEASIBLE,
    PROPOSAL_ATTR,
    REPEATS,
    RUNG,
    RUNTIME,
    WORKER,
)

CANDIDATE = (*FIELDS, "recipe", "vocabulary")
COSTS = ("params", "macs", "latency_ms", "latency_iqr_ms", "teacher_latency_ms", "speedup")
NUMBERS = (*COSTS, "loss", "score", "reward", "seconds")
MARKS = (RUNG, CONTINUES, REPEATS, BORROWED, INFEASIBLE, RUNTIME, "retry_of", "error")
# Who proposed a trial, the share of random trials in its episode, and the machine it ran on.
ORIGINS = ("proposed", "epsilon", "machine")
COLUMNS = ("number", "state", *CANDIDATE, *NUMBERS, *MARKS, *ORIGINS)
WHOLE = (*FIELDS[:-1], "params", "macs", CONTINUES, REPEATS, BORROWED, "retry_of")


def trial_table(study: Study) -> pd.DataFrame:
    """One row a trial, columns COLUMNS; enqueued trials that have not started are left out."""
    trials = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
    table = pd.DataFrame([_row(trial) for trial in trials], columns=list(COLUMNS))
    return table.astype(dict.fromkeys(WHOLE, "Int64"))


def finished(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that were evaluated, each candidate once."""
    return table[(table.state == "COMPLETE") & table[REPEATS].isna()]


def front(table: pd.DataFrame, cost: str = "speedup", *, descending: bool = True) -> pd.DataFrame:
    """Finished rows that no other beats in both score and cost, the cheapest first.

    Args:
        table: The trial table.
        cost: A column.
        descending: Whether more of it is cheaper, as of the speed-up.
    """
    ordered = finished(table).sort_values([cost, "score"], ascending=[not descending, False])
    score = ordered.score.astype(float)
    return ordered[score > score.cummax().shift(fill_value=float("-inf"))]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Its rows as plain mappings by column."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def candidate_of(row: dict[str, Any]) -> Candidate:
    """The candidate of a row."""
    plain = {name: row[name] if isinstance(row[name], str) else int(row[name]) for name in FIELDS}
    return Candidate.from_params({**row, **plain})


def _row(trial: FrozenTrial) -> dict[str, Any]:
    known = {name: trial.user_attrs.get(name) for name in (*NUMBERS, *MARKS)}
    if known["score"] is None and known["loss"] is not None:
        known["score"] = 1 - known["loss"]
    chosen = {**trial.params}
    if set(FIELDS) <= chosen.keys():
        chosen = Candidate.from_params(chosen).params
    return {"number": trial.number, "state": trial.state.name, **chosen, **known, **_origin(trial)}


def _origin(trial: FrozenTrial) -> dict[str, Any]:
    proposed = trial.system_attrs.get(PROPOSAL_ATTR)
    if CONTINUES in trial.user_attrs:
        proposed = "promoted"
    elif FIXED_ATTR in trial.system_attrs:
        proposed = "enqueued"
    machine = str(trial.user_attrs.get(WORKER, "")).partition(":")[0] or None
    epsilon = trial.system_attrs.get(EPSILON_ATTR)
    return {"proposed": proposed, "epsilon": epsilon, "machine": machine}
