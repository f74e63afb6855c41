"""A hard limit on the speed-up holds in the final measurement, or nothing ships."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from kdnas.errors import MissedLimitError
from kdnas.files.artifact import Artifact
from kdnas.files.atomic import move
from kdnas.report.search_summary import longer
from kdnas.runtime.console import say
from kdnas.space import Candidate
from kdnas.study.winner import Winner
from kdnas.workflow.choose import ASIDE
from kdnas.workflow.distil import distil
from kdnas.workflow.measure import FINAL_REPEATS, measured
from kdnas.workflow.prepare import Prepared


def distil_within_limit(
    prepared: Prepared,
    trials: Sequence[Winner],
    speedup: float | None,
    place_of: Callable[[Winner], Path],
) -> Winner:
    """Distils the first trial that keeps a speed-up when it is timed at length.

    Each is timed before it is trained, and its student afterwards.

    Args:
        prepared: Of the run.
        trials: Those of a study, the best first.
        speedup: None is no limit.
        place_of: The folder for a trial's checkpoint.

    Raises:
        MissedLimitError: None of them keeps it.
    """
    reached: dict[int, float] = {}
    for trial in trials:
        candidate, number, folder = trial.candidate, trial.trial, place_of(trial)
        assert number is not None, "a shape that is given has no limit"
        if speedup is None:
            distil(prepared, candidate, number, folder)
            return trial
        known = speedup_of(prepared, candidate)
        reached[number] = known.get(partial(_timed, prepared, candidate))
        if reached[number] >= speedup:
            distil(prepared, candidate, number, folder)
            reached[number] = measured(prepared, candidate, folder)["costs"]["speedup"]
            if reached[number] >= speedup:
                return trial
            known.write(reached[number])
            _put_beside(prepared, number, folder)
        say(
            f"trial {number}  {candidate.label}  is {reached[number]:.2f} times as fast, timed at "
            f"length: less than --speedup {speedup:g}"
        )
    raise MissedLimitError(_what_can_be_had(prepared, trials, reached, speedup or 0))


def speedup_of(prepared: Prepared, candidate: Candidate) -> Artifact[float]:
    """The speed-up of a candidate, timed at length on this machine."""
    context = prepared.context
    key = {"candidate": candidate.params, "host": platform.node()}
    key["environment"] = context.runtime.describe()
    return context.run.step(f"speed-up {candidate.label}", key)


def _timed(prepared: Prepared, candidate: Candidate) -> float:
    meter = prepared.meter
    return meter.of_model(meter.untrained(candidate), FINAL_REPEATS).speedup


def _put_beside(prepared: Prepared, number: int, folder: Path) -> None:
    """Moves a student that is too slow from where it would ship to where `--trial N` has it."""
    run = prepared.context.run.folder
    if folder in (run / "student", run / ASIDE):
        move(folder, run / "students" / f"trial-{number}" / "student")


def _what_can_be_had(
    prepared: Prepared, trials: Sequence[Winner], reached: dict[int, float], speedup: float
) -> str:
    run = prepared.context.run
    number = max(reached, key=lambda n: reached[n])
    label = next(t.candidate.label for t in trials if t.trial == number)
    least = math.floor(100 * reached[number]) / 100
    return (
        f"no student keeps --speedup {speedup:g}: timed at length, the fastest of those tried, "
        f"trial {number} ({label}), is {reached[number]:.2f} times as fast as the teacher; take "
        f"it with `kdnas distill {run.folder} --speedup {least:g}`, or try more candidates with "
        f"`kdnas resume {run.folder} {longer(run.settings)}`"
    )
