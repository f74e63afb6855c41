"""A teacher's likeliest outputs on disk, for vocabularies of which all logits would not fit.

What is kept of the units stands one after the other: numbers of outputs and half-precision
log-probabilities, memory-mapped; how many they are and what the rest amounts to is in memory.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdnas.distillation.top_logits import NEVER, TEMPERATURES, Keep, TopLogits, top_of
from kdnas.tasks.encode import offsets_of, ragged_rows

IDS, LOGS = "top-ids.i32", "top-logs.f16"
KINDS = (np.int32, np.float16)
COUNTS, REST, OUTPUTS = "top-counts.npy", "top-rest.npy", "top-outputs.npy"
# Outputs from which on the likeliest alone are kept, and how many of them.
MANY = 2048
KEEP = Keep()
# Bytes of a unit at most: of its kept outputs, how many they are, and of the rest.
UNIT_BYTES = KEEP.most * 6 + 8 + 4 * len(TEMPERATURES)


@dataclass(frozen=True)
class StoredTop:
    """Kept outputs of all units, opened.

    Attributes:
        starts: Shape (units + 1,): the first kept output of each unit, and their number.
        ids: Shape (kept,).
        logs: Shape (kept,).
        rest: Shape (units, temperatures).
        outputs: How many a unit has.
    """

    starts: NDArray[np.int64]
    ids: NDArray[np.int32]
    logs: NDArray[np.float16]
    rest: NDArray[np.float32]
    outputs: int

    @classmethod
    def open(cls, folder: Path) -> StoredTop | None:
        """Opens what `TopWriter` wrote; None where it wrote nothing."""
        if not (folder / COUNTS).exists():
            return None
        starts, outputs = offsets_of(np.load(folder / COUNTS)), int(np.load(folder / OUTPUTS))
        shape = (int(starts[-1]),)
        ids = np.memmap(folder / IDS, np.int32, "r", shape=shape)
        logs = np.memmap(folder / LOGS, np.float16, "r", shape=shape)
        return cls(starts, ids, logs, np.load(folder / REST), outputs)

    def of(self, units: NDArray[np.int64]) -> TopLogits:
        """Of some units, in their order."""
        counts = np.diff(self.starts)[units]
        rows = ragged_rows(self.starts, units)
        shape = (len(units), int(counts.max(initial=1)))
        real = np.arange(shape[1]) < counts[:, None]
        ids, logs = np.zeros(shape, np.int64), np.full(shape, NEVER, np.float32)
        ids[real], logs[real] = self.ids[rows], self.logs[rows]
        others = self.outputs - counts
        return TopLogits(*map(torch.from_numpy, (ids, logs, self.rest[units], others)))


class TopWriter:
    """Writes what is kept of windows of consecutive units."""

    def __init__(self, stack: ExitStack, partial: Path, keep: Keep = KEEP) -> None:
        self.folder, self.keep = partial, keep
        self.files = [stack.enter_context((partial / name).open("wb")) for name in (IDS, LOGS)]
        self.counts: list[NDArray[np.int64]] = []
        self.rest: list[NDArray[np.float32]] = []
        self.outputs = 0
        self.window: list[tuple[NDArray[np.int64], TopLogits]] = []

    def add(self, units: NDArray[np.int64], logits: Tensor) -> None:
        """Keeps the likeliest of some units of the window, by their number in the data."""
        self.outputs = logits.shape[1]
        self.window.append((units, top_of(logits, self.keep).map(lambda x: x.cpu())))

    def write(self) -> None:
        """Writes the window, in the order of the data."""
        if not self.window:
            return
        units = np.concatenate([units for units, _ in self.window])
        order = np.argsort(units, kind="stable")
        real = [top.logs > NEVER for _, top in self.window]
        counts = np.concatenate([kept.sum(1).numpy() for kept in real])
        starts = offsets_of(counts)
        rows = ragged_rows(starts, order)
        for file, name, kind in zip(self.files, ("ids", "logs"), KINDS, strict=True):
            parts = zip(self.window, real, strict=True)
            flat = np.concatenate([getattr(top, name)[kept].numpy() for (_, top), kept in parts])
            file.write(flat[rows].astype(kind).data)
        self.counts.append(counts[order])
        self.rest.append(np.concatenate([top.rest.numpy() for _, top in self.window])[order])
        self.window = []

    def finish(self) -> None:
        """Writes what is in memory."""
        for file in self.files:
            file.flush()
        np.save(self.folder / COUNTS, np.concatenate(self.counts))
        np.save(self.folder / REST, np.concatenate(self.rest))
        np.save(self.folder / OUTPUTS, np.array(self.outputs))
