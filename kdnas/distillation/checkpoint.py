"""Checkpoints of unfinished trainings."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import torch

from kdnas.files.atomic import replace_file

SECONDS = 20.0


class Checkpoint:
    """The state of one training in one file, written atomically every 20 seconds.

    Its parts have `state_dict` and `load_state_dict`; without a path nothing is kept. One that was
    written with another key (plain text: all that decides the training) is not gone on from.
    """

    def __init__(self, path: Path | None, key: str, **parts: Any) -> None:
        self.path = path
        self.key = key
        self.parts = parts
        self.saved = time.monotonic()

    def load(self) -> bool:
        """Restores the parts; False where there is no usable file."""
        if self.path is None or not self.path.exists():
            return False
        before = copy.deepcopy(self.state_dict())
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if state["key"] != self.key:
                raise ValueError("of another training")
            self.load_state_dict(state)
        except Exception:  # other settings, another version or a damaged disk: start over
            self.drop()
            self.load_state_dict(before)
            return False
        return True

    def save_if_due(self) -> None:
        """Writes the state unless it was written within the last `SECONDS`."""
        if self.path and time.monotonic() - self.saved > SECONDS:
            self.save()

    def drop(self) -> None:
        """Removes the file."""
        if self.path:
            self.path.unlink(missing_ok=True)

    def save(self) -> None:
        if self.path is None:
            return
        state = {"key": self.key, **self.state_dict()}
        # Through Python's file, whose errors name a full disk; torch's own do not.
        with replace_file(self.path, _size(state)) as partial, partial.open("wb") as file:
            torch.save(state, file)
        self.saved = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


def _size(state: Any) -> int:
    """Bytes of the tensors in a nested state."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    parts = state.values() if isinstance(state, dict) else state
    return sum(map(_size, parts)) if isinstance(state, dict | list | tuple) else 0
