"""How workers on other machines join a study: it holds the settings of its run."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Any

import torch
from optuna.study import Study

from kdnas.config import Settings, validated
from kdnas.config.groups import CHANGEABLE, OF_FULL_KD, OF_SCORING, OF_THE_TEACHER
from kdnas.config.storage_url import absolute, with_password_of_environment
from kdnas.errors import KdnasError
from kdnas.files.atomic import read_json, write_json
from kdnas.runs.run_folder import JOINED, RUNS, Run, difference
from kdnas.runtime.console import say
from kdnas.study.attributes import FINGERPRINTS, SETTINGS
from kdnas.study.storage import storage_url, without_password
from kdnas.study.study import evaluated, load_study
from kdnas.study.workers import workers_here

IDENTITY = ("teacher", "task", "objective")

OF_A_MACHINE = ("storage", "study", "out", "threads", "jobs", "device", "cache_limit")
# Settings that a run may go on with, so that a study has other ones than it had.
OF_A_STUDY = (*CHANGEABLE, *OF_FULL_KD, *OF_THE_TEACHER, *OF_SCORING)
# Settings too long for a line.
LONG = ("stages", "tasks", "space", "offered")
# Settings that may be a path on the machine where the study began.
PLACES = (*("teacher", "teacher_predictions", "student_base", "task", "corpus", "general_teacher"),)


def publish(study: Study, settings: Settings) -> None:
    """Keeps a run's settings in its study, without those of one machine alone.

    Raises:
        KdnasError: The study belongs to a run with other settings.
    """
    shared = settings.model_dump(mode="json", exclude=set(OF_A_MACHINE))
    before = study.user_attrs.get(SETTINGS)
    if before is not None:
        _refuse_other_settings(study, settings, before)
    if before != shared:
        study.set_user_attr(SETTINGS, shared)


def join(flags: dict[str, Any]) -> Run:
    """A run folder on this machine for a study that began on another.

    `flags` have at least `storage`; other settings in them win over the study's. One that is there
    has the study's settings of now, which `keep` writes, and goes on with the data that it has.

    Raises:
        KdnasError: There is no such study, this machine lacks what it needs, or the folder holds
            something else.
    """
    url = with_password_of_environment(absolute(flags["storage"]))
    name = flags.get("study", "kdnas")
    attributes = load_study(url, name).user_attrs
    if SETTINGS not in attributes:
        raise KdnasError(
            f"study {name!r} does not come from kdnas, or its search has not begun yet"
        )
    shared = _of_this_machine(attributes[SETTINGS], flags)
    digest = hashlib.sha256(without_password(url).encode()).hexdigest()[:6]
    folder = RUNS / f"worker-{socket.gethostname()}-{name}-{digest}"
    settings = validated({**shared, "out": folder, "study": name, **flags})
    assert settings.out is not None
    out = settings.out.expanduser()
    begun = (out / "config.yaml").exists()
    if begun and not (out / JOINED).exists():
        raise KdnasError(f"{out} holds another run; join that with `kdnas worker {out}`")
    if begun and "data_dir" not in flags:
        settings = settings.model_copy(update={"data_dir": Run.open(out).settings.data_dir})
    run = Run.create(settings, free=OF_A_STUDY)
    write_json(run.folder / JOINED, {key: attributes[key] for key in IDENTITY})
    return run


def rejoin(run: Run) -> Run:
    """A worker's run folder with the settings that its study has now.

    Raises:
        KdnasError: As of `join`.
    """
    ours = run.settings
    flags = {name: getattr(ours, name) for name in (*OF_A_MACHINE, *PLACES)}
    flags["storage"] = storage_url(ours.storage, run.folder)
    return join({name: value for name, value in flags.items() if value is not None})


def keep(run: Run) -> None:
    """Writes the settings of a joined study to its folder, without those of this process alone."""
    before = Run.open(run.folder).settings
    ours = {name: getattr(before, name) for name in OF_A_MACHINE}
    Run(run.folder, run.settings.model_copy(update=ours)).save()


def identity(run: Run) -> dict[str, Any] | None:
    """The identity of the study that a run joined; None for a run with its own study."""
    found = read_json(run.folder / JOINED)
    return dict(found) if isinstance(found, dict) else None


def forget_teacher(study: Study) -> None:
    """Lets a study in which nothing is scored go on with another teacher; the next one counts."""
    if FINGERPRINTS in study.user_attrs:
        study.set_user_attr(FINGERPRINTS, None)


def check_same_teacher(study: Study, settings: Settings, source: str | None, tuned: str) -> None:
    """Refuses a teacher or data that differ from the study's, which are its first worker's.

    A teacher fine-tuned here from the same weights and data passes: machines differ in the last
    bits. One that the study did not fine-tune must be identical.

    Args:
        study: The search's.
        settings: Of this process; the study's own may have changed since it began.
        source: Fingerprint of the teacher before its fine-tuning, with the data, if known.
        tuned: Its fingerprint now.

    Raises:
        KdnasError: They differ.
    """
    attributes = study.user_attrs
    shared, theirs = attributes.get(SETTINGS, {}), attributes.get(FINGERPRINTS)
    for name in OF_THE_TEACHER:
        new, old = shared.get(name), getattr(settings, name)
        if name in shared and new != old:
            raise KdnasError(
                f"the study's --{name.replace('_', '-')} {difference(new, old)}: it changed "
                "meanwhile; give the same command again"
            )
    if theirs is None:
        study.set_user_attr(FINGERPRINTS, {"source": source, "tuned": tuned})
    elif tuned != theirs["tuned"] and (
        source is None or source != theirs["source"] or theirs["tuned"] == theirs["source"]
    ):
        raise KdnasError(
            "the teacher or the data differ from the study's; give the same --teacher, --data-dir "
            "and --corpus"
        )


def share_threads(settings: Settings, folder: Path) -> Settings:
    """Settings of a worker: without --threads, its share of torch's threads.

    Threads are divided by the workers of the study that are at a trial on this machine now.
    """
    if settings.threads:
        return settings
    try:
        study = load_study(storage_url(settings.storage, folder), settings.study)
        workers = 1 + workers_here(study)
    except KdnasError:  # no study yet
        return settings
    if workers == 1:
        return settings
    cores = torch.get_num_threads()
    threads = max(1, cores // workers)
    say(f"{workers} workers share this machine: this one takes {threads} of {cores} threads")
    return settings.model_copy(update={"threads": threads})


def _refuse_other_settings(study: Study, ours: Settings, shared: dict[str, Any]) -> None:
    theirs = validated({k: v for k, v in shared.items() if k in Settings.model_fields})
    free = {*OF_A_MACHINE, *PLACES, "data_dir", *CHANGEABLE, *OF_FULL_KD, *OF_THE_TEACHER}
    free |= set(() if evaluated(study) else OF_SCORING)
    for name in Settings.model_fields:
        if name in free:
            continue
        new, old = getattr(ours, name), getattr(theirs, name)
        if new != old:
            what = "" if name in LONG else f" ({difference(old, new).removeprefix('is ')})"
            option = name.replace("_", "-")
            raise KdnasError(
                f"the storage has a study {study.study_name!r} with another --{option}{what}; "
                "choose another --study, or give the same settings"
            )


def _of_this_machine(shared: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    for name in PLACES:
        place = shared.get(name)
        if name not in flags and place and Path(place).is_absolute() and not Path(place).exists():
            raise KdnasError(
                f"the study's --{name.replace('_', '-')}, {place}, is not on this machine; give "
                f"--{name.replace('_', '-')}"
            )
    folder = shared.get("data_dir")
    if folder and not Path(folder).exists():
        shared = {**shared, "data_dir": None}  # KDNAS_DATA_DIR counts, or the hub
    return shared
