"""kdnas evaluate: a checkpoint's official scores."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kdnas.commands.shared import ConfigFile
from kdnas.config import load_settings
from kdnas.config.options import with_settings
from kdnas.console import conclude

DATA_OPTIONS = ("data_dir", "max_length", "batch_size", "precision", "threads", "device")


@with_settings("task", *DATA_OPTIONS)
def evaluate(
    flags: dict[str, Any],
    model: Annotated[str, typer.Argument(help="A checkpoint: hub id or folder.")],
    *,
    config: ConfigFile = None,
) -> None:
    """Score a checkpoint on a task by the task's official metrics."""
    from kdnas.evaluate import evaluate_checkpoint

    scores = evaluate_checkpoint(model, load_settings(config, flags))
    conclude(scores, (f"{name:<20} {value:.4f}" for name, value in scores.items()))
