"""How long a run has been worked on, over all its sessions."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from kdnas.errors import KdnasError
from kdnas.files.atomic import read_json, write_json
from kdnas.files.lines import is_finite
from kdnas.runs.run_folder import Run

FILE = "clock.json"
# A session that is killed loses no more than this.
EVERY_SECONDS = 5.0


def time_spent(run: Run, began: float | None = None) -> Callable[[], float]:
    """A function that tells the seconds for which a run was worked on, sessions before too.

    Args:
        run: Whose.
        began: When this session did, by `time.monotonic`; default: now.
    """
    began = time.monotonic() if began is None else began
    before = seconds_before(run)
    return lambda: before + time.monotonic() - began


@contextmanager
def run_clock(run: Run, spent: Callable[[], float]) -> Iterator[None]:
    """RUN/steps/clock.json keeps the seconds spent on a run while the block lasts.

    It is written once there is a step: a run that is refused leaves nothing.
    """
    path = run.folder / "steps" / FILE
    stopped, process = threading.Event(), os.getpid()

    def keep() -> None:
        with suppress(KdnasError, OSError):  # a full disk: what needs the space says it better
            write_json(path, {"seconds": round(spent(), 1)})

    def keep_on() -> None:
        while not stopped.wait(EVERY_SECONDS) and os.getpid() == process:
            if path.parent.is_dir():
                keep()

    thread = threading.Thread(target=keep_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        if path.parent.is_dir():
            keep()


def seconds_before(run: Run) -> float:
    """The seconds of the sessions before this one."""
    found = read_json(run.folder / "steps" / FILE)
    seconds = found.get("seconds") if isinstance(found, dict) else None
    return max(0.0, float(seconds)) if seconds is not None and is_finite(seconds) else 0.0
