"""How far a run is whose student is not finished."""

from __future__ import annotations

from typing import Any

from optuna.trial import TrialState

from kdnas.report.facts import Facts, label_of
from kdnas.report.table import finished, records
from kdnas.study.budget import Plan
from kdnas.study.rungs import spent


def progress_of(facts: Facts) -> dict[str, Any]:
    """Trials done and planned, in whole trainings, the best reward and the best student so far."""
    plan = Plan.of(facts.settings)
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    trials = facts.study.get_trials(deepcopy=False, states=ended)
    rows = finished(facts.table)
    best = records(rows[rows.number == facts.winner])
    return {
        "trials": round(spent(trials, plan.ladder) / plan.ladder.top, 2),
        "planned": plan.trials,
        "best_reward": None if rows.empty else round(float(rows.reward.max()), 5),
        "best": _student(best[0]) if best else None,
    }


def progress_told(facts: Facts) -> list[str]:
    """The same in two sentences, or one where no student is scored yet."""
    found = progress_of(facts)
    best = found["best"]
    told = [f"{found['trials']:g} of {found['planned']} trials are done"]
    if found["best_reward"] is not None:
        told[0] += f"; best reward {found['best_reward']:.4f}"
    if best:
        told.append(
            f"best so far: {best['name']} (trial {best['trial']}), score {best['score']:.4f}, "
            f"{best['speedup']:.2f}x as fast"
        )
    return told


def _student(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "trial": int(row["number"]),
        "name": label_of(row),
        "score": round(1 - float(row["loss"]), 5),
        "speedup": round(float(row["speedup"]), 3),
        "reward": round(float(row["reward"]), 5),
    }
