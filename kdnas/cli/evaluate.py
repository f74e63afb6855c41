"""kdnas evaluate: a checkpoint's official scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kdnas.cli.options import with_settings
from kdnas.cli.shared import ConfigFile, interruptible
from kdnas.runtime.console import conclude

OPTIONS = (
    *("data_dir", "max_length", "max_train_rows", "seed"),
    *("precision", "threads", "device"),
)
TUNING, OUTPUT = "Fine-tuning", "Output"


@with_settings(*OPTIONS)
def evaluate(
    flags: dict[str, Any],
    model: Annotated[
        str, typer.Argument(help="A checkpoint (hub id or folder) or a finished run.")
    ],
    *,
    task: Annotated[
        str | None,
        typer.Option(
            help="A task, several (mrpc,rte), all (the nine GLUE tasks), or a YAML file that "
            "defines one; default: a run's own."
        ),
    ] = None,
    config: ConfigFile = None,
    fine_tune: Annotated[
        bool | None,
        typer.Option(
            "--fine-tune/--no-fine-tune",
            help="Fine-tune the checkpoint's encoder on each task before scoring; default: if "
            "several tasks are named or it has no head for the task.",
            rich_help_panel=TUNING,
        ),
    ] = None,
    grid: Annotated[
        bool,
        typer.Option(
            "--grid",
            help="Try learning rates 3e-5, 5e-5, 1e-4, 3e-4 with batch sizes 8 to 128; the best by "
            "validation score counts.",
            rich_help_panel=TUNING,
        ),
    ] = False,
    lrs: Annotated[
        str | None,
        typer.Option(
            help="Learning rates to try: 3e-5,1e-4.", rich_help_panel=TUNING, metavar="LIST"
        ),
    ] = None,
    batch_sizes: Annotated[
        str | None,
        typer.Option(help="Batch sizes to try: 16,32.", rich_help_panel=TUNING, metavar="LIST"),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Epochs; default: 3.", rich_help_panel=TUNING)
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            help="Seeds at the best point; prints mean and standard deviation.",
            rich_help_panel=TUNING,
        ),
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for fine-tuned results; the same command resumes from it. "
            "Default: runs/MODEL-evaluation.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Folder for predictions on the test splits, in GLUE's submission format.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Score a checkpoint on tasks, by their official metrics.

    A checkpoint with a head for the task is scored as it is; another is fine-tuned first.
    Scores are computed in fp32.
    """
    from kdnas.evaluation.evaluate import closing_lines
    from kdnas.evaluation.evaluate import evaluate as run

    given: dict[str, Any] = {
        **{"fine_tune": fine_tune, "grid": grid, "lrs": lrs, "batch_sizes": batch_sizes},
        **{"epochs": epochs, "seeds": seeds, "out": out, "predictions": predictions},
    }
    result = interruptible(
        f"evaluate {model} with the same options",
        lambda: run(model, task, config=config, **given, **flags),
    )
    conclude(result, closing_lines(result))
