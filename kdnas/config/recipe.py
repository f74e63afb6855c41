"""A recipe: the stages in which a student is trained, each with its data and its losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from kdnas.config.choices import Augmentation
from kdnas.errors import KdnasError

# Settings that are the defaults of losses' options of the same name.
LOSS_SETTINGS = ("mapping", "normalisation", "shared_projection", "temperature")
# Limits of what a training is told, here and in the settings.
LEAST_EPOCHS, MOST_EPOCHS = 0.001, 1000.0
LEAST_LR, MOST_LR = 1e-9, 1.0
MOST_WEIGHT = 1e6
MOST_BATCH = 65_536
# What the control without a teacher learns from.
LABELS_ONLY = {"task": 1.0}


def _share(value: Any) -> float:
    try:  # YAML reads 1e-3 as a text
        share = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        share = math.nan
    if not 0 <= share <= MOST_WEIGHT:
        raise PydanticCustomError("share", "expected a number from 0 to 1,000,000")
    return share


def _weight(value: Any) -> float | tuple[float, float]:
    try:
        if isinstance(value, list | tuple):
            first, last = map(_share, value)
            return first, last
        return _share(value)
    except ValueError:
        raise PydanticCustomError(
            "weight", "expected a number from 0 to 1,000,000, or [first, last]"
        ) from None


def _some(weights: dict[str, Any]) -> dict[str, Any]:
    if weights and not any(map(weighs, weights.values())):
        raise PydanticCustomError("weights", "expected a weight above 0")
    return weights


Weight = Annotated[float | tuple[float, float], BeforeValidator(_weight)]
# By loss; and by augmentation.
Weights = Annotated[dict[str, Weight], Field(min_length=1), AfterValidator(_some)]
Shares = Annotated[
    dict[Augmentation, Annotated[float, BeforeValidator(_share)]], AfterValidator(_some)
]


def weighs(weight: Weight) -> bool:
    """Whether a weight counts at some time."""
    return any(weight) if isinstance(weight, tuple) else bool(weight)


def times(factor: float, weight: Weight) -> Weight:
    """A weight, or both ends of one that changes, times a factor."""
    if isinstance(weight, tuple):
        return factor * weight[0], factor * weight[1]
    return factor * weight


class Stage(BaseModel):
    """One stage of a recipe, as an entry of `stages:` in a YAML file describes it.

    Keys that are not fields are options of its losses; `kdnas.recipes.stages` checks them.
    """

    model_config = ConfigDict(
        extra="allow", frozen=True, validate_default=True, allow_inf_nan=False
    )

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Small letters, digits, dashes.")
    data: Literal["corpus", "task", "transfer", "pseudo-labels"] = Field(
        description="The unlabelled corpus, the task's training rows, the transfer set, or the "
        "training rows with targets that the teacher writes."
    )
    losses: Weights = Field(
        description="Each loss with its weight, or [first, last] of one that changes evenly."
    )
    decoder_losses: dict[str, Weight] = Field(
        default={},
        description="Further losses, or other weights, where the teacher is an encoder-decoder.",
    )
    epochs: float = Field(
        ge=LEAST_EPOCHS, le=MOST_EPOCHS, description="Passes over the data; fractions are allowed."
    )
    lr: float = Field(ge=LEAST_LR, le=MOST_LR, description="Peak learning rate.")
    teacher: Literal["general", "task"] | None = Field(
        default=None,
        description="Who teaches: the general teacher, which knows no task, or the task's own; "
        "default: the general teacher on a corpus.",
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=MOST_BATCH, description="Default: --batch-size."
    )
    stride: int = Field(
        default=1, ge=1, le=1000, description="Hidden states are compared at every n-th token."
    )
    freeze_embeddings: bool | None = Field(
        default=None,
        description="Whether word embeddings stay as they are; default: where they were inherited "
        "and neither the task nor embeddings are learnt.",
    )
    dropout: bool = Field(default=False, description="Whether the student's dropout is on.")
    word_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of each text's tokens that a student without layers does not read at a "
        "step.",
    )
    freeze_student: bool = Field(
        default=False,
        description="Whether the student stays as it is, and what its losses learn beside it "
        "(projections, filters) is trained alone.",
    )

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

    def weighed_as(self, factors: Mapping[str, float]) -> Stage:
        """The stage with so many times the weights of some losses, where it has them.

        Raises:
            KdnasError: A weight would be above its limit.
        """
        changes: dict[str, dict[str, Weight]] = {}
        for key, own in (("losses", self.losses), ("decoder_losses", self.decoder_losses)):
            new = {name: times(factors[name], own[name]) for name in factors if name in own}
            for name, weight in new.items():
                if (most := max(weight) if isinstance(weight, tuple) else weight) > MOST_WEIGHT:
                    raise KdnasError(
                        f"invalid weight {most:g} of {name} in stage {self.name!r}, "
                        f"{factors[name]:g} times the recipe's: expected at most {MOST_WEIGHT:,.0f}"
                    )
            changes |= {key: {**own, **new}} if new else {}
        return self.model_copy(update=changes)

    @property
    def of_two_stacks(self) -> Stage:
        """The stage of a teacher with a decoder."""
        losses = {**self.losses, **self.decoder_losses}
        return self.model_copy(update={"losses": losses, "decoder_losses": {}})

    @model_validator(mode="after")
    def _consistent(self) -> Stage:
        if self.is_general and self.data != "corpus":
            raise ValueError(
                f"stage {self.name!r} has a general teacher and the data of a task; give data: "
                "corpus or teacher: task"
            )
        return self


def problem_of(stages: tuple[Stage, ...], corpus: str | None) -> str | None:
    """What is wrong with a recipe as a whole, in words."""
    names = [stage.name for stage in stages]
    for name in names:
        if names.count(name) > 1:
            return f"two stages are called {name!r}; rename one"
    for before, stage in pairwise(stages):
        if stage.is_general and not before.is_general:
            return f"the general stage {stage.name!r} must come before {before.name!r}"
    for stage in stages:
        if stage.data == "corpus" and corpus is None:
            return f"stage {stage.name!r} learns from a corpus; name one with --corpus"
    return None
