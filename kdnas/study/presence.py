"""Which processes of this machine work on the same study, so that they can share its cores."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from kdnas.config import Settings
from kdnas.measure.quiet import lock_folder
from kdnas.runtime.console import say
from kdnas.study.storage import storage_url, without_password


def study_here(settings: Settings, folder: Path) -> str:
    """Names a run's study among those that processes of this machine work on."""
    return f"{without_password(storage_url(settings.storage, folder))} {settings.study}"


@contextmanager
def present(study: str) -> Iterator[int]:
    """Counts this process among those that work on a study here, for as long as it does.

    Yields how many there are, this one included. Each holds a lock on a file of its own, which the
    kernel takes from a killed one.

    Args:
        study: As `study_here` names it.
    """
    folder = lock_folder() / hashlib.sha256(study.encode()).hexdigest()[:16]
    with ExitStack() as stack:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with FileLock(folder / "register"):
                others = sum(_alive(path) for path in folder.glob("*.process"))
                stack.enter_context(FileLock(folder / f"{os.getpid()}.process"))
        except OSError:  # nowhere to meet
            others = 0
        yield 1 + others


def share_of_cores(settings: Settings, processes: int) -> Settings:
    """Settings of a worker: where no threads are asked for, its share of torch's choice."""
    if settings.threads or processes == 1:
        return settings
    cores = torch.get_num_threads()
    threads = max(1, cores // processes)
    say(
        f"{processes} processes work on this study here; this one takes {threads} of {cores} "
        "threads (--threads N)"
    )
    return settings.model_copy(update={"threads": threads})


def _alive(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            path.unlink(missing_ok=True)
            return False
    except Timeout:
        return True
