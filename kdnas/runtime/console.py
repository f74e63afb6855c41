"""Output of commands: progress (bars on a terminal, lines elsewhere), messages, and results."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kdnas.runtime.interrupt import check
from kdnas.runtime.pace import Pace
from kdnas.runtime.shown import printable, redact

LINE_SECONDS = 15.0
# Trials take from seconds to minutes; the time left follows their mean speed over this long.
SPEED_SECONDS = 3600.0


class Advance(Protocol):
    """Reports the progress of a job."""

    def __call__(self, note: str, done: float | None = None) -> None:
        """Counts one step, or sets the steps done, with a short note such as the current loss."""


@dataclass
class _Manner:
    """How this process prints."""

    quiet: bool = False  # only results are shown
    result: TextIO | None = None  # where a result goes as JSON; None: as lines to standard output
    bars: Progress | None = None  # on the terminal, if any


_manner = _Manner()
_console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


@contextmanager
def manner(*, quiet: bool = False, as_json: bool = False) -> Iterator[None]:
    """Sets how a command prints within the block.

    Quiet prints results and errors alone; JSON goes to standard output, all else to standard error.
    """
    global _manner  # noqa: PLW0603
    before, _manner = _manner, _Manner(quiet, sys.stdout if as_json else None)
    try:
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            yield
    finally:
        _manner = before


def say(message: str) -> None:
    """Prints one line about progress."""
    if not _manner.quiet:
        _write(message)


def conclude(result: Any, lines: Iterable[str]) -> None:
    """Prints a command's result: its lines, or with --json the same as plain values."""
    if _manner.result:
        print(json.dumps(result, indent=2), file=_manner.result, flush=True)
    else:
        for line in lines:
            _write(line)


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
        shown: AbstractContextManager[Advance] = nullcontext(silent)
    elif sys.stdout.isatty():
        shown = _bar(title, total, done)
    else:
        shown = nullcontext(_lines(title, total, done))
    with shown as advance:
        pace = Pace(title)

        def interruptible(note: str, done: float | None = None) -> None:
            check()
            if done is None and (slow := pace.step()):
                say(slow)
            advance(note, done)

        yield interruptible


def _write(line: str) -> None:
    """Prints a line; its control characters are shown, not obeyed, its passwords not shown."""
    _console.print(printable(redact(line)))


def silent(note: str, done: float | None = None) -> None:
    """An `Advance` that prints nothing."""


@contextmanager
def _bar(title: str, total: int, done: float) -> Iterator[Advance]:
    """A bar below the open ones."""
    outermost, bars = _manner.bars is None, _manner.bars or _new_bars()
    if outermost:
        bars.start()
        _manner.bars = bars
    task = bars.add_task(printable(title), total=total, completed=done, note="")  # type: ignore[arg-type]

    def advance(note: str, done: float | None = None) -> None:
        step = {"advance": 1} if done is None else {"completed": done}
        bars.update(task, note=note, refresh=done is not None, **step)  # type: ignore[arg-type]

    try:
        yield advance
    finally:
        bars.remove_task(task)
        if outermost:
            bars.stop()
            _manner.bars = None


def _new_bars() -> Progress:
    """At most 80 columns wide."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=_console,
        transient=True,
        speed_estimate_period=SPEED_SECONDS,
    )


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
