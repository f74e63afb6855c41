"""kdnas evaluate: a checkpoint's official scores."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from kdnas.commands.shared import ConfigFile, JsonOut
from kdnas.config import load_settings
from kdnas.config.options import with_settings
from kdnas.console import say

DATA_OPTIONS = ("data_dir", "max_length", "batch_size", "precision", "threads", "device")


@with_settings("task", *DATA_OPTIONS)
def evaluate(
    flags: dict[str, Any],
    model: Annotated[str, typer.Argument(help="A checkpoint: hub id or folder.")],
    *,
    config: ConfigFile = None,
    json_out: JsonOut = False,
) -> None:
    """Score a checkpoint on a task by the task's official metrics."""
    from kdnas.evaluate import evaluate_checkpoint

    scores = evaluate_checkpoint(model, load_settings(config, flags))
    if json_out:
        say(json.dumps(scores))
    else:
        for name, value in scores.items():
            say(f"{name:<20} {value:.4f}")
