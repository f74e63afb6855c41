"""A recipe: the stages in which a student is trained, each with its data and its losses."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kdnas.config.weights import Weight, problem_of_weights, weighs

LossName = Literal["task", "logits", "hidden", "embeddings", "relations"]
MiniLoss = Literal["logits", "hidden", "embeddings", "relations"]
OfTask: tuple[LossName, ...] = ("task", "logits")


class Stage(BaseModel):
    """One stage of a recipe, as an entry of `stages:` in a YAML file describes it."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Small letters, digits, dashes.")
    data: Literal["corpus", "task", "transfer"] = Field(
        description="The unlabelled corpus, the task's training rows, or the transfer set."
    )
    losses: dict[LossName, Weight] = Field(
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
    temperature: float = Field(default=2.0, gt=0, description="Of the logit loss.")
    logit_loss: Literal["kl", "ce", "mse"] = Field(
        default="kl",
        description="KL divergence, soft cross-entropy, or squared error of the logits.",
    )
    relation_heads: int | None = Field(
        default=None,
        ge=1,
        description="Default: as many as the teacher has heads, where they divide.",
    )
    relation_layer: int | None = Field(
        default=None, ge=1, description="Teacher layer of the relations; default: its last."
    )

    @property
    def is_general(self) -> bool:
        """Whether the stage knows nothing of a task, so that its result serves many."""
        return (self.teacher or ("general" if self.data == "corpus" else "task")) == "general"

    @property
    def learns_task(self) -> bool:
        """Whether the student's head is trained."""
        return any(self.weighs(name) for name in OfTask)

    def weighs(self, loss: LossName) -> bool:
        """Whether a loss counts at some time."""
        return weighs(self.losses.get(loss, 0.0))

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
            problem = problem_of_weights(where, values["losses"], get_args(LossName))
            if problem:
                raise ValueError(problem)
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Stage:
        for loss in OfTask:
            if self.is_general and loss in self.losses:
                raise ValueError(
                    f"stage {self.name!r} learns from {loss}, which a general teacher cannot give; "
                    "teacher: task would be right"
                )
        if "task" in self.losses and self.data == "corpus":
            raise ValueError(f"stage {self.name!r} learns from task labels, which a corpus lacks")
        if self.is_general and self.data != "corpus":
            raise ValueError(
                f"stage {self.name!r} has a general teacher and the data of a task; data: corpus "
                "or teacher: task would be right"
            )
        if not any(self.weighs(loss) for loss in self.losses):
            raise ValueError(f"all losses of stage {self.name!r} weigh 0")
        return self


def problem_of_mini(losses: Mapping[MiniLoss, Weight], score: str) -> str | None:
    """What is wrong with mini-KD's losses and with what scores candidates, in words."""
    weighed = {name for name, weight in losses.items() if weighs(weight)}
    if not weighed:
        return "all losses of mini_losses weigh 0"
    if score != "hidden" and "logits" not in weighed:
        return f"--mini-score is {score}, but mini_losses has no logits, so that no head is trained"
    return None


def problem_of(stages: tuple[Stage, ...], corpus: str | None) -> str | None:
    """What is wrong with a recipe as a whole, in words."""
    names = [stage.name for stage in stages]
    for name in names:
        if names.count(name) > 1:
            return f"two stages are called {name!r}"
    for before, stage in pairwise(stages):
        if stage.is_general and not before.is_general:
            return f"the general stage {stage.name!r} should come before {before.name!r}"
    for stage in stages:
        if stage.data == "corpus" and corpus is None:
            return f"stage {stage.name!r} learns from a corpus; name one with --corpus"
    if stages and not stages[-1].learns_task:
        return f"the last stage, {names[-1]!r}, should train the head: losses task or logits"
    return None
