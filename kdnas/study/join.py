"""A study tells workers on other machines what they must know to work on it."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import Any

from optuna.study import Study

from kdnas.config import Settings, validated
from kdnas.config.storage_url import absolute, with_password_of_environment
from kdnas.errors import KdnasError
from kdnas.files.atomic import read_json, write_json
from kdnas.runs.run_folder import CHANGEABLE, Run, difference
from kdnas.study.storage import without_password
from kdnas.study.trials import existing_study

# Attributes of a study: the settings of its run, and what its teacher and data are.
SETTINGS = "settings"
FINGERPRINTS = "fingerprints"
IDENTITY = ("teacher", "task", "objective")

JOINED = "joined.json"
OF_A_MACHINE = ("storage", "study", "out", "threads", "device")
# What may be a path on the machine where the study began.
# Settings too long to be told in a line.
LONG = ("stages", "tasks", "space")
PLACES = ("teacher", "task", "corpus", "general_teacher")


def publish(study: Study, settings: Settings) -> None:
    """Keeps a run's settings in its study, without what is of one machine alone.

    Raises:
        KdnasError: The study is that of a run with other settings.
    """
    shared = settings.model_dump(mode="json", exclude=set(OF_A_MACHINE))
    before = study.user_attrs.get(SETTINGS)
    if before is not None:
        _refuse_other_settings(study.study_name, settings, before)
    if before != shared:
        study.set_user_attr(SETTINGS, shared)


def join(flags: dict[str, Any]) -> Run:
    """A run folder on this machine for a study that began on another.

    Args:
        flags: At least `storage`; other settings win over the study's.

    Raises:
        KdnasError: There is no such study, what it needs is not on this machine, or the folder
            holds something else.
    """
    url, name = (
        with_password_of_environment(absolute(flags["storage"])),
        flags.get("study", "kdnas"),
    )
    attributes = existing_study(url, name).user_attrs
    if SETTINGS not in attributes:
        raise KdnasError(f"study {name!r} is no kdnas study, or its search has not begun yet")
    shared = _of_this_machine(attributes[SETTINGS], flags)
    settings = validated({**shared, "out": _default_out(url, name), "study": name, **flags})
    assert settings.out is not None
    out = settings.out.expanduser()
    if (out / "config.yaml").exists() and not (out / JOINED).exists():
        raise KdnasError(f"{out} holds a run of its own; `kdnas worker {out}` joins that")
    run = Run.create(settings)
    write_json(run.folder / JOINED, {key: attributes[key] for key in IDENTITY})
    return run


def identity(run: Run) -> dict[str, Any] | None:
    """What the study that a run joined says it is; None for a run with a study of its own."""
    found = read_json(run.folder / JOINED)
    return dict(found) if isinstance(found, dict) else None


def check_same_teacher(study: Study, source: str | None, tuned: str) -> None:
    """Refuses another teacher or other data than the study's; the first worker's are the study's.

    A teacher that was fine-tuned here from the same weights and data will do: machines differ in
    the last bits. One that the study took as it was has to be the same.

    Args:
        study: The search's.
        source: Fingerprint of the teacher before its fine-tuning, with the data, if known.
        tuned: As it is now.

    Raises:
        KdnasError: They are others.
    """
    theirs = study.user_attrs.get(FINGERPRINTS)
    if theirs is None:
        study.set_user_attr(FINGERPRINTS, {"source": source, "tuned": tuned})
    elif tuned != theirs["tuned"] and (
        source is None or source != theirs["source"] or theirs["tuned"] == theirs["source"]
    ):
        raise KdnasError(
            "the teacher or the data here are not those of the study: their content differs "
            "(--teacher, --data-dir, --corpus)"
        )


def _refuse_other_settings(study: str, ours: Settings, shared: dict[str, Any]) -> None:
    theirs = validated({k: v for k, v in shared.items() if k in Settings.model_fields})
    for name in Settings.model_fields:
        if name in (*OF_A_MACHINE, *PLACES, "data_dir", *CHANGEABLE):
            continue
        new, old = getattr(ours, name), getattr(theirs, name)
        if new != old:
            told = "" if name in LONG else f" ({difference(old, new).removeprefix('is ')})"
            raise KdnasError(
                f"the storage has a study {study!r} with another --{name.replace('_', '-')}{told}; "
                "name this one with --study, or give that one's settings"
            )


def _of_this_machine(shared: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    for name in PLACES:
        place = shared.get(name)
        if name not in flags and place and Path(place).is_absolute() and not Path(place).exists():
            raise KdnasError(
                f"the study's --{name.replace('_', '-')} is {place}, which is not on this machine; "
                f"name it with --{name.replace('_', '-')}"
            )
    folder = shared.get("data_dir")
    if folder and not Path(folder).exists():
        shared = {**shared, "data_dir": os.environ.get("KDNAS_DATA_DIR")}
    return shared


def _default_out(url: str, name: str) -> Path:
    which = hashlib.sha256(without_password(url).encode()).hexdigest()[:6]
    return Path("runs") / f"worker-{socket.gethostname()}-{name}-{which}"
