"""What a step of a run needs."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kdnas.config import Settings
from kdnas.files.cache import set_limit
from kdnas.runs.run_folder import Run
from kdnas.runs.time_budget import TimeBudget
from kdnas.runtime.device import Runtime, start_runtime

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """Where a step finds its options, puts its artifacts, and computes."""

    settings: Settings
    run: Run
    runtime: Runtime
    time: TimeBudget = field(default_factory=TimeBudget)

    @property
    def machine(self) -> dict[str, Any]:
        """Host and environment, as plain values: what timings belong to."""
        return {"host": platform.node(), "environment": self.runtime.describe()}


def open_context(run: Run) -> Context:
    """The context of a run on this machine.

    Raises:
        KdnasError: The device does not exist.
    """
    given = run.settings
    set_limit(given.cache_limit)
    runtime = start_runtime(device=given.device, precision=given.precision, threads=given.threads)
    return Context(given, run, runtime)


def run_step(context: Context, name: str, key: Mapping[str, Any], compute: Callable[[], T]) -> T:
    """A step's plain JSON: read from RUN/steps where its key is the same, else computed, timed."""
    result: T = context.run.step(name, key).get(context.run.timed(name)(compute))
    return result
