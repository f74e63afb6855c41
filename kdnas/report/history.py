"""What scores were worth on this machine: a line for each time that it was measured.

The record is `fidelity.jsonl` in the cache. Lines are only ever added, by any number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdnas.config.names import split
from kdnas.errors import KdnasError
from kdnas.files.atomic import append_line
from kdnas.files.cache import cache_folder
from kdnas.files.lines import json_lines
from kdnas.files.locks import file_lock
from kdnas.runtime.console import say
from kdnas.runtime.formatting import WIDTH, several, table_lines
from kdnas.scoring.rank_agreement import pooled_tau

FILE = "fidelity.jsonl"
# Seconds to wait for another process that writes.
PATIENCE = 30.0
HEAD = ("date", "task", "score", "recipe", "tau", "n", "from", "seconds")
NAMES = ("task", "score", "recipe")  # columns that give way where the terminal is narrow


class Measurement(BaseModel):
    """Kendall's tau between the scores of a search and final scores, and of what it is.

    `seconds` is what a score took, the median of the study's trials.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["fidelity", "finalists"]  # `kdnas fidelity`, or the finalists of a search
    tau: Annotated[float, Field(ge=-1, le=1)]
    n: Annotated[int, Field(ge=2)]
    task: str
    task_type: str
    teacher: str
    scorer: str
    score: str  # as --mini-score has it
    recipe: str  # or the recipes that were searched over
    seconds: float
    date: str
    kdnas: str
    run: str

    @property
    def subject(self) -> tuple[str, ...]:
        """What was measured: a later measurement of the same takes the place of this one."""
        named = (self.kind, self.task, self.teacher, self.scorer, self.score, self.recipe)
        return (*named, self.run)


def record_file() -> Path:
    """Where the record is.

    Raises:
        KdnasError: This user has no home folder.
    """
    return cache_folder() / FILE


def remember(found: Measurement) -> None:
    """Adds a measurement to the record, unless it says again what the last one of its subject did.

    Where the record cannot be written, a message says so; the run keeps what was measured.
    """
    try:
        file = record_file()
        with file_lock(file.with_suffix(".lock"), "another process writes to it", PATIENCE):
            before = [one for one in _lines(file) if one.subject == found.subject]
            if not before or (before[-1].tau, before[-1].n) != (found.tau, found.n):
                append_line(file, found.model_dump_json())
    except (KdnasError, OSError) as error:
        say(f"the record of fidelity is not written: {error}")


def measurements() -> list[Measurement]:
    """The record, the newest first: of each subject what was measured last."""
    try:
        found = {one.subject: one for one in _lines(record_file())}
    except KdnasError:  # no home folder
        return []
    return sorted(found.values(), key=lambda one: one.date, reverse=True)


def by_task_type(found: Sequence[Measurement]) -> dict[str, dict[str, Any]]:
    """The mean tau of each type of task, its 95% interval, and what it is from."""
    means = {}
    for kind in sorted({one.task_type for one in found}):
        own = [one for one in found if one.task_type == kind]
        mean, interval = pooled_tau([one.tau for one in own], [one.n for one in own])
        counts = {"measurements": len(own), "students": sum(one.n for one in own)}
        means[kind] = {"tau": mean, "interval": interval, **counts}
    return means


def history_lines(found: Sequence[Measurement]) -> list[str]:
    """The record as a table for the terminal, and the means by type of task."""
    if not found:
        return ["nothing measured yet: kdnas fidelity RUN, or kdnas search with several finalists"]
    rows = [
        (
            *(one.date[:10], one.task, one.score if one.scorer == "mini-kd" else one.scorer),
            *(_recipe(one), f"{one.tau:.3f}", str(one.n), one.kind, f"{one.seconds:.1f}"),
        )
        for one in found
    ]
    means = (f"{kind}: {_told(mean)}" for kind, mean in by_task_type(found).items())
    told = [line for mean in means for line in wrap(mean, WIDTH, subsequent_indent="  ")]
    return [*table_lines(HEAD, rows, first=10, words=NAMES), "", *told, f"record: {record_file()}"]


def beside_the_record(found: Sequence[Measurement], run: Path, task_type: str | None) -> str:
    """What other runs found for tasks of a type, or of any type, in a sentence; empty for none."""
    others = [one for one in found if one.run != str(run.resolve())]
    own = [one for one in others if task_type in (None, one.task_type)]
    if not own:
        return ""
    mean, interval = pooled_tau([one.tau for one in own], [one.n for one in own])
    counts = {"measurements": len(own), "students": sum(one.n for one in own)}
    told = _told({"tau": mean, "interval": interval, **counts})
    return f"In other runs on this machine{f', for {task_type}' if task_type else ''}: {told}."


def _recipe(one: Measurement) -> str:
    """A recipe's name, or how many there were to choose from."""
    names = split(one.recipe)
    return one.recipe if len(names) < 2 else several(len(names), "recipe")


def _told(mean: dict[str, Any]) -> str:
    low, high = mean["interval"]
    counts = [several(mean[name], name[:-1]) for name in ("measurements", "students")]
    return f"mean tau {mean['tau']:.2f}, 95% interval {low:.2f} to {high:.2f} ({', '.join(counts)})"


def _lines(file: Path) -> list[Measurement]:
    """The lines of a record; damaged ones are skipped with a message."""
    found, wrong = list[Measurement](), 0
    for line in json_lines(file):
        try:
            found.append(Measurement.model_validate(line))
        except ValidationError:
            wrong += 1
    if wrong:
        say(f"{file} has {several(wrong, 'line')} that kdnas did not write, left out")
    return found
