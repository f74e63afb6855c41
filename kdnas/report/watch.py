"""`kdnas report RUN --watch`: the page again and again while the run goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from kdnas.errors import KdnasError
from kdnas.report.data import ReportData, read_run
from kdnas.report.page import Plotly
from kdnas.report.write import write_page_of
from kdnas.runs.run_folder import Run
from kdnas.runtime.interrupt import check
from kdnas.study.workers import workers_here

SECONDS = 5.0
# A page is made at most for this share of the time: large runs are looked at less often.
SHARE = 0.2
STEP = 0.1


def is_held(run: Run) -> bool:
    """Whether a process works on a run: it holds the run's lock."""
    path = run.folder / ".lock"
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
        lock.release()
        return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # of somebody else, on a disk without locks
        return False


def watch(
    folder: Path,
    page: Path,
    plotly: Plotly = "inline",
    seconds: float = SECONDS,
    written: Callable[[], None] = lambda: None,
) -> ReportData:
    """Writes a run's page anew every few seconds until no process of this machine works on the run.

    Args:
        folder: Of the run.
        page: Of the page; it is replaced whole, and loads itself again until the run ends.
        plotly: As for `write_page`.
        seconds: Between two pages.
        written: Called after each page.

    Returns:
        What the last page was drawn from.

    Raises:
        KdnasError: The run has no study, and nobody works on it.
        KeyboardInterrupt: Ctrl-C; the page is then one that stays.
    """
    data: ReportData | None = None
    idle = 0  # looks in a row at which nobody worked: between two trials a worker is not seen
    try:
        while True:
            run = Run.open(folder)
            goes_on = is_held(run)
            start = time.monotonic()
            try:
                data = read_run(run)
            except KdnasError:
                if not goes_on:
                    raise
            goes_on = goes_on or bool(data and data.study and workers_here(data.study))
            idle = 0 if goes_on else idle + 1
            over = bool(data and (idle > 1 or (idle and data.report)))
            if data:
                write_page_of(page, data, plotly, None if over else seconds)
                written()
            if data and over:
                return data
            _sleep(max(seconds, (time.monotonic() - start) * (1 / SHARE - 1)))
    except KeyboardInterrupt:
        if data:
            write_page_of(page, data, plotly)
        raise


def _sleep(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        check()
        time.sleep(STEP)
