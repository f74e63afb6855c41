"""Output of commands: progress (bars on a terminal, lines elsewhere), messages, and results."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kdnas.runtime.interrupt import check

LINE_SECONDS = 15.0
# Trials take from seconds to minutes; the time left follows their mean speed over this long.
SPEED_SECONDS = 3600.0


class Advance(Protocol):
    """Reports the progress of a job."""

    def __call__(self, note: str, done: float | None = None) -> None:
        """Counts one step, or sets the steps done, with a short note such as the current loss."""


@dataclass
class _Manner:
    """How this process prints.

    Attributes:
        quiet: Whether only results are shown.
        result: Where a result goes as JSON; None: to standard output, as lines.
        bars: The progress bars on the terminal, if any.
    """

    quiet: bool = False
    result: TextIO | None = None
    bars: Progress | None = None


_manner = _Manner()
_console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


@contextmanager
def manner(*, quiet: bool = False, as_json: bool = False) -> Iterator[None]:
    """Sets how a command prints within the block.

    Args:
        quiet: Only results and errors, no progress.
        as_json: The result as JSON on standard output, all else on standard error.
    """
    global _manner  # noqa: PLW0603
    before = _manner
    _manner = _Manner(quiet, sys.stdout if as_json else None)
    try:
        if as_json:
            with redirect_stdout(sys.stderr):
                yield
        else:
            yield
    finally:
        _manner = before


def say(message: str) -> None:
    """Prints one line about progress."""
    if not _manner.quiet:
        _console.print(message)


def conclude(result: Any, lines: Iterable[str]) -> None:
    """Prints a command's result.

    Args:
        result: Plain values, for --json.
        lines: The same as text.
    """
    if _manner.result:
        print(json.dumps(result, indent=2), file=_manner.result, flush=True)
    else:
        for line in lines:
            _console.print(line)


@contextmanager
def progress(title: str, total: int, done: float = 0) -> Iterator[Advance]:
    """Shows the progress of a job, and ends it on Ctrl-C.

    Yields a function to call once a step with a short note, such as the current loss. On a
    terminal it moves a bar, below those of the enclosing jobs, that vanishes at the end; elsewhere
    it prints a line every LINE_SECONDS.

    Args:
        title: Of the job.
        total: Its steps.
        done: Steps done before.
    """
    if _manner.quiet:
        yield _interruptible(_silent)
    elif sys.stdout.isatty():
        with _bar(title, total, done) as advance:
            yield _interruptible(advance)
    else:
        yield _interruptible(_lines(title, total, done))


def _interruptible(advance: Advance) -> Advance:
    def interruptible(note: str, done: float | None = None) -> None:
        check()
        advance(note, done)

    return interruptible


def _silent(note: str, done: float | None = None) -> None:
    """Prints nothing."""


@contextmanager
def _bar(title: str, total: int, done: float) -> Iterator[Advance]:
    with _bars() as bars:
        task = bars.add_task(title, total=total, completed=done, note="")  # type: ignore[arg-type]

        def advance(note: str, done: float | None = None) -> None:
            step = {"advance": 1} if done is None else {"completed": done}
            bars.update(task, note=note, refresh=done is not None, **step)  # type: ignore[arg-type]

        try:
            yield advance
        finally:
            bars.remove_task(task)


@contextmanager
def _bars() -> Iterator[Progress]:
    """The open bars, or new ones; at most 80 columns wide."""
    if _manner.bars:
        yield _manner.bars
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
    )
    bars = Progress(*columns, console=_console, transient=True, speed_estimate_period=SPEED_SECONDS)
    with bars:
        _manner.bars = bars
        try:
            yield bars
        finally:
            _manner.bars = None


def _lines(title: str, total: int, before: float) -> Advance:
    steps, start = before, time.monotonic()
    last = start

    def advance(note: str, done: float | None = None) -> None:
        nonlocal steps, last
        steps = steps + 1 if done is None else done
        now = time.monotonic()
        if now - last >= LINE_SECONDS and before < steps < total:
            left = (now - start) / (steps - before) * (total - steps)
            say(f"  {title}: {steps:.3g}/{total}, {left:.0f} s left{'  ' + note if note else ''}")
            last = now

    return advance
