"""Studies: created, loaded, and what their trials say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from kdnas.errors import KdnasError
from kdnas.study.attributes import INFEASIBLE, REPEATS
from kdnas.study.storage import (
    defer_interrupts,
    file_of,
    file_problem,
    make_storage,
    storage_failures,
    without_password,
)

# Studies of a storage that a message names.
MAX_NAMED = 5
DIRECTIONS: dict[str, list[Literal["minimize", "maximize"]]] = {
    "reward": ["maximize"],
    "pareto": ["minimize", "minimize"],
}


def create_study(
    url: str,
    name: str,
    sampler: BaseSampler | None,
    objective: str,
    identity: dict[str, Any],
) -> Study:
    """Creates a study, or loads the one of that name.

    The objective is a key of DIRECTIONS; a study of this name must agree on the plain values of
    `identity`.

    Raises:
        KdnasError: The storage cannot be used, or the study belongs to another search.
    """
    with storage_failures(f"cannot use study {name!r}", url):
        study = optuna.create_study(
            storage=make_storage(url),
            study_name=name,
            sampler=sampler,
            directions=DIRECTIONS[objective],
            load_if_exists=True,
        )
        known = study.user_attrs
        for key, value in identity.items():
            if key not in known:
                study.set_user_attr(key, value)
    for key, value in identity.items():
        if known.get(key, value) != value:
            raise KdnasError(
                f"study {name!r} in {without_password(url)} belongs to another search: its {key} "
                f"is {known[key]!r}, not {value!r}; choose another --study"
            )
    defer_interrupts(study._storage)
    return study


def load_study(url: str, name: str) -> Study:
    """An existing study; where there is none, no storage is created.

    Raises:
        KdnasError: There is none, or its storage cannot be read.
    """
    file = file_of(url)
    problem = None
    if file and file.is_absolute():
        problem = file_problem(url) if file.exists() else f"{file} does not exist"
    if problem:
        raise KdnasError(
            f"no study {name!r}: {problem}; give the storage of a search that has begun"
        )
    with storage_failures(f"cannot read study {name!r}", url):
        storage = make_storage(url)
        try:
            return optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            others = sorted(study.study_name for study in storage.get_all_studies())
    named = ", ".join(map(repr, others[:MAX_NAMED])) or "none"
    more = f" and {len(others) - MAX_NAMED} more" if len(others) > MAX_NAMED else ""
    raise KdnasError(f"no study {name!r} in {without_password(url)}; it has {named}{more}")


def load_run_study(url: str, name: str, folder: Path) -> Study:
    """The study of a run that has begun.

    Raises:
        KdnasError: There is none, or its storage cannot be read.
    """
    file = file_of(url)
    if file and not file.exists():
        raise KdnasError(
            f"{folder} has no study yet (no {file.name}); continue it with `kdnas resume {folder}`"
        )
    return load_study(url, name)


def control_name(name: str, sampler: str) -> str:
    """The name of the study in which a control searches beside the study of a run."""
    return f"{name}-{sampler}"


def load_control(url: str, name: str, sampler: str) -> Study | None:
    """The study of a control as it is, nothing is run; None where it has no result."""
    with storage_failures(f"cannot read the controls of study {name!r}", url):
        storage = make_storage(url)
        try:
            study = optuna.load_study(study_name=control_name(name, sampler), storage=storage)
        except KeyError:
            return None
        return study if evaluated(study) else None


def evaluated(study: Study) -> list[FrozenTrial]:
    """Complete trials, each candidate once."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [t for t in trials if REPEATS not in t.user_attrs]


def infeasible(study: Study) -> list[FrozenTrial]:
    """Trials whose student was measured, but breaks a limit."""
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    return [t for t in pruned if INFEASIBLE in t.user_attrs]


def has_score(study: Study) -> bool:
    """Whether any candidate was scored, on a lower rung at least."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    return any("loss" in t.user_attrs for t in study.get_trials(deepcopy=False, states=states))
