"""How the commands that come next name a run and one of its students."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Named:
    """A student's names, as a person types them.

    Attributes:
        run: Its run folder.
        home: The folder of its report and its `student/`.
        model: What kdnas predict and evaluate take; the run itself for its own student.
        which: What kdnas export takes beside the run; empty for the run's own student.
    """

    run: str
    home: str
    model: str
    which: str

    @classmethod
    def of(cls, run: Path, home: Path, trial: int | None, spell: Callable[[Path], str]) -> Named:
        """Of the student of a trial, if any, in `home`; `spell` quotes a path."""
        folder, place = spell(run), spell(home)
        if home == run:
            return cls(folder, place, folder, "")
        return cls(folder, place, f"{place}/student", _which(run, home, trial))


def _which(run: Path, home: Path, trial: int | None) -> str:
    if home.name == f"trial-{trial}" or not home.is_relative_to(run):
        return f" --trial {trial}"
    return f" --student {home.relative_to(run).as_posix()}"
