"""kdnas evaluate: a checkpoint's official scores."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import typer

from kdnas.cli.options import ConfigFile, DryRun, interruptible, with_settings
from kdnas.config import load_settings
from kdnas.config.groups import OF_EVALUATION
from kdnas.runtime.console import conclude

tuning = partial(typer.Option, rich_help_panel="Fine-tuning")


@with_settings(
    *OF_EVALUATION,
    label_map="The outputs of the checkpoint's head, by name or number and with commas between "
    "them, in the order of the task's labels; default: matched by their names, else as they are.",
)
def evaluate(
    flags: dict[str, Any],
    model: str = typer.Argument(help="A checkpoint (hub id or folder) or a finished run."),
    *,
    task: str | None = typer.Option(
        None,
        help="A task, several (mrpc,rte), all (the nine GLUE tasks), or a YAML file that defines "
        "one; default: a run's own.",
    ),
    config: ConfigFile = None,
    split: str = typer.Option(
        "validation",
        help="The split to score; test needs labels, and a checkpoint with a head for the task.",
        metavar="validation|test",
    ),
    fine_tune: bool | None = tuning(
        None,
        help="Fine-tune the checkpoint's encoder on each task before scoring; default: if several "
        "tasks are named or it has no head for the task.",
    ),
    grid: bool = tuning(
        False,
        "--grid",
        help="Try learning rates 3e-5, 5e-5, 1e-4, 3e-4 with batch sizes 8 to 128; the best by "
        "validation score counts.",
    ),
    lrs: str | None = tuning(None, help="Learning rates to try: 3e-5,1e-4.", metavar="LIST"),
    batch_sizes: str | None = tuning(None, help="Batch sizes to try: 16,32.", metavar="LIST"),
    epochs: float | None = tuning(None, help="Epochs; default: 3."),
    seeds: int = tuning(
        1, min=1, max=1000, help="Seeds at the best point; prints mean and standard deviation."
    ),
    out: Path | None = typer.Option(
        None,
        help="Folder for fine-tuned results; the same command resumes from it. Default: "
        "runs/MODEL-evaluation.",
        rich_help_panel="Output",
        metavar="FOLDER",
    ),
    predictions: Path | None = typer.Option(
        None,
        help="Folder for predictions on the test splits, in GLUE's submission format.",
        rich_help_panel="Output",
        metavar="FOLDER",
    ),
    dry_run: DryRun = False,
) -> None:
    """Score a checkpoint on tasks, by their official metrics.

    A checkpoint with a head for the task is scored as it is; another is fine-tuned first.
    Scores are computed in fp32.
    """
    from kdnas.evaluation.early import check_model, check_tasks

    check_model(model)
    check_tasks(load_settings(config, {**flags, **({"task": task} if task else {})}))
    from kdnas.evaluation.closing import closing_lines
    from kdnas.evaluation.evaluate import evaluate as run

    given: dict[str, Any] = {
        **{"fine_tune": fine_tune, "grid": grid, "lrs": lrs, "batch_sizes": batch_sizes},
        **{"epochs": epochs, "seeds": seeds, "out": out, "predictions": predictions},
        "split": split,
    }
    if dry_run:
        told = run(model, task, config=config, dry_run=True, **given, **flags)
        conclude(told, told["lines"])
        return
    result = interruptible(
        f"evaluate {model} with the same options",
        lambda: run(model, task, config=config, **given, **flags),
    )
    conclude(result, closing_lines(result))
