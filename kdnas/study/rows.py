"""A trial as a row of plain values, which trials.csv and the log keep, and a trial from a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.files.lines import is_finite
from kdnas.scoring.limits import Limits
from kdnas.space import Candidate, Pruning, SearchSpace
from kdnas.space.architecture import FIELDS, FURTHER_FIELDS
from kdnas.space.pruning import ASKED, KEPT_LAYERS, METHOD, SPARSITY
from kdnas.study import attributes as attr
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.study.results import SCORE_INTERVAL, objective_values

CANDIDATE = (*FIELDS, "recipe", "vocabulary")
# Of pruned students alone: how they are pruned, and what that leaves in each layer.
PRUNING = (METHOD, SPARSITY, ASKED, KEPT_LAYERS)
LEFT = (attr.HEADS_LEFT, attr.NEURONS_LEFT)
COSTS = ("params", "macs", "latency_ms", "latency_iqr_ms", "teacher_latency_ms", "speedup")
NUMBERS = (*COSTS, "loss", "score", *SCORE_INTERVAL, attr.INITIAL, "reward", "seconds")
NUMBERS_OF_TRIALS = (attr.CONTINUES, attr.REPEATS, attr.BORROWED, attr.RETRY_OF)
MARKS = (
    *(attr.RUNG, attr.CONTINUES, attr.REPEATS, attr.BORROWED, attr.INFEASIBLE, attr.RUNTIME),
    *(attr.RETRY_OF, attr.ERROR, attr.GIVEN_UP, attr.GIVEN_BACK),
)
# Who proposed a trial, the share of random trials in its episode, and the machine it ran on.
ORIGINS = ("proposed", "epsilon", "machine")
COLUMNS = ("number", "state", *CANDIDATE, *NUMBERS, *MARKS, *ORIGINS)
# With the columns that rows of encoder-decoders, of heads that have a size of their own, and of
# pruned students, alone have.
SHAPE = 2 + len(FIELDS)
ALL_COLUMNS = (*COLUMNS[:SHAPE], *FURTHER_FIELDS, *PRUNING, *LEFT, *COLUMNS[SHAPE:])
WHOLE = (*FIELDS[:-1], *FURTHER_FIELDS, "params", "macs", *NUMBERS_OF_TRIALS)
PROMOTED, ENQUEUED = "promoted", "enqueued"
# Without these, a trial that was scored, or was measured and breaks a limit, is of no use.
OF_SCORED = ("params", "macs", "speedup", "loss", "reward")
OF_MEASURED = ("params", "speedup")
# The sizes of a shape, and the least of each: a student may have no layers.
LEAST = {**dict.fromkeys(FIELDS[:-1], 1), FIELDS[0]: 0}

Row = dict[str, Any]


def row_of(trial: FrozenTrial, settings: Settings) -> Row:
    """The row of a trial, keys as in ALL_COLUMNS; None where there is no value.

    `settings` are its search's.
    """
    known = {name: trial.user_attrs.get(name) for name in (*NUMBERS, *MARKS)}
    if known["score"] is None and known["loss"] is not None:
        known["score"] = 1 - known["loss"]
    known |= {name: trial.user_attrs[name] for name in LEFT if name in trial.user_attrs}
    proposed = trial.system_attrs.get(attr.PROPOSAL_ATTR)
    if attr.CONTINUES in trial.user_attrs:
        proposed = PROMOTED
    elif attr.FIXED_ATTR in trial.system_attrs:
        proposed = ENQUEUED
    # A trial whose process died while it was asked for has some of its parameters: no candidate.
    complete = set(FIELDS) <= trial.params.keys()
    return {
        **{"number": trial.number, "state": trial.state.name},
        **(Candidate.of_trial(trial.params, settings).params if complete else {}),
        **known,
        **{"proposed": proposed, "epsilon": trial.system_attrs.get(attr.EPSILON_ATTR)},
        "machine": str(trial.user_attrs.get(attr.WORKER, "")).partition(":")[0] or None,
    }


def fault_of(row: Mapping[str, Any]) -> str | None:
    """What a row of a finished trial lacks, in words; None where it is whole."""
    state = row.get("state")
    if state not in TrialState.__members__:
        return f"has the unknown state {state!r}"
    needed: tuple[str, ...] = ()
    if state == "COMPLETE" or (state == "PRUNED" and row.get(attr.RUNG) is not None):
        needed = OF_SCORED
    elif state == "PRUNED" and row.get(attr.INFEASIBLE) is not None:
        needed = OF_MEASURED
    if needed and any(not _is_size(row.get(name), least) for name, least in LEAST.items()):
        return "has no whole architecture"
    if needed and not isinstance(row.get(FIELDS[-1]), str):
        return f"has no {FIELDS[-1]}"
    wrong = [name for name in needed if not is_finite(row.get(name))]
    return f"has no {wrong[0]}" if wrong else None


def is_settled(row: Mapping[str, Any]) -> bool:
    """Whether a row is of a trial with a result: a score, or costs that break a limit."""
    marks = (attr.RUNG, attr.INFEASIBLE)
    pruned = row.get("state") == "PRUNED" and any(row.get(name) is not None for name in marks)
    return row.get("state") == "COMPLETE" or pruned


def trial_of(row: Row, space: SearchSpace, settings: Settings) -> FrozenTrial:
    """The finished trial of a whole row, as its worker told it; `settings` are its search's.

    Raises:
        KdnasError: Its candidate is not in the space.
    """
    params: dict[str, Any] = {}
    if all(row.get(name) is not None for name in FIELDS):
        params = space.params(candidate_of(row))
        if not space.whole.is_valid(params):  # tried before the limit left it out
            raise KdnasError(
                f"trial {row['number']} on record, {candidate_of(row).label}, is not in this run's "
                "space; restore the old `space` and teacher in config.yaml"
            )
    pruner = SuccessiveHalvingPruner(settings.rungs, settings.reduction)
    known = {name: row[name] for name in (*NUMBERS, *MARKS, *LEFT) if row.get(name) is not None}
    if row.get("machine"):
        known |= {attr.WORKER: f"{row['machine']}:0:0", attr.BEGUN: True}
    state, values, reports = TrialState[row["state"]], None, dict[int, float]()
    if is_settled(row):
        rung = pruner.last if state == TrialState.COMPLETE else 0
        if state == TrialState.COMPLETE:
            values = objective_values(row, settings)
        elif attr.RUNG in known:
            rung = pruner.rung_at(float(row[attr.RUNG]))
            known[attr.RUNG_VALUES] = objective_values(row, settings)
            if len(known[attr.RUNG_VALUES]) == 1:
                reports = {rung: known[attr.RUNG_VALUES][0]}
        free = attr.REPEATS in known or attr.INFEASIBLE in known
        known[attr.UNITS] = 0 if free else pruner.cost(rung)
    measured = all(name in known for name in OF_MEASURED)
    return create_trial(
        state=state,
        values=values,
        params=params,
        distributions={name: space.distributions[name] for name in params},
        user_attrs=known,
        system_attrs=_origin(row, params),
        intermediate_values=reports,
        constraints=_violations(known, params, settings) if measured else None,
    )


def _violations(
    known: Mapping[str, Any], params: Mapping[str, Any], settings: Settings
) -> dict[str, float]:
    """By how much a trial that was timed breaks the limits."""
    limits = Limits.of(settings)
    pruning = Pruning.from_params(params)
    return limits.violations(known["speedup"], known["params"], pruning)


def candidate_of(row: Mapping[str, Any]) -> Candidate:
    """The candidate of a row."""
    plain = {name: row[name] if isinstance(row[name], str) else int(row[name]) for name in FIELDS}
    plain |= {name: int(row[name]) for name in FURTHER_FIELDS if is_finite(row.get(name))}
    names = {name: row[name] for name in CANDIDATE[len(FIELDS) :] if isinstance(row.get(name), str)}
    pruned = {METHOD: row[METHOD]} if isinstance(row.get(METHOD), str) else {}
    pruned |= {name: row[name] for name in PRUNING[1:] if is_finite(row.get(name))}
    return Candidate.from_params({**plain, **names, **pruned})


def _origin(row: Row, params: Mapping[str, Any]) -> dict[str, Any]:
    """System attributes that say who proposed a trial."""
    proposed, found = row.get("proposed"), dict[str, Any]()
    if proposed in (PROMOTED, ENQUEUED):
        found[attr.FIXED_ATTR] = dict(params)
    elif proposed:
        found[attr.PROPOSAL_ATTR] = proposed
    if row.get("epsilon") is not None:
        found[attr.EPSILON_ATTR] = row["epsilon"]
    return found


def _is_size(value: Any, least: int) -> bool:
    return is_finite(value) and value == int(value) and value >= least
