"""The life of a study: created or joined, cleaned of dead trials, counted, read."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import optuna
import psutil
import sqlalchemy.exc
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from kdnas.errors import KdnasError
from kdnas.search.rungs import CONTINUES, UNITS
from kdnas.space.families import FIELDS

WORKER = "worker"
REPEATS = "repeats"

INFEASIBLE = "infeasible"
# Of a control: the number of the search's own trial whose result it took over.
BORROWED = "borrowed"

UNSIGNED_GRACE = timedelta(seconds=10)

Direction = Literal["minimize", "maximize"]


def storage_url(storage: str | None, folder: Path) -> str:
    """The user's storage, else SQLite in the run folder."""
    return storage or f"sqlite:///{(folder / 'study.db').resolve()}"


def open_study(
    url: str,
    name: str,
    sampler: BaseSampler | None,
    directions: Sequence[Direction],
    identity: dict[str, Any],
) -> Study:
    """Creates a study or joins the one of that name.

    Args:
        url: Storage URL of Optuna.
        name: The study's name.
        sampler: Proposes trials; None to read only.
        directions: `minimize` or `maximize` by objective.
        identity: Plain values that a study of the same name must agree on.

    Raises:
        KdnasError: The storage cannot be used, or the study belongs to another search.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            storage=RDBStorage(url, engine_kwargs=_engine(url)),
            study_name=name,
            sampler=sampler,
            directions=directions,
            load_if_exists=True,
        )
        _check_identity(study, identity)
    except (sqlalchemy.exc.SQLAlchemyError, RuntimeError, ValueError, ImportError) as error:
        raise KdnasError(
            f"cannot use the study {name!r} in {_without_password(url)}: {_reason(error)}"
        ) from None
    return study


def control_name(name: str, sampler: str) -> str:
    """The name of the study in which a control searches beside the study of a run."""
    return f"{name}-{sampler}"


def read_study(url: str, name: str, folder: Path) -> Study:
    """An existing study, to be read.

    Raises:
        KdnasError: There is none, or its storage cannot be read.
    """
    file = folder / "study.db"
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        raise KdnasError(
            f"{folder} has no study yet (no {file.name}); kdnas resume goes on with it"
        )
    try:
        return optuna.load_study(study_name=name, storage=url)
    except (sqlalchemy.exc.SQLAlchemyError, KeyError, RuntimeError, ValueError) as error:
        raise KdnasError(
            f"cannot read the study {name!r} in {_without_password(url)}: {_reason(error)}"
        ) from None


def read_control(url: str, name: str, sampler: str) -> Study | None:
    """The study of a control, to be read; None where there was none."""
    try:
        study = optuna.load_study(study_name=control_name(name, sampler), storage=url)
    except KeyError:
        return None
    return study if evaluated(study) else None


def release_dead_trials(study: Study) -> int:
    """Fails trials whose process died and queues their architectures again.

    Trials of other machines are left alone: their processes cannot be seen from here.
    """
    dead = [t for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if _died(t)]
    for trial in dead:
        study.tell(trial.number, state=TrialState.FAIL)
        retry(study, trial.number)
    return len(dead)


def retry(study: Study, number: int) -> None:
    """Queues a failed trial's architecture again, for what it was to cost."""
    trial = study.get_trials(deepcopy=False)[number]
    if set(FIELDS) <= trial.params.keys():
        kept = {k: trial.user_attrs[k] for k in (CONTINUES, UNITS) if k in trial.user_attrs}
        study.enqueue_trial(trial.params, user_attrs={**kept, "retry_of": number})


def fail_unsigned_trials(study: Study) -> None:
    """Fails trials that were asked for but never begun: their enqueued values fit no choice."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if WORKER not in trial.user_attrs:
            study.tell(trial.number, state=TrialState.FAIL)


def worker_name() -> str:
    """This process, so that others can tell whether it still lives: host:pid:start."""
    process = psutil.Process()
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.0f}"


def evaluated(study: Study) -> list[FrozenTrial]:
    """Trials that count: finished, each architecture once."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [t for t in trials if REPEATS not in t.user_attrs]


def settled(study: Study) -> list[FrozenTrial]:
    """Trials of which nothing more can be learnt: evaluated, or beyond a limit."""
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    return evaluated(study) + [t for t in pruned if INFEASIBLE in t.user_attrs]


def running(study: Study) -> int:
    """Trials that some process works on."""
    return len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))


def _died(trial: FrozenTrial) -> bool:
    host, pid, start = str(trial.user_attrs.get(WORKER, "::")).rsplit(":", 2)
    if host and host != socket.gethostname():
        return False
    if not pid:  # killed between asking and signing, or just about to sign
        start_time = trial.datetime_start or datetime.min
        return datetime.now() - start_time > UNSIGNED_GRACE
    try:
        return f"{psutil.Process(int(pid)).create_time():.0f}" != start
    except psutil.NoSuchProcess:
        return True


def _check_identity(study: Study, identity: dict[str, Any]) -> None:
    known = study.user_attrs
    for key, value in identity.items():
        if key not in known:
            study.set_user_attr(key, value)
        elif known[key] != value:
            raise ValueError(f"it holds another search: its {key} is {known[key]!r}, not {value!r}")


def _engine(url: str) -> dict[str, Any]:
    return (
        {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    )


def _without_password(url: str) -> str:
    return str(sqlalchemy.engine.make_url(url)) if "@" in url else url.removeprefix("sqlite:///")


def _reason(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error.__cause__ or error
    return " ".join(str(cause).split())[:200]
