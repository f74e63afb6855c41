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


@contextmanager
def run_clock(run: Run, began: float | None = None) -> Iterator[Callable[[], float]]:
    """Yields a function that tells the seconds for which a run was worked on, sessions before too.

    RUN/steps/clock.json keeps them while the block lasts, once there is a step: a run that is
    refused leaves nothing.

    Args:
        run: Whose.
        began: When this session did, by `time.monotonic`; default: now.
    """
    path = run.folder / "steps" / FILE
    began = time.monotonic() if began is None else began
    before, stopped, process = seconds_before(run), threading.Event(), os.getpid()

    def spent() -> float:
        return before + time.monotonic() - began

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
        yield spent
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
