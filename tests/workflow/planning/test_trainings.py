"""The students that a run trains in full, as a plan lists them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kdnas.runs.context import Context, open_context
from kdnas.runs.run_folder import Run
from kdnas.workflow.distilling.finalists import all_found
from kdnas.workflow.planning.trainings import FINALIST, Kind, trained_in_full


def test_finalists_that_there_are_too_few_trials_for_are_not_to_come(
    make_run: Callable[..., Run],
) -> None:
    context = open_context(make_run(finalists=3))
    nowhere = context.run.folder / "students" / "finalists"
    assert _places(context) == [nowhere, nowhere]
    context.run.step("finalists", {}).write([{}, {}])
    assert _places(context) == [context.run.folder / "student", nowhere]
    all_found(context).write(2)
    assert _places(context) == [context.run.folder / "student"] * 2
    more = open_context(Run.open(context.run.folder, finalists=4))
    assert _places(more) == [context.run.folder / "student", nowhere, nowhere]


def test_what_a_person_would_pick_has_layers(make_run: Callable[..., Run]) -> None:
    context = open_context(make_run())
    found = trained_in_full(context, context.run.folder)
    assert [one.place.name for one in found if one.kind is Kind.LAYERED] == ["hand-picked"]


def _places(context: Context) -> list[Path]:
    found = trained_in_full(context, context.run.folder)
    return [one.place for one in found if one.step.startswith(FINALIST)]
