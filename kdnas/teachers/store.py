"""The teacher's hidden states and logits on disk: computed once, read by every candidate.

One flat file for each layer's states, half precision, real tokens only, memory-mapped: a candidate
reads the layers and the examples it needs and nothing else. The manifest is written last and holds
a checksum of every file, so that a half-written or damaged store is noticed.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdnas.distillation.batches import Batch, batches_once, plan_once
from kdnas.distillation.losses import TeacherStatistics
from kdnas.distillation.losses.logits import logit_variance
from kdnas.distillation.outputs import ModelOutputs, OutputRequest, State, hidden_states
from kdnas.distillation.precision import working_precision
from kdnas.distillation.signal import LiveSignal
from kdnas.files.atomic import read_json, replace_folder, write_json
from kdnas.measure.quiet import computing
from kdnas.runtime.console import progress
from kdnas.runtime.device import Runtime, moved
from kdnas.tasks import TASK_TYPES
from kdnas.tasks.encode import EncodedExamples, ragged_rows
from kdnas.teachers.cache import teacher_key
from kdnas.teachers.load import Teacher

MANIFEST = "manifest.json"
ENDING = ".f16"
HALF_MAX, HALF_BYTES = 65504.0, 2
CHUNK = 1 << 24


@dataclass
class SignalStore:
    """A finished store, opened.

    Attributes:
        folder: Where it lies.
        offsets: Shape (examples + 1,): the first token of each example, and their number.
        units: Shape (examples + 1,): the first unit of each example, and their number.
        states: The teacher's states in it, each of shape (tokens, hidden size).
        logits: Shape (units, outputs).
        mean: Shape (teacher layers + 1, hidden size): of each dimension over all real tokens.
        variance: Same shape.
    """

    folder: Path
    offsets: NDArray[np.int64]
    units: NDArray[np.int64]
    states: dict[State, NDArray[np.float16]]
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
        states: dict[State, NDArray[np.float16]] = {
            State.parse(name): np.memmap(folder / f"{name}{ENDING}", np.float16, "r", shape=shape)
            for name in manifest["states"]
        }
        statistics = torch.from_numpy(np.load(folder / "statistics.npy"))
        logits = folder / "logits.npy"
        return cls(
            folder,
            offsets,
            np.load(folder / "units.npy"),
            states,
            torch.from_numpy(np.load(logits)) if logits.exists() else None,
            statistics[0],
            statistics[1],
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the files itself."""
        return SignalStore.open, (self.folder,)

    def statistics(self, task_type: str) -> TeacherStatistics:
        """Of the teacher's outputs for all its examples, of a type of task."""
        task = TASK_TYPES[task_type]
        variance = None if self.logits is None else logit_variance(task.centred(self.logits))
        return TeacherStatistics(self.mean, self.variance, variance)

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

    @property
    def logits(self) -> Tensor | None:
        """The teacher's logits, shape (units, outputs), in the data set's order."""
        return None if self.store.logits is None else self._logits(self.rows)

    def fetch(self, batch: Batch, wanted: OutputRequest) -> ModelOutputs:
        """States and logits of a batch, from disk."""
        rows = self.rows[batch.indices]
        device = batch.inputs["input_ids"].device
        tokens = ragged_rows(self.store.offsets, rows)
        sampled = tokens[batch.sample]
        states = {}
        for state in wanted.states:
            read = self.store.states[state][sampled if state.kind == "hidden" else tokens]
            states[state] = moved(torch.from_numpy(read), device)
        known = wanted.logits and self.store.logits is not None
        return ModelOutputs(states, moved(self._logits(rows), device) if known else None)

    def _logits(self, rows: NDArray[np.int64]) -> Tensor:
        assert self.store.logits is not None
        return self.store.logits[ragged_rows(self.store.units, rows)]


def store_key(teacher: Teacher, data: EncodedExamples, precision: str) -> str:
    """Names what a teacher says of some data by all that decides it: weights, config, precision.

    A folder of this name holds stores, each of some states.
    """
    return teacher_key(teacher, data, head=teacher.has_head, precision=precision)


def states_key(states: Iterable[State]) -> str:
    """Names a store among those of the same teacher and data."""
    return hashlib.sha256(" ".join(names(states)).encode()).hexdigest()[:16]


def holds(folder: Path, states: Iterable[State]) -> bool:
    """Whether a store's manifest names all of some states."""
    manifest = read_json(folder / MANIFEST)
    return isinstance(manifest, dict) and set(names(states)) <= set(manifest["states"])


def names(states: Iterable[State]) -> list[str]:
    """Their names, in order."""
    return sorted(map(str, states))


def build_store(
    folder: Path,
    teacher: Teacher,
    data: EncodedExamples,
    states: Iterable[State],
    runtime: Runtime,
) -> SignalStore:
    """Runs the teacher once over the data and writes what it says.

    Args:
        folder: The finished store; it appears whole or not at all.
        teacher: Runs in evaluation mode.
        data: Examples; their order is the store's.
        states: What to keep.
        runtime: Device and precision.
    """
    states = list(states)
    with (
        replace_folder(folder, store_bytes(teacher, data, states)) as partial,
        ExitStack() as stack,
    ):
        writer = _Writer(stack, partial, teacher, data, states)
        teacher.model.to(runtime.device).eval()  # type: ignore[arg-type]
        signal = LiveSignal(teacher.model, runtime)
        let_pass = stack.enter_context(computing(runtime.device))
        stack.enter_context(working_precision(teacher.model, runtime))
        stack.enter_context(torch.inference_mode())
        advance = stack.enter_context(progress("teacher signal", len(plan_once(data.lengths))))
        for batch in batches_once(data, teacher.pad_id, runtime.device):
            writer.add(batch, signal.fetch(batch, writer.wanted))
            advance("")
            let_pass()
        writer.finish()
    return SignalStore.open(folder)


def store_bytes(teacher: Teacher, data: EncodedExamples, states: Collection[State]) -> int:
    """Size of a store, in bytes."""
    return int(data.offsets[-1]) * len(states) * int(teacher.model.config.hidden_size) * HALF_BYTES


class _Writer:
    """Fills a store's files at the places of a batch's examples, and gathers statistics."""

    def __init__(
        self,
        stack: ExitStack,
        partial: Path,
        teacher: Teacher,
        data: EncodedExamples,
        states: Iterable[State],
    ) -> None:
        config: Any = teacher.model.config
        self.folder, self.offsets, self.units = partial, data.offsets, data.unit_offsets
        count, self.width = config.num_hidden_layers + 1, config.hidden_size
        # Not memory-mapped: there a full disk kills the process instead of raising an error.
        self.files = {
            state: stack.enter_context((partial / f"{state}{ENDING}").open("wb"))
            for state in states
        }
        # The statistics are of every layer, whichever are kept.
        self.wanted = OutputRequest(hidden_states(range(count)) | set(self.files), teacher.has_head)
        self.logits = np.zeros((int(self.units[-1]), 0), np.float32)  # as wide as they turn out
        self.sums = torch.zeros(2, count, self.width, dtype=torch.float64)

    def add(self, batch: Batch, signal: ModelOutputs) -> None:
        for state, values in signal.states.items():
            if state.kind == "hidden":
                exact = values.cpu().double()
                self.sums[0, state.layer] += exact.sum(0)
                self.sums[1, state.layer] += exact.square().sum(0)
        lengths = batch.inputs["attention_mask"].sum(1).tolist()
        for state, file in self.files.items():
            rows = signal.states[state].float().clamp(-HALF_MAX, HALF_MAX).half().cpu()
            for index, part in zip(batch.indices, torch.split(rows, lengths), strict=True):
                file.seek(int(self.offsets[index]) * self.width * HALF_BYTES)
                file.write(part.numpy().tobytes())
        if signal.logits is not None:
            if not self.logits.size:
                self.logits = np.zeros((len(self.logits), signal.logits.shape[1]), np.float32)
            self.logits[ragged_rows(self.units, batch.indices)] = signal.logits.cpu().numpy()

    def finish(self) -> None:
        for file in self.files.values():
            file.flush()
        mean, square = self.sums / max(1, int(self.offsets[-1]))
        statistics = torch.stack([mean, (square - mean.square()).clamp_min(0)]).float()
        np.save(self.folder / "statistics.npy", statistics.numpy())
        np.save(self.folder / "offsets.npy", self.offsets)
        np.save(self.folder / "units.npy", self.units)
        if self.wanted.logits:
            np.save(self.folder / "logits.npy", self.logits)
        checksums = {path.name: _checksum(path) for path in sorted(self.folder.iterdir())}
        kept = names(self.files)
        manifest = {"states": kept, "hidden_size": self.width, "files": checksums}
        write_json(self.folder / MANIFEST, manifest)


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            value = zlib.crc32(chunk, value)
    return value
