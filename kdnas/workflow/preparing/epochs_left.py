"""The share of a recipe's epochs that a run's time left for its students, once it is chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kdnas.files.artifact import Artifact, key_of
from kdnas.runs.context import Context
from kdnas.space import Candidate

STEP = "epochs-share"


def share_of(context: Context, best: Candidate) -> Artifact[Any]:
    """The share of the epochs, as it is chosen when the search of a run ends with a student."""
    key = {"budget": context.settings.budget, "winner": best.params}
    return context.run.step(STEP, key)


def with_share(context: Context, share: float) -> Context:
    """The same with another share of the epochs of full KD."""
    settings = context.settings.model_copy(update={"epochs_share": share})
    return replace(context, settings=settings)


def as_trained(context: Context) -> Context:
    """The same by whose settings the run's students were trained, as far as they were.

    Where its budget cut their epochs, they have the share that was chosen then. Another budget is
    another choice, which is still to be made.
    """
    known = context.run.step(STEP, {})
    key = key_of(known.path) or {}
    known = replace(known, key=key)
    if key.get("budget") != context.settings.budget or not known.done():
        return context
    return with_share(context, known.read())
