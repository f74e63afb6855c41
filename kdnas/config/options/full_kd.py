"""The recipe: how students are trained in full."""

from __future__ import annotations

from typing import ClassVar

from kdnas.config.choices import ClassWeights, Students
from kdnas.config.options.base import MOST_FINAL_SEEDS, MOST_ROWS, Options, setting
from kdnas.config.recipe import (
    LEAST_EPOCHS,
    LEAST_LR,
    MOST_EPOCHS,
    MOST_LR,
    MOST_WEIGHT,
    Shares,
    Stage,
    Weights,
)


class FullKDOptions(Options):
    """The panel Full KD of --help."""

    panel: ClassVar[str] = "Full KD"

    recipe: str = setting(
        "default",
        "How students are trained in full: the name of a recipe (kdnas recipes lists them), or a "
        "YAML file in their form; NAME@0.3 multiplies its learning rates, NAME@logits=2 the weight "
        "of a loss.",
        main=True,
        form="NAME|FILE",
    )
    after_mini_kd: bool = setting(
        True,
        "Full KD goes on from the student that mini-KD trained; without it, or where the recipe "
        "without stages learns from other states than mini-KD, it starts afresh.",
    )
    epochs: float = setting(
        3,
        "Epochs of full KD on hidden states or relations, before the task.",
        ge=0,
        le=MOST_EPOCHS,
        main=True,
    )
    lr: float = setting(1e-3, "Peak learning rate of these epochs.", ge=LEAST_LR, le=MOST_LR)
    task_epochs: float = setting(
        3, "Epochs of task training.", ge=LEAST_EPOCHS, le=MOST_EPOCHS, main=True
    )
    task_lr: float = setting(5e-4, "Peak learning rate of task training.", ge=LEAST_LR, le=MOST_LR)
    temperature: float = setting(2.0, "Temperature of the logit loss.", ge=0.01, le=1000)
    logit_weight: float = setting(
        1.0, "Weight of the logit loss in task training.", ge=0, le=MOST_WEIGHT
    )
    hidden_weight: float = setting(
        1.0,
        "Weight of the loss on hidden states or relations in task training.",
        ge=0,
        le=MOST_WEIGHT,
    )
    intermediate_losses: Weights = setting(
        {"hidden": 1.0},
        "Losses on what lies inside teacher and student, with their weights, of the recipe without "
        "stages (YAML only); of classification and regression, by default relations.",
    )
    epochs_share: float = setting(
        1.0,
        "Share of the recipe's epochs in full KD; with --budget, what there is time for.",
        ge=0.01,
        le=1,
    )
    more_epochs: bool = setting(
        True,
        "Train encoders that have less than 12% of the arithmetic of the teacher's layers for more "
        "epochs on the task's own rows: 0.12 / (their share) times as many, at most three times.",
    )
    class_weights: ClassWeights = setting(
        "none",
        "Weights of the classes in the loss on labels, of teacher and students: none, or balanced: "
        "the rarer a class, the more a row of it counts.",
        main=True,
    )
    final_seeds: int = setting(
        1,
        "Train the student and its controls in full this often, with seeds of their own; the best "
        "on held-out training rows ships, mean and spread are reported.",
        ge=1,
        le=MOST_FINAL_SEEDS,
        main=True,
    )
    controls: bool = setting(
        True,
        "Train students to compare the student with: itself on labels alone, a shape picked by "
        "hand, what --random-control full finds. They take about as long as the student, and ship "
        "where they are better.",
        main=True,
    )

    stages: tuple[Stage, ...] = setting(
        (), "Stages of full KD, in place of hidden states and task (YAML only)."
    )
    students: Students = setting(
        "layered",
        "Students that a recipe is for: layered ones, or static ones without layers (YAML only).",
    )
    transfer_rows: int = setting(
        20_000, "Rows of the transfer set, including the task's own.", ge=1, le=MOST_ROWS
    )
    transfer_methods: Shares = setting(
        {},
        "Augmentations that make the other rows, with their shares (YAML only); default: all that"
        " apply.",
    )
    transfer_tasks: tuple[str, ...] = setting(
        (), "Tasks whose texts, without labels, make up to half of the other rows (YAML only)."
    )
