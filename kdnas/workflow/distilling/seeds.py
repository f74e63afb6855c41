"""Trainings of one student with several seeds: where each is, what they score, which one counts."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from kdnas.config import Settings, settings_of
from kdnas.files.curves import Curves
from kdnas.report.model import Seeds
from kdnas.scoring.mini_kd import MiniKD
from kdnas.workflow.distilling.measure import Control, measured, scored
from kdnas.workflow.preparing.prepare import Prepared

SEEDS = "seeds"


def other_seeds(settings: Settings) -> range:
    """The seeds of the trainings in full beside that with the run's own seed."""
    return range(settings.seed + 1, settings.seed + settings.final_seeds)


def place_of_seed(home: Path, name: str, seed: int) -> Path:
    """The folder of a student that was trained with a seed of its own."""
    return home / SEEDS / str(seed) / name


def with_seed(prepared: Prepared, seed: int) -> Prepared:
    """What trains students with another seed, from the same data, teacher and proxy."""
    context = prepared.context
    settings = context.settings.model_copy(update={"seed": seed})
    record = Curves(context.run.folder).record
    mini = prepared.mini
    own = (record, mini.general, mini.pruned, mini.recipes)
    mini = MiniKD(prepared.teacher, mini.proxy, settings, context.runtime, *own)
    full = cache(
        lambda recipe: replace(prepared.full(recipe), settings=settings_of(settings, recipe))
    )
    return replace(prepared, context=replace(context, settings=settings), mini=mini, full=full)


def named(name: str, seed: int | None) -> str:
    """`student`, or `student seed 1` for a training with a seed of its own."""
    return name if seed is None else f"{name} seed {seed}"


def seeds_of(prepared: Prepared, control: Control) -> Seeds | None:
    """The scores of a student's trainings; None where there is one alone."""
    if len(control.trainings) < 2:
        return None
    return Seeds.of(
        {seed: _scores(prepared, control, folder) for seed, folder in control.trainings.items()},
        next(seed for seed, folder in control.trainings.items() if folder == control.folder),
    )


def _scores(prepared: Prepared, control: Control, folder: Path) -> dict[str, Any]:
    if folder == control.folder:  # this one is timed, too
        return dict(measured(prepared, control.candidate, folder)["scores"])
    return dict(scored(prepared, control.candidate, folder)["scores"])
