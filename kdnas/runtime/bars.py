"""The bars that show progress on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

# Trials take from seconds to minutes; the time left follows their mean speed over this long.
SPEED_SECONDS = 3600.0


class _Count(MofNCompleteColumn):
    """Steps done of all; of the whole plan, the share of its time."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.percentage:3.0f}%") if "left" in task.fields else super().render(task)


class _Left(TimeRemainingColumn):
    """Time left for a job; for the whole plan, by all that is known of it."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["left"]) if "left" in task.fields else super().render(task)


def new_bars(console: Console) -> Progress:
    """Bars on a terminal, at most 80 columns wide, that vanish at their end."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        _Count(),
        _Left(compact=True),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        speed_estimate_period=SPEED_SECONDS,
    )
