"""What a run did, told to TensorBoard, W&B or MLflow through accelerate's trackers."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kdnas.config import Settings
from kdnas.config.choices import Tracker
from kdnas.errors import KdnasError
from kdnas.files.curves import MINI_KD, Curves
from kdnas.files.lines import is_finite
from kdnas.runtime.console import say

# What a person installs for a tracker.
PACKAGES = {"tensorboard": "kdnas[track]", "wandb": "wandb", "mlflow": "mlflow"}
# Of a trial's row.
OF_A_TRIAL = ("score", "loss", "reward", "speedup", "latency_ms", "params", "macs")
PROJECT = "kdnas"
STEP = "step"


def check_tracker(name: Tracker) -> None:
    """Raises KdnasError where a tracker's package is not installed."""
    if name != "off" and find_spec(name) is None:
        raise KdnasError(
            f"invalid --track {name}: the package {name} is not installed; "
            f"pip install '{PACKAGES[name]}', or leave --track out"
        )


@dataclass
class Tracking:
    """Logs a run to a tracker; a tracker that fails never stops the run."""

    folder: Path  # of the run
    tracker: Any = None  # accelerate's; None logs nothing
    told: set[tuple[str, str]] = field(default_factory=set)
    # Of earlier sessions: what they belong to may be trained again in this one.
    earlier: Sequence[Mapping[str, Any]] = ()

    def trials(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Scores and costs of trials, each at the step of its number."""
        for row in rows:
            values = {f"trials/{name}": row.get(name) for name in OF_A_TRIAL}
            self._tell(values, int(row["number"]))

    def curves(self, *, over: bool = False) -> None:
        """Losses of the teacher and of what was trained in full, so far as they are new.

        Those of earlier sessions only once this one is `over`.
        """
        for curve in Curves(self.folder).read() if self.tracker else ():
            name = curve["name"], curve["stage"]
            if not over and curve in self.earlier:
                continue
            if curve["stage"] != MINI_KD and name not in self.told:
                self.told.add(name)
                for step, loss in curve["points"]:
                    self._tell({f"loss/{name[0]}/{name[1]}": loss}, step)

    def results(self, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Final metrics by model."""
        for model, found in scores.items():
            self._tell({f"{model}/{name}": value for name, value in found.items()})

    def _tell(self, values: Mapping[str, Any], step: int | None = None) -> None:
        numbers = {_plain(k): float(v) for k, v in values.items() if is_finite(v)}
        if not numbers:
            return
        if step is not None and getattr(self.tracker, "name", "") == "wandb":
            # Its own steps may only grow, those of one training after another do not.
            numbers, step = {**numbers, STEP: float(step)}, None
        self.call(lambda tracker: tracker.log(numbers, step=step))

    def call(self, act: Callable[[Any], object]) -> None:
        """Does something with the tracker; the first failure is said, and is the last."""
        if self.tracker is None:
            return
        try:
            act(self.tracker)
        except Exception as error:  # whatever another package raises, or its server
            self.tracker = None
            reason = " ".join(str(error).split()) or type(error).__name__
            say(f"--track stops, the run goes on: {reason}")


@contextmanager
def tracking(settings: Settings, folder: Path) -> Iterator[Tracking]:
    """Tells a tracker the settings of a run, and within the block what the caller hands over.

    TensorBoard's files are in RUN/tensorboard. A resumed run is logged again from its start, as a
    new run of the tracker; losses of earlier sessions where the block ends, as far as nothing was
    trained again.
    """
    found = Tracking(folder, earlier=Curves(folder).read())
    if settings.track != "off":
        found.tracker = settings.track
        found.call(lambda name: _start(found, name))
        # Only plain values; a storage's URL may hold a password.
        told = {k: _value(v) for k, v in settings if k != "storage" and v is not None}
        found.call(lambda tracker: tracker.store_init_configuration(told))
    try:
        yield found
    finally:
        found.curves(over=True)
        found.call(lambda tracker: tracker.finish())


def _start(found: Tracking, name: Tracker) -> None:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind, title = LOGGER_TYPE_TO_CLASS[name], found.folder.resolve().name
    events = found.folder / "tensorboard"
    if name == "tensorboard":  # else points of a run that goes on would stand there twice
        shutil.rmtree(events, ignore_errors=True)
    given: dict[str, Any] = {
        "tensorboard": {"run_name": title, "logging_dir": str(events)},
        "wandb": {"run_name": PROJECT, "name": title, "dir": str(found.folder)},
        "mlflow": {"experiment_name": PROJECT, "run_name": title},
    }[name]
    tracker = kind(**given)
    tracker.start()
    if name == "wandb":
        tracker.tracker.define_metric("*", step_metric=STEP)
    found.tracker = tracker


def _value(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _plain(name: str) -> str:
    """A name that every tracker takes: MLflow has no brackets."""
    return re.sub(r"[^\w ./-]", "", name)
