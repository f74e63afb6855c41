"""What a person sees of a long job: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 15.0

Advance = Callable[[str], None]


def say(message: str) -> None:
    """One plain line on standard output."""
    Console(soft_wrap=True, highlight=False, markup=False, emoji=False).print(message)


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Shows how far a job of `total` steps is.

    Yields a function to call once a step with a short note, such as the current loss. On a
    terminal it moves a bar that vanishes at the end; elsewhere it prints a line now and then.
    """
    if sys.stdout.isatty():
        with _bar(title, total) as advance:
            yield advance
    else:
        yield _lines(title, total)


@contextmanager
def _bar(title: str, total: int) -> Iterator[Advance]:
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(title, total=total, note="")
        yield lambda note: bar.update(task, advance=1, note=note)


def _lines(title: str, total: int) -> Advance:
    done, start = 0, time.monotonic()
    last = start

    def advance(note: str) -> None:
        nonlocal done, last
        done += 1
        now = time.monotonic()
        if now - last >= LINE_SECONDS and done < total:
            left = (now - start) / done * (total - done)
            say(f"  {title}: {done}/{total}, {left:.0f} s left{'  ' + note if note else ''}")
            last = now

    return advance
