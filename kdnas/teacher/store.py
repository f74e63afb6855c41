"""The teacher's hidden states and logits on disk: computed once, read by every candidate.

One flat file a layer, half precision, real tokens only, memory-mapped: a candidate reads the
layers and the examples it needs and nothing else. The manifest is written last and holds a
checksum of every file, so that a half-written or damaged store is noticed.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdnas.console import progress
from kdnas.distill.batches import Batch, batches_once, plan_once
from kdnas.distill.signal import LiveSignal, Signal
from kdnas.distill.weights import working_precision
from kdnas.files import read_json, replace_folder, write_json
from kdnas.runtime import Runtime, moved
from kdnas.tasks.encode import EncodedExamples
from kdnas.teacher.cache import teacher_key
from kdnas.teacher.load import Teacher

MANIFEST = "manifest.json"
HALF_MAX = 65504.0
CHUNK = 1 << 24


@dataclass
class SignalStore:
    """A finished store, opened.

    Attributes:
        folder: Where it lies.
        layers: Teacher layers in it; 0 is the embeddings.
        mean: Shape (teacher layers + 1, hidden size): of each dimension over all real tokens.
        variance: Same shape.
    """

    folder: Path
    layers: tuple[int, ...]
    offsets: NDArray[np.int64]
    hidden: dict[int, NDArray[np.float16]]
    logits: Tensor | None
    mean: Tensor
    variance: Tensor

    @classmethod
    def open(cls, folder: Path) -> SignalStore:
        """Opens a store and checks it.

        Raises:
            ValueError: It is unfinished or damaged; the message names the file.
        """
        manifest = read_json(folder / MANIFEST)
        if not isinstance(manifest, dict):
            raise ValueError(f"{folder / MANIFEST} is missing or damaged")
        for name, checksum in manifest["files"].items():
            path = folder / name
            if not path.exists() or _checksum(path) != checksum:
                raise ValueError(f"{path} is missing or damaged")
        offsets = np.load(folder / "offsets.npy")
        shape = (int(offsets[-1]), manifest["hidden_size"])
        hidden: dict[int, NDArray[np.float16]] = {
            layer: np.memmap(folder / _layer_file(layer), np.float16, "r", shape=shape)
            for layer in manifest["layers"]
        }
        statistics = torch.from_numpy(np.load(folder / "statistics.npy"))
        logits = folder / "logits.npy"
        return cls(
            folder,
            tuple(manifest["layers"]),
            offsets,
            hidden,
            torch.from_numpy(np.load(logits)) if logits.exists() else None,
            statistics[0],
            statistics[1],
        )

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def everything(self) -> StoredSignal:
        """The signal for all examples, in the store's order."""
        return self.subset(np.arange(len(self.offsets) - 1))

    def subset(self, indices: NDArray[np.int64]) -> StoredSignal:
        """The signal for some of the store's examples, in their order."""
        return StoredSignal(self, indices)


@dataclass(frozen=True)
class StoredSignal:
    """A teacher's signal, read from a store.

    Attributes:
        store: The store.
        rows: Which of its examples the data set has, in the data set's order.
    """

    store: SignalStore
    rows: NDArray[np.int64]

    def fetch(self, batch: Batch, layers: Sequence[int]) -> Signal:
        """Hidden states and logits of a batch, from disk."""
        rows = self.rows[batch.indices]
        device = batch.inputs["input_ids"].device
        starts, ends = self.store.offsets[rows], self.store.offsets[rows + 1]
        tokens = np.concatenate([np.arange(*span) for span in zip(starts, ends, strict=True)])
        tokens = tokens[batch.sample]
        hidden = {
            layer: moved(torch.from_numpy(self.store.hidden[layer][tokens]), device)
            for layer in layers
        }
        logits = None if self.store.logits is None else moved(self.store.logits[rows], device)
        return Signal(hidden, logits)


def store_key(teacher: Teacher, data: EncodedExamples, layers: Sequence[int]) -> str:
    """Names a store by all that decides its content: weights, config, data, layers."""
    return teacher_key(teacher, data, layers=sorted(layers), head=teacher.has_head)


def build_store(
    folder: Path,
    teacher: Teacher,
    data: EncodedExamples,
    layers: Sequence[int],
    runtime: Runtime,
) -> SignalStore:
    """Runs the teacher once over the data and writes what it says.

    Args:
        folder: The finished store; it appears whole or not at all.
        teacher: Runs in evaluation mode.
        data: Examples; their order is the store's.
        layers: Teacher layers to keep.
        runtime: Device and precision.
    """
    with replace_folder(folder) as partial:
        writer = _Writer(partial, teacher, data, layers)
        teacher.model.to(runtime.device).eval()  # type: ignore[arg-type]
        signal = LiveSignal(teacher.model, runtime, teacher.has_head)
        with ExitStack() as stack:
            stack.enter_context(working_precision(teacher.model, runtime))
            stack.enter_context(torch.inference_mode())
            advance = stack.enter_context(progress("teacher signal", len(plan_once(data.lengths))))
            for batch in batches_once(data, teacher.pad_id, runtime.device):
                writer.add(batch, signal.fetch(batch, range(writer.count)))
                advance("")
        writer.finish()
    return SignalStore.open(folder)


class _Writer:
    """Fills a store's files at the places of a batch's examples, and gathers statistics."""

    def __init__(
        self, folder: Path, teacher: Teacher, data: EncodedExamples, layers: Sequence[int]
    ) -> None:
        config: Any = teacher.model.config
        self.folder, self.offsets, self.layers = folder, data.offsets, sorted(layers)
        self.count, self.width = config.num_hidden_layers + 1, config.hidden_size
        shape = (int(data.offsets[-1]), self.width)
        self.files = {
            layer: np.memmap(folder / _layer_file(layer), np.float16, "w+", shape=shape)
            for layer in self.layers
        }
        self.logits = np.zeros((len(data), config.num_labels), np.float32)
        self.has_logits = teacher.has_head
        self.sums = torch.zeros(2, self.count, self.width, dtype=torch.float64)

    def add(self, batch: Batch, signal: Signal) -> None:
        for layer, states in signal.hidden.items():
            exact = states.double().cpu()
            self.sums[0, layer] += exact.sum(0)
            self.sums[1, layer] += exact.square().sum(0)
        lengths = batch.inputs["attention_mask"].sum(1).tolist()
        for layer in self.layers:
            rows = signal.hidden[layer].float().clamp(-HALF_MAX, HALF_MAX).half().cpu()
            for index, part in zip(batch.indices, torch.split(rows, lengths), strict=True):
                self.files[layer][self.offsets[index] : self.offsets[index + 1]] = part.numpy()
        if signal.logits is not None:
            self.logits[batch.indices] = signal.logits.cpu().numpy()

    def finish(self) -> None:
        for file in self.files.values():
            file.flush()
        mean, square = self.sums / max(1, int(self.offsets[-1]))
        statistics = torch.stack([mean, (square - mean.square()).clamp_min(0)]).float()
        np.save(self.folder / "statistics.npy", statistics.numpy())
        np.save(self.folder / "offsets.npy", self.offsets)
        if self.has_logits:
            np.save(self.folder / "logits.npy", self.logits)
        checksums = {path.name: _checksum(path) for path in sorted(self.folder.iterdir())}
        manifest = {"layers": self.layers, "hidden_size": self.width, "files": checksums}
        write_json(self.folder / MANIFEST, manifest)


def _layer_file(layer: int) -> str:
    return f"layer-{layer:02d}.f16"


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            value = zlib.crc32(chunk, value)
    return value
