"""Output of commands: progress (bars on a terminal, lines elsewhere), messages, and results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import Progress, TaskID

from kdnas.runtime.bars import new_bars
from kdnas.runtime.formatting import WIDTH, in_time
from kdnas.runtime.interrupt import check
from kdnas.runtime.pace import Pace
from kdnas.runtime.plan import Plan, Step
from kdnas.runtime.progress import Lines, Ongoing
from kdnas.runtime.shown import printable, redact


class Advance(Protocol):
    """Reports the progress of a job."""

    def __call__(self, note: str, done: float | None = None, total: float | None = None) -> None:
        """Counts one step, or sets the steps done, with a short note such as the current loss.

        `total` changes how many there are.
        """


# Takes the title of a job, and how much of it is done, from 0 to 1.
Watch = Callable[[str, float], None]


@dataclass
class _Manner:
    """How this process prints."""

    quiet: bool = False  # only results are shown
    relay: Callable[[str], None] | None = None  # what shows the lines, where it is another process
    watch: Watch | None = None  # called with the progress of the outermost job
    result: TextIO | None = None  # where a result goes as JSON; None: as lines to standard output
    bars: Progress | None = None  # on the terminal, if any
    whole: TaskID | None = None  # the bar of the whole plan, above the others


_manner = _Manner()
_plan: Plan | None = None
_shown: list[Ongoing] = []  # whose progress is shown, the enclosing ones first
_lines = Lines()
_console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


@contextmanager
def manner(*, quiet: bool = False, as_json: bool = False) -> Iterator[None]:
    """Sets how a command prints within the block.

    Quiet prints results and errors alone; JSON goes to standard output, all else to standard error.
    """
    global _manner  # noqa: PLW0603
    before, _manner = _manner, _Manner(quiet, result=sys.stdout if as_json else None)
    try:
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            yield
    finally:
        _manner = before


@contextmanager
def silently() -> Iterator[None]:
    """Shows no progress within the block, and follows no plan."""
    global _plan
    before, _plan = _plan, None
    quiet, _manner.quiet = _manner.quiet, True
    try:
        yield
    finally:
        _plan, _manner.quiet = before, quiet


@contextmanager
def relayed(send: Callable[[str], None]) -> Iterator[None]:
    """Gives lines about progress to another process within the block, and shows no bars.

    The jobs that are open before it are that one's.
    """
    global _manner, _plan, _shown
    before = _manner, _plan, _shown
    _manner, _plan, _shown = _Manner(_manner.quiet, relay=send), None, []
    try:
        yield
    finally:
        _manner, _plan, _shown = before


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Calls a function with the progress of the outermost job at each step within the block."""
    before, _manner.watch = _manner.watch, watch
    try:
        yield
    finally:
        _manner.watch = before


def say(message: str) -> None:
    """Prints one line about progress."""
    if not _manner.quiet:
        (_manner.relay or _write)(message)


def conclude(result: Any, lines: Iterable[str]) -> None:
    """Prints a command's result: its lines, or with --json the same as plain values."""
    if _manner.result:
        print(json.dumps(result, indent=2), file=_manner.result, flush=True)
    else:
        for line in lines:
            _write(line)


@contextmanager
def following(plan: Plan) -> Iterator[None]:
    """Shows where a job is in its plan, and at its end how long it took."""
    global _plan  # noqa: PLW0603
    before, _plan = _plan, plan
    try:
        yield
    finally:
        _plan = before
    say(f"done in {in_time(plan.elapsed)}; planned: about {in_time(plan.first, rough=True)}")


@contextmanager
def step(name: str) -> Iterator[None]:
    """A step of the plan that is followed; nothing where the plan does not have it."""
    begun = begin(name)
    try:
        yield
    except BaseException:
        drop(begun)
        raise
    end(begun)


def begin(name: str, jobs: int = 1) -> Step | None:
    """Begins a step of the plan that is followed, as one of some side by side, and says so once.

    None where the plan does not have it.
    """
    runs = _plan is not None and any(step.name == name for step in _plan.running)
    begun = _plan.begin(name, jobs) if _plan else None
    if _plan and begun and not runs:
        number = f"step {_plan.steps.index(begun) + 1} of {len(_plan.steps)}"
        say(f"{number}: {begun.title} ({_plan.left})")
    return begun


def end(step: Step | None) -> None:
    """Ends a step that `begin` returned."""
    if _plan and step:
        _plan.end(step)


def drop(step: Step | None) -> None:
    """Leaves a step that `begin` returned, and that is not done."""
    if _plan and step:
        _plan.drop(step)


def correct(kind: str, factor: float) -> None:
    """Corrects the estimates of the steps of a kind that are still to come."""
    if _plan:
        _plan.rescale(kind, factor)


@contextmanager
def progress(title: str, total: float, done: float = 0, *, unit: str = "") -> Iterator[Advance]:
    """Shows the progress of a job, and ends it on Ctrl-C.

    Yields a function to call once a step with a short note, such as the current loss. On a
    terminal it moves a bar, below those of the enclosing jobs, that vanishes at the end; elsewhere
    it prints a line now and then. Where a plan is followed, both tell the time left for all of it.

    Args:
        title: Of the job.
        total: Its steps.
        done: Steps done before.
        unit: What a step is called, where the enclosed jobs are one step each.
    """
    shown: AbstractContextManager[Advance]
    if _manner.quiet or _manner.relay:
        shown = nullcontext(silent)
    elif sys.stdout.isatty():
        shown = _bar(title, total, done)
    else:
        shown = nullcontext(_told)
    job = Ongoing(title, total, done, unit)
    with job.within(_shown), shown as advance:
        pace = Pace(title)

        def interruptible(note: str, done: float | None = None, total: float | None = None) -> None:
            check()
            if done is None and (slow := pace.step()):
                say(slow)
            job.reach(job.done + 1 if done is None else done, total)
            if _plan:
                _plan.reach(_shown)
            if _manner.watch:
                _manner.watch(_shown[0].title, _shown[0].share)
            advance(note, done, total)

        yield interruptible


def _write(line: str) -> None:
    """Prints a line; its control characters are shown, not obeyed, its passwords not shown."""
    _console.print(printable(redact(line)))


def silent(note: str, done: float | None = None, total: float | None = None) -> None:
    """An `Advance` that prints nothing."""


@contextmanager
def _bar(title: str, total: float, done: float) -> Iterator[Advance]:
    """A bar below the open ones; above them one of the whole plan, if any."""
    outermost, bars = _manner.bars is None, _manner.bars or new_bars(_console)
    if outermost:
        bars.start()
        _manner.bars = bars
        if _plan:
            now = {"note": "", "left": _plan.left}
            _manner.whole = bars.add_task(_plan.place, total=1.0, **now)  # type: ignore[arg-type]
    task = bars.add_task(printable(title), total=total, completed=done, note="")  # type: ignore[arg-type]

    def advance(note: str, done: float | None = None, total: float | None = None) -> None:
        step = {"advance": 1} if done is None else {"completed": done}
        step |= {} if total is None else {"total": total}
        bars.update(task, note=note, refresh=done is not None, **step)  # type: ignore[arg-type]
        if _plan and _manner.whole is not None:
            place, left = _plan.place, _plan.left
            bars.update(_manner.whole, completed=_plan.share, description=place, left=left)

    try:
        yield advance
    finally:
        bars.remove_task(task)
        if outermost:
            bars.stop()
            _manner.bars = _manner.whole = None


def _told(note: str, done: float | None = None, total: float | None = None) -> None:
    """Prints a line where the last one is long enough ago."""
    outer, inner = _shown[0], _shown[-1]
    if inner.share >= 1 or not _lines.due(outer.seconds):
        return
    where = outer.label if outer is inner else f"{outer.label}, {inner.share:.0%}"
    if _plan and _plan.current:
        line = f"{_plan.place}: {where}; {_plan.left}"
    else:
        line = f"{where}, about {in_time(outer.seconds_left, rough=True)} left"
    say(f"  {line}{f'  {note}' if note and len(line) + len(note) < WIDTH - 4 else ''}")
