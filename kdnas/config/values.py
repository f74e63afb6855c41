"""All options of a run, and what follows from them."""

from __future__ import annotations

from typing import Any

from kdnas.config.assistants import assistants_in
from kdnas.config.choices import AGREEMENT, PRUNING, STATIC
from kdnas.config.duration import seconds_of
from kdnas.config.names import split
from kdnas.config.options import (
    DataOptions,
    FullKDOptions,
    MachineOptions,
    MiniKDOptions,
    PruningOptions,
    RunOptions,
    SearchOptions,
    TeacherOptions,
)
from kdnas.config.options.base import MOST_TRIALS
from kdnas.config.recipe import LEAST_EPOCHS, Stage, times
from kdnas.config.recipe_name import RecipeName
from kdnas.config.shape import LAYERS, Shape, read_shape

# The scores that are means of several losses, beside that of logits.
HIDDEN, MEAN = "hidden", "mean"


class Values(  # fields stand in the order of --help: pydantic takes those of the last base first
    MachineOptions,
    FullKDOptions,
    MiniKDOptions,
    PruningOptions,
    SearchOptions,
    TeacherOptions,
    DataOptions,
    RunOptions,
):
    """Every option, and what follows from several."""

    @property
    def searches(self) -> bool:
        """Whether a study finds the student's shape; else it is given."""
        return self.architecture is None and (self.pruned is None or self.searches_pruned)

    @property
    def searches_pruned(self) -> bool:
        """Whether a study chooses between pruned students, too."""
        return PRUNING in split(self.search_over)

    @property
    def assistant_words(self) -> tuple[str, ...]:
        """Who teaches the student in the teacher's place (`kdnas.config.assistants`)."""
        return assistants_in(self.assistants)

    @property
    def shape(self) -> Shape:
        """What is given of the student's shape; empty where a study finds it."""
        return {} if self.architecture is None else read_shape(self.architecture)

    @property
    def is_static(self) -> bool:
        """Whether the student that is given has no layers."""
        return self.shape.get(LAYERS) == 0

    @property
    def vocabulary_names(self) -> tuple[str, ...]:
        """The vocabularies that students may have."""
        return tuple(split(self.vocabularies or "")) or (self.vocabulary,)

    @property
    def base(self) -> str | None:
        """The model that students get shape, tokenizer and weights from; None: the embedded one."""
        return self.teacher if self.teacher_predictions is None else self.student_base

    @property
    def ends_by_trials(self) -> bool:
        """Whether a number of trials ends the search; else its time alone does."""
        return self.budget is None or self.trials < MOST_TRIALS

    @property
    def budget_seconds(self) -> float:
        """The time that a search may take in all; infinite where it has no limit."""
        return float("inf") if self.budget is None else float(seconds_of(self.budget))

    @property
    def full_stages(self) -> tuple[Stage, ...]:
        """The stages of full KD, each with its share of the epochs."""
        share, stages = self.epochs_share, self._whole_stages
        if share == 1:
            return stages
        return tuple(
            stage.model_copy(update={"epochs": max(LEAST_EPOCHS, share * stage.epochs)})
            for stage in stages
        )

    @property
    def _whole_stages(self) -> tuple[Stage, ...]:
        """By default hidden states or relations, then the task with these and the logits.

        Of a black-box teacher: its logits, then the task with them. Those that options make have
        the weights that the recipe's name multiplies; stages of a recipe were read with them.
        """
        if self.stages:
            return self.stages
        recorded = self.teacher_predictions is not None
        made = self._of_logits if recorded else self._of_intermediate
        weights = RecipeName.read(self.recipe).weights
        return tuple(stage.weighed_as(weights) for stage in made) if weights else made

    @property
    def outputs_alone(self) -> bool:
        """Whether a student can learn from its teacher's outputs alone, not from its layers."""
        return self.teacher_predictions is not None or self.is_static

    @property
    def follows_mini_kd(self) -> bool:
        """Whether full KD goes on from the student that mini-KD trained.

        Without stages it does where both learn from the same states: other states would first
        undo what mini-KD taught.
        """
        shared = self.intermediate_losses.keys() & self.mini_losses.keys()
        return self.after_mini_kd and bool(self.stages or self.outputs_alone or shared)

    @property
    def _of_logits(self) -> tuple[Stage, ...]:
        first = Stage(
            name="logits",
            data="transfer",
            losses={"logits": 1.0},
            epochs=self.epochs or 1,
            lr=self.lr,
            **self._softened,
        )
        task = Stage(
            name="task",
            data="transfer",
            losses={"task": 1.0, "logits": self.logit_weight},
            epochs=self.task_epochs,
            lr=self.task_lr,
            **self._softened,
        )
        return (first, task) if self.epochs else (task,)

    @property
    def _softened(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    @property
    def _of_intermediate(self) -> tuple[Stage, ...]:
        losses = self.intermediate_losses
        first = Stage(
            name=next(iter(losses)),
            data="corpus" if self.corpus else "task",
            teacher="task" if self.corpus else None,  # as stages on the task's rows have it
            losses=losses,
            epochs=self.epochs or 1,
            lr=self.lr,
        )
        kept = {name: times(self.hidden_weight, weight) for name, weight in losses.items()}
        task = Stage(
            name="task",
            data="task",
            losses={"task": 1.0, "logits": self.logit_weight, **kept},
            epochs=self.task_epochs,
            lr=self.task_lr,
            **self._softened,
        )
        return (first, task) if self.epochs else (task,)

    @property
    def mini_stage(self) -> Stage:
        """Mini-KD as one more stage, whose data are the proxy.

        Inherited word embeddings stay as they are: they are most of a small student's weights, and
        the teacher's already.
        """
        return Stage(
            name="mini-kd",
            data="corpus" if self.corpus else "task",
            teacher="task",
            losses=self.mini_losses,
            epochs=self.mini_epochs,
            lr=self.mini_lr,
            stride=self.mini_stride,
            freeze_embeddings=self.inherit and not self.is_static,
        )

    @property
    def scores_agreement(self) -> bool:
        """Whether candidates are scored by their predictions, after a run of their recipe."""
        return self.mini_score == AGREEMENT

    @property
    def scored_losses(self) -> tuple[str, ...]:
        """The losses whose held-out values, averaged, score a candidate; none for agreement."""
        if self.scores_agreement:
            return ()
        states = tuple(self.hidden_losses)
        several = {HIDDEN: states, MEAN: (*states, "logits")}
        return several.get(self.mini_score, (self.mini_score,))

    @property
    def short_stages(self) -> tuple[Stage, ...]:
        """The short run of a recipe that candidates are scored after; its data are the proxy.

        It takes --mini-epochs in all. Where predictions are scored, these are the recipe's own
        stages, which keep their shares of the epochs; else the one stage of mini-KD stands for it.
        Students without layers train in no time and take many epochs: theirs is the whole recipe.
        """
        if not self.scores_agreement:
            return (self.mini_stage,)
        if self.students == STATIC:
            return self.full_stages
        whole = sum(stage.epochs for stage in self.full_stages)
        return tuple(
            stage.model_copy(update={"epochs": self.mini_epochs * stage.epochs / whole})
            for stage in self.full_stages
        )
