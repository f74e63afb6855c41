"""The share of a recipe's epochs that a run's time left for its students, once it is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kdnas.config import every_recipe
from kdnas.files.artifact import Artifact, key_of
from kdnas.runs.context import Context
from kdnas.space import Candidate
from kdnas.workflow.preparing.records import is_made, recipe_record

STEP = "epochs-share"


def share_of(context: Context, best: Candidate) -> Artifact[Any]:
    """The share of the epochs, as it is chosen when the search of a run ends with a student."""
    return _chosen_for(context, best.params)


def with_share(context: Context, share: float) -> Context:
    """The same with another share of the epochs of full KD."""
    settings = context.settings.model_copy(update={"epochs_share": share})
    return replace(context, settings=settings)


def as_trained(context: Context) -> Context:
    """The same by whose settings the run's students were trained, as far as they were.

    Where its budget cut their epochs, they have the share that was chosen then. Another budget or
    recipe, or other epochs of it, is another choice, which is still to be made.
    """
    key = key_of(context.run.step(STEP, {}).path) or {}
    chosen = _chosen_for(context, key.get("winner"))
    return with_share(context, chosen.read()) if chosen.done() else context


def _chosen_for(context: Context, winner: Mapping[str, Any] | None) -> Artifact[Any]:
    """The share that is chosen for a student of a search.

    What would have students trained again has it chosen again, too.
    """
    settings = context.settings
    key = {"budget": settings.budget, "winner": winner}
    before = context.run.step(STEP, key)
    if before.done() and _is_of(context, before.read()):
        return before
    recipes = [recipe_record(own) for own in every_recipe(settings).values()]
    return context.run.step(STEP, {**key, "recipes": recipes})


def _is_of(context: Context, share: float) -> bool:
    """Whether a share chosen before its key named the recipes is of those that a run has now.

    The student tells what it was trained by. No share was larger than the one asked for.
    """
    student, trained = context.run.folder / "student", with_share(context, share).settings
    known = key_of(student) is None or is_made(student, trained)
    return known and share <= context.settings.epochs_share
