"""The short training that scores a candidate."""

from __future__ import annotations

from typing import ClassVar

from kdnas.config.choices import Normalisation
from kdnas.config.layer_mapping import LayerMapping
from kdnas.config.options.base import MOST_SECONDS, Options, setting
from kdnas.config.recipe import LEAST_EPOCHS, LEAST_LR, MOST_EPOCHS, MOST_LR, Weights


class MiniKDOptions(Options):
    """The panel Mini-KD of --help."""

    panel: ClassVar[str] = "Mini-KD"

    proxy_fraction: float = setting(
        0.3,
        "Share of the distillation data used by mini-KD (the proxy); at least two batches.",
        gt=0,
        le=1,
    )
    heldout_fraction: float = setting(0.1, "Share of the proxy held out for the score.", gt=0, lt=1)
    mini_epochs: float = setting(
        3, "Epochs of mini-KD per candidate.", ge=LEAST_EPOCHS, le=MOST_EPOCHS
    )
    mini_lr: float = setting(5e-4, "Peak learning rate of mini-KD.", ge=LEAST_LR, le=MOST_LR)
    mini_steps: int | None = setting(
        None, "At most this many steps of mini-KD per candidate.", ge=1, le=1_000_000_000
    )
    mini_seconds: float | None = setting(
        None,
        "At most this many seconds of mini-KD per candidate; the learning rate then decays by the"
        " clock, and results depend on the machine.",
        ge=0.01,
        le=MOST_SECONDS,
    )
    mini_stride: int = setting(
        2,
        "Train mini-KD on the hidden states of every n-th token, with another offset each batch; "
        "the score is over all tokens.",
        ge=1,
        le=1000,
    )
    mini_losses: Weights = setting(
        {"hidden": 1.0}, "Losses of mini-KD with their weights, as in a stage (YAML only)."
    )
    mini_score: str = setting(
        "hidden",
        "The loss whose held-out value scores a candidate (hidden, of both stacks where there are "
        "two, and logits: the share left unexplained), mean: of hidden and logits, or agreement: "
        "with the teacher's predictions, after a short run of the candidate's own recipe.",
    )
    hidden_losses: Weights = setting(
        {"hidden": 1.0},
        "Losses on hidden states with their weights: what --mini-score hidden means (YAML only).",
    )
    normalisation: Normalisation = setting(
        "layer",
        "Hidden-state loss: mean squared error relative to the teacher's variance per layer, per "
        "dimension, or raw.",
    )
    mapping: LayerMapping = setting(
        "skip+last",
        "Layer map, which teacher layers the student's layers learn from: a name, or the teacher "
        "layer of each student layer, such as 3,6,9.",
        form="NAME|LIST",
    )
    shared_projection: bool = setting(False, "Share one projection between all layers.")
    mask_probability: float = setting(
        0.0, "Share of tokens masked in the proxy, for teacher and student alike.", ge=0, lt=1
    )
    inherit: bool = setting(True, "Initialise students from the teacher's weights.")
