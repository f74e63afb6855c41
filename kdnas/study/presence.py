"""Which processes of this machine work on the same study, so that they can share its cores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.files.locks import file_lock
from kdnas.measure.quiet import lock_folder
from kdnas.runtime.console import say
from kdnas.runtime.process import process_name
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
            with file_lock(folder / "register", "another process registers as a worker", 60):
                others = sum(_alive(path) for path in folder.glob("*.process"))
                own = folder / f"{process_name()}.process"
                stack.enter_context(file_lock(own, "another process has this one's name", 0))
        except (OSError, KdnasError):  # nowhere to meet
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
        with file_lock(path, "another worker lives", 0):
            path.unlink(missing_ok=True)
            return False
    except KdnasError:
        return True
