"""What a step of a run needs."""

from __future__ import annotations

from dataclasses import dataclass

from kdnas.config import Settings
from kdnas.runs.run_folder import Run
from kdnas.runtime.device import Runtime, start_runtime


@dataclass(frozen=True)
class Context:
    """Where a step finds its options, puts its artifacts, and computes.

    Attributes:
        settings: Of the run.
        run: The run folder.
        runtime: Device, precision and threads.
    """

    settings: Settings
    run: Run
    runtime: Runtime


def open_context(run: Run) -> Context:
    """The context of a run on this machine.

    Raises:
        KdnasError: The device does not exist.
    """
    settings = run.settings
    runtime = start_runtime(
        device=settings.device, precision=settings.precision, threads=settings.threads
    )
    return Context(settings, run, runtime)
