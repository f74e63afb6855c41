"""RUN/curves.jsonl: the losses of each training by step, one line per training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from kdnas.files.atomic import append_line
from kdnas.files.lines import is_finite, json_lines

FILE = "curves.jsonl"
MINI_KD = "mini-KD"
# Curves are thinned to this many points, so that the file stays small.
MOST_POINTS = 100

Points = Sequence[tuple[int, float]]


class Record(Protocol):
    """Records a finished training."""

    def __call__(
        self,
        name: str,
        stage: str,
        points: Points,
        heldout: float | None = None,
        *,
        after: Sequence[str] | None = None,
    ) -> None: ...


def forget(
    name: str,
    stage: str,
    points: Points,
    heldout: float | None = None,
    *,
    after: Sequence[str] | None = None,
) -> None:
    """Records nothing."""


class Curves:
    """The curves of a run folder."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE

    def record(
        self,
        name: str,
        stage: str,
        points: Points,
        heldout: float | None = None,
        *,
        after: Sequence[str] | None = None,
    ) -> None:
        """Appends the curve of a student (`trial 3`, `student`, ...) in a stage.

        Args:
            name: The student.
            stage: Of its training.
            points: (step, loss), ascending.
            heldout: Its loss on held-out examples afterwards.
            after: The stages that it goes on from; None where stages are trainings of their own.
        """
        if len(points) > MOST_POINTS:  # evenly spread, with the first and the last
            last = (len(points) - 1) / (MOST_POINTS - 1)
            points = [points[round(i * last)] for i in range(MOST_POINTS)]
        kept = [[step, round(loss, 5)] for step, loss in points]
        line: dict[str, Any] = {"name": name, "stage": stage, "points": kept, "heldout": heldout}
        line |= {} if after is None else {"after": [*after]}
        append_line(self.file, json.dumps(line))

    def read(self) -> list[dict[str, Any]]:
        """Every curve, the last of each student and stage; none where the file is missing.

        Of a student that was trained again, the stages of its last training.
        """
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for line in json_lines(self.file):
            if _is_curve(line):
                for other in [one for one in found if _is_outdated(*one, by=line)]:
                    del found[other]
                found[line["name"], line["stage"]] = line
        return list(found.values())


def _is_outdated(name: str, stage: str, *, by: dict[str, Any]) -> bool:
    """Whether a stage of a student is none that a later line of it goes on from."""
    after = by.get("after")
    if name != by["name"] or not isinstance(after, list):
        return False
    return stage not in (MINI_KD, by["stage"], *after)


def _is_curve(line: dict[str, Any]) -> bool:
    """Whether a line is a curve of finite numbers; lines of other hands are left out."""
    points, heldout = line.get("points"), line.get("heldout")
    pairs = isinstance(points, list) and all(isinstance(p, list) and len(p) == 2 for p in points)
    numbers = [n for p in points for n in p] if isinstance(points, list) and pairs else []
    numbers += [] if heldout is None else [heldout]
    named = all(isinstance(line.get(key), str) for key in ("name", "stage"))
    return named and pairs and all(map(is_finite, numbers))
