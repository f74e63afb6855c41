"""A recipe: the stages in which a student is trained, each with its data and its losses."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kdnas.config.weights import Weight, problem_of_weights, weighs

# Settings that are the defaults of losses' options of the same name.
LOSS_SETTINGS = ("mapping", "normalisation", "shared_projection", "temperature")
# What the control without a teacher learns from.
LABELS_ONLY = {"task": 1.0}
# The losses that a score other than a single one is the mean of.
SCORES = {"mean": ("hidden", "logits")}


class Stage(BaseModel):
    """One stage of a recipe, as an entry of `stages:` in a YAML file describes it.

    Keys that are not fields are options of its losses; `kdnas.recipes.check` checks them.
    """

    model_config = ConfigDict(
        extra="allow", frozen=True, validate_default=True, allow_inf_nan=False
    )

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Small letters, digits, dashes.")
    data: Literal["corpus", "task", "transfer"] = Field(
        description="The unlabelled corpus, the task's training rows, or the transfer set."
    )
    losses: dict[str, Weight] = Field(
        min_length=1,
        description="Each loss with its weight, or [first, last] of one that changes evenly.",
    )
    epochs: float = Field(
        gt=0, allow_inf_nan=False, description="Passes over the data; fractions are allowed."
    )
    lr: float = Field(gt=0, description="Peak learning rate.")
    teacher: Literal["general", "task"] | None = Field(
        default=None,
        description="Who teaches: the general teacher, which knows no task, or the task's own; "
        "default: the general teacher on a corpus.",
    )
    batch_size: int | None = Field(default=None, ge=1, description="Default: --batch-size.")
    stride: int = Field(
        default=1, ge=1, description="Hidden states are compared at every n-th token."
    )
    freeze_embeddings: bool | None = Field(
        default=None,
        description="Whether word embeddings stay as they are; default: where they were inherited "
        "and neither the task nor embeddings are learnt.",
    )
    dropout: bool = Field(default=False, description="Whether the student's dropout is on.")

    @property
    def is_general(self) -> bool:
        """Whether the stage knows nothing of a task, so that its result serves many."""
        return (self.teacher or ("general" if self.data == "corpus" else "task")) == "general"

    @property
    def options(self) -> dict[str, Any]:
        """The keys that are options of its losses."""
        return dict(self.model_extra or {})

    @property
    def weighed(self) -> tuple[str, ...]:
        """Its losses that count at some time."""
        return tuple(name for name, weight in self.losses.items() if weighs(weight))

    @model_validator(mode="before")
    @classmethod
    def _in_words(cls, values: Any) -> Any:
        """Refuses what pydantic would tell of in words of its own."""
        if isinstance(values, Stage):
            return values
        if not isinstance(values, dict):
            raise ValueError(f"stages has {values!r}; each stage maps keys such as name to values")
        where = f"losses of stage {values.get('name')!r}"
        if "losses" in values:
            problem = problem_of_weights(where, values["losses"])
            if problem:
                raise ValueError(problem)
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Stage:
        if self.is_general and self.data != "corpus":
            raise ValueError(
                f"stage {self.name!r} has a general teacher and the data of a task; give data: "
                "corpus or teacher: task"
            )
        if not self.weighed:
            raise ValueError(f"all losses of stage {self.name!r} weigh 0; give one a weight")
        return self


def problem_of_mini(losses: Mapping[str, Weight]) -> str | None:
    """What is wrong with mini-KD's losses, in words."""
    if not any(weighs(weight) for weight in losses.values()):
        return "all losses of mini_losses weigh 0; give one a weight"
    return None


def problem_of(stages: tuple[Stage, ...], corpus: str | None) -> str | None:
    """What is wrong with a recipe as a whole, in words."""
    names = [stage.name for stage in stages]
    for name in names:
        if names.count(name) > 1:
            return f"two stages are called {name!r}"
    for before, stage in pairwise(stages):
        if stage.is_general and not before.is_general:
            return f"the general stage {stage.name!r} must come before {before.name!r}"
    for stage in stages:
        if stage.data == "corpus" and corpus is None:
            return f"stage {stage.name!r} learns from a corpus; name one with --corpus"
    return None
