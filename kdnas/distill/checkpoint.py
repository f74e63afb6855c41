"""Where a killed training continues."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdnas.files import replace_file

SECONDS = 20.0


class Checkpoint:
    """The state of one training in one file, written now and then, never half.

    Args:
        path: The file; None keeps nothing.
        model: Trained model.
        objective: Its own parameters are trained too.
        optimizer: Has `state_dict`.
        schedule: Has `state_dict`.
    """

    def __init__(
        self,
        path: Path | None,
        model: nn.Module,
        objective: nn.Module,
        optimizer: Any,
        schedule: Any,
    ) -> None:
        self.path = path
        self.parts = {
            "model": model,
            "objective": objective,
            "optimizer": optimizer,
            "schedule": schedule,
        }
        self.curve: list[tuple[int, float]] = []
        self.saved = time.monotonic()

    def load(self) -> int:
        """Restores the parts and returns the steps done; 0 where there is nothing usable."""
        if self.path is None or not self.path.exists():
            return 0
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
        except Exception:  # a file of another version or a damaged disk: start over
            self.path.unlink(missing_ok=True)
            return 0
        self.curve.extend(tuple(point) for point in state["curve"])
        return int(state["step"])

    def save_now_and_then(self, step: int) -> None:
        """Writes the state if the last time is some seconds ago."""
        if self.path is not None and time.monotonic() - self.saved > SECONDS:
            state: dict[str, Any] = {n: part.state_dict() for n, part in self.parts.items()}
            with replace_file(self.path) as partial:
                torch.save({**state, "step": step, "curve": list(self.curve)}, partial)
            self.saved = time.monotonic()

    def remove(self) -> None:
        """Deletes the file: the training is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
