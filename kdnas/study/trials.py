"""The life of a study: created or joined, counted, read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from kdnas.config.storage_url import SQLITE
from kdnas.errors import KdnasError
from kdnas.study.storage import (
    JOURNAL,
    failures,
    hold_whole,
    make_storage,
    without_password,
)

# Studies of a storage that a message names.
MOST_NAMED = 5

REPEATS = "repeats"

INFEASIBLE = "infeasible"
# Of a control: the number of the search's own trial whose result it took over.
BORROWED = "borrowed"
# The runtime that a trial was timed in, with its version.
RUNTIME = "latency_runtime"

Direction = Literal["minimize", "maximize"]


def open_study(
    url: str,
    name: str,
    sampler: BaseSampler | None,
    directions: Sequence[Direction],
    identity: dict[str, Any],
) -> Study:
    """Creates a study or joins the one of that name.

    Args:
        url: As `make_storage` reads it.
        name: The study's name.
        sampler: Proposes trials; None to read only.
        directions: `minimize` or `maximize` by objective.
        identity: Plain values that a study of the same name must agree on.

    Raises:
        KdnasError: The storage cannot be used, or the study belongs to another search.
    """
    with failures(f"cannot use the study {name!r}", url):
        study = optuna.create_study(
            storage=make_storage(url),
            study_name=name,
            sampler=sampler,
            directions=directions,
            load_if_exists=True,
        )
        _check_identity(study, identity)
    hold_whole(study._storage)
    return study


def control_name(name: str, sampler: str) -> str:
    """The name of the study in which a control searches beside the study of a run."""
    return f"{name}-{sampler}"


def read_study(url: str, name: str, folder: Path) -> Study:
    """An existing study, to be read.

    Raises:
        KdnasError: There is none, or its storage cannot be read.
    """
    file = _file(url)
    if file and not file.exists():
        raise KdnasError(
            f"{folder} has no study yet (no {file.name}); kdnas resume goes on with it"
        )
    return existing_study(url, name)


def existing_study(url: str, name: str) -> Study:
    """A study that somebody began; where there is none, no storage is made for it.

    Raises:
        KdnasError: There is none, or its storage cannot be read.
    """
    file = _file(url)
    if file and file.is_absolute() and not file.exists():
        raise KdnasError(
            f"there is no study {name!r}: {file} does not exist; the storage of a search that has "
            "begun would be right"
        )
    with failures(f"cannot read the study {name!r}", url):
        storage = make_storage(url)
        try:
            return optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            others = sorted(study.study_name for study in storage.get_all_studies())
    named = ", ".join(map(repr, others[:MOST_NAMED])) or "none"
    more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
    raise KdnasError(f"there is no study {name!r} in {without_password(url)}; it has {named}{more}")


def read_control(url: str, name: str, sampler: str) -> Study | None:
    """The study of a control, to be read; None where there was none."""
    with failures(f"cannot read the studies beside {name!r}", url):
        storage = make_storage(url)
        try:
            study = optuna.load_study(study_name=control_name(name, sampler), storage=storage)
        except KeyError:
            return None
        return study if evaluated(study) else None


def evaluated(study: Study) -> list[FrozenTrial]:
    """Trials that count: finished, each architecture once."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [t for t in trials if REPEATS not in t.user_attrs]


def beyond_limits(study: Study) -> list[FrozenTrial]:
    """Trials whose student was timed and counted, but breaks a limit."""
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    return [t for t in pruned if INFEASIBLE in t.user_attrs]


def beyond_in_a_row(study: Study) -> list[FrozenTrial]:
    """Those beyond the limits that came after the last trial that was scored."""
    trials = study.get_trials(deepcopy=False)
    scored = max((t.number for t in trials if "loss" in t.user_attrs), default=-1)
    return [t for t in beyond_limits(study) if t.number > scored]


def anybody_scored(study: Study) -> bool:
    """Whether a student was trained and scored, on a lower rung at least."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    return any("loss" in t.user_attrs for t in study.get_trials(deepcopy=False, states=states))


def settled(study: Study) -> list[FrozenTrial]:
    """Trials of which nothing more can be learnt: evaluated, or beyond a limit."""
    return evaluated(study) + beyond_limits(study)


def running(study: Study) -> int:
    """Trials that some process works on."""
    return len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))


def _check_identity(study: Study, identity: dict[str, Any]) -> None:
    known = study.user_attrs
    for key, value in identity.items():
        if key not in known:
            study.set_user_attr(key, value)
        elif known[key] != value:
            raise ValueError(f"it holds another search: its {key} is {known[key]!r}, not {value!r}")


def _file(url: str) -> Path | None:
    """The file that a storage is, if it is one."""
    if url.startswith(JOURNAL):
        return Path(url.removeprefix(JOURNAL))
    scheme, _, place = url.partition(":///")
    if scheme.partition("+")[0] != SQLITE or place.startswith("file:"):
        return None
    return Path(place.partition("?")[0])
