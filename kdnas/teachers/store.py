"""The teacher's states and logits on disk: computed once, read by every candidate.

One flat file for each layer's states, half precision, real tokens only, memory-mapped: a candidate
reads the layers and the examples it needs and nothing else. What a view makes of them is stored in
their place where it is smaller. Of a vocabulary the likeliest outputs are stored (`TopLogits`). A
store is an artifact, whose files are checked once a process.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdnas.distillation.batches import Batch, collate, forward_tokens, plan_once
from kdnas.distillation.losses import TeacherStatistics, TeacherView
from kdnas.distillation.losses.logits import logit_variance
from kdnas.distillation.modules import outputs_a_token
from kdnas.distillation.outputs import HEADS, ModelOutputs, OutputRequest, State, hidden_states
from kdnas.distillation.precision import working_precision
from kdnas.distillation.signals import LiveSignal, ViewedSignal
from kdnas.distillation.top_logits import TEMPERATURES
from kdnas.errors import KdnasError
from kdnas.files.artifact import Artifact, damage, key_of
from kdnas.files.cache import use
from kdnas.files.locks import file_lock
from kdnas.measure.quiet import computing
from kdnas.runtime.console import progress, say
from kdnas.runtime.device import Runtime, moved, moved_together
from kdnas.runtime.interrupt import check
from kdnas.space import Architecture
from kdnas.space.families import SIDES
from kdnas.tasks import TASK_TYPES
from kdnas.tasks.encode import EncodedExamples, Units, ragged_rows
from kdnas.teachers.cache import about, hash_of, teacher_key, tensors_digest
from kdnas.teachers.load import Teacher
from kdnas.teachers.stored_logits import KEEP, MANY, UNIT_BYTES, StoredTop, TopWriter

ENDING = ".f16"
# Tokens whose states are written at once.
WINDOW_TOKENS = 32768
HALF_MAX, HALF_BYTES, LOGIT_BYTES = 65504.0, 2, 4
DISK_SHARE = 0.5
# The kinds of states of which a batch compares some tokens.
COMPARED = ("hidden", "filtered")
# Of a GPU's free memory, for one of a store's states.
GPU_SHARE = 0.1

Views = Mapping[State, TeacherView]
NO_VIEWS: Views = {}


@dataclass
class SignalStore:
    """A finished store, opened.

    Attributes:
        offsets: Shape (examples + 1,): the first token of each example, and their number.
        units: Shape (examples + 1,): the first unit of each example, and their number.
        states: The teacher's states in it, each of shape (tokens, hidden size), or as wide as all
            heads, or as the view that made it; of first tokens (examples, hidden size), of a
            decoder (units, hidden size).
        logits: Shape (units, outputs).
        mean: Shape (teacher layers + 1, hidden size): of each dimension over all real tokens.
        variance: Same shape.
        top: The likeliest outputs of all units, where there are too many for `logits`.
        decoder: Mean and variance of a decoder's hidden states, likewise, over its tokens.
    """

    folder: Path
    offsets: NDArray[np.int64]
    units: NDArray[np.int64]
    states: dict[State, NDArray[np.float16]]
    logits: Tensor | None
    mean: Tensor
    variance: Tensor
    top: StoredTop | None = None
    decoder: tuple[Tensor, Tensor] | None = None
    _there: dict[tuple[State | None, torch.device], Tensor | None] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path) -> SignalStore:
        """Opens a finished store, without checking it."""
        key = key_of(folder)
        assert key is not None, folder
        offsets, units = np.load(folder / "offsets.npy"), np.load(folder / "units.npy")
        usual, others = key["hidden_size"], key.get("widths", {})
        states: dict[State, NDArray[np.float16]] = {}
        for name in key["states"]:
            state = State.parse(name)
            shape = (_rows(state, offsets, units), others.get(name, usual))
            states[state] = np.memmap(folder / f"{name}{ENDING}", np.float16, "r", shape=shape)
        file = folder / "logits.npy"
        logits = torch.from_numpy(np.load(file)) if file.exists() else None
        mean, variance = torch.from_numpy(np.load(folder / "statistics.npy"))
        top, file = StoredTop.open(folder), folder / "decoder-statistics.npy"
        decoder = tuple(torch.from_numpy(np.load(file))) if file.exists() else None
        return cls(folder, offsets, units, states, logits, mean, variance, top, decoder)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the files itself."""
        return SignalStore.open, (self.folder,)

    def statistics(self, task_type: str) -> TeacherStatistics:
        """Of the teacher's outputs for all its examples, of a type of task."""
        variance = None
        if self.logits is not None:
            variance = variance_of(self.logits, self.units, task_type)
        return TeacherStatistics(self.mean, self.variance, variance, decoder=self.decoder)

    def on(self, device: torch.device, state: State | None) -> Tensor | None:
        """A state, or the logits, on a GPU; None for another device or where it has no room."""
        if device.type != "cuda":
            return None
        if (state, device) not in self._there:
            # Read from the disk only where there is room for it.
            whole = self.logits if state is None else self.states[state]
            room, there = torch.cuda.mem_get_info(device)[0] * GPU_SHARE, None
            if whole is not None and whole.nbytes <= room:
                there = torch.as_tensor(np.array(whole)).to(device)
            self._there[state, device] = there
        return self._there[state, device]

    def subset(self, indices: NDArray[np.int64] | None = None) -> StoredSignal:
        """The signal for some of the store's examples, in their order; default: for all."""
        return StoredSignal(self, np.arange(len(self.offsets) - 1) if indices is None else indices)


@dataclass(frozen=True)
class StoredSignal:
    """A teacher's signal for the `rows` of a store, in the data set's order."""

    store: SignalStore
    rows: NDArray[np.int64]

    def logits(self, indices: NDArray[np.int64] | slice = slice(None)) -> Tensor | None:
        """Logits of some of the data set's examples, shape (units, outputs); default: of all."""
        if self.store.logits is None:
            return None
        return self.store.logits[ragged_rows(self.store.units, self.rows[indices])]

    def fetch(self, batch: Batch, request: OutputRequest) -> ModelOutputs:
        rows = self.rows[batch.indices]
        device = batch.inputs["input_ids"].device
        tokens = ragged_rows(self.store.offsets, rows)
        compared = dict.fromkeys(COMPARED, tokens[batch.sample])
        units, top = ragged_rows(self.store.units, rows), self.store.top
        places = {**compared, "first": rows, "logits": units, "decoder": units}
        # Only what is read need be there.
        kinds = set(map(_place, request.states)) | ({"logits"} if request.logits else set())
        wanted = {kind: places.get(kind, tokens) for kind in sorted(kinds)}
        indices = moved_together([torch.from_numpy(i) for i in wanted.values()], device)
        there = dict(zip(wanted, indices, strict=True))

        def read(state: State | None) -> Tensor | None:
            kind = "logits" if state is None else _place(state)
            whole = self.store.on(device, state)
            if whole is not None:
                return whole.index_select(0, there[kind])
            if state is None:
                logits = self.store.logits
                return None if logits is None else moved(logits[wanted[kind]], device)
            return moved(torch.from_numpy(self.store.states[state][wanted[kind]]), device)

        states = {state: read(state) for state in request.states}
        return ModelOutputs(
            {state: value for state, value in states.items() if value is not None},
            read(None) if request.logits else None,
            top.of(units).map(lambda x: moved(x, device)) if request.logits and top else None,
        )


def variance_of(logits: Tensor, offsets: NDArray[np.int64], task_type: str) -> float:
    """The variance of all outputs, shape (units, outputs), as a type of tasks compares them.

    `offsets`, shape (examples + 1,), are the first unit of each example, and their number.
    """
    counts = torch.from_numpy(np.diff(offsets))
    units = Units(torch.repeat_interleave(counts), examples=len(counts))
    return logit_variance(TASK_TYPES[task_type].centred(logits, units))


def _place(state: State) -> str:
    """Which of a batch's tokens a kind of states is of."""
    return "decoder" if state.of_decoder else state.kind


def store_key(
    teacher: Teacher, data: EncodedExamples, precision: str, views: Views = NO_VIEWS
) -> str:
    """Names a teacher's outputs for some data by weights, config, content and precision."""
    made = {str(state): tensors_digest(views[state].learnt()) for state in sorted(views)}
    also: dict[str, Any] = {"views": made} if made else {}
    also |= {"recorded": teacher.scale} if teacher.recorded else {}
    if teacher.architecture.decoder:
        also["kept"] = asdict(KEEP) | {"temperatures": TEMPERATURES}
    if _logit_bytes(teacher) >= LOGIT_BYTES * MANY:  # once kept like those of a vocabulary
        also["logits"] = "all"
    return teacher_key(teacher, data, head=teacher.has_head, precision=precision, **also)


def open_or_build_store(
    teacher: Teacher,
    data: EncodedExamples,
    states: Collection[State],
    runtime: Runtime,
    views: Views = NO_VIEWS,
) -> SignalStore:
    """The teacher's signal for some data: from the cache, or computed now.

    A store that holds more states serves, too. A damaged one is named and built again. `views` make
    those of the states that the teacher has not itself.

    Raises:
        KdnasError: The disk is too small for it.
    """
    root = use("signal", store_key(teacher, data, runtime.precision, views), about(teacher, data))
    root.mkdir(parents=True, exist_ok=True)
    names = sorted(map(str, states))
    own = root / hash_of(names)
    with file_lock(root.with_suffix(".lock"), "another process stores the teacher's signal"):
        keys = {path: key_of(path) for path in sorted(root.iterdir()) if path.is_dir()}
        others = [path for path, key in keys.items() if key and set(names) <= set(key["states"])]
        for folder in dict.fromkeys((own, *others)):
            problem = damage(folder) if folder.exists() else "missing"
            if problem is None:
                return SignalStore.open(folder)
            if folder.exists():
                say(f"the teacher's signal is unusable ({problem}); computing it again")
        needed, free = store_bytes(teacher, data, states, views), shutil.disk_usage(root).free
        if needed > free * DISK_SHARE:
            raise KdnasError(
                f"too little disk space in {root}: the teacher's signal needs {needed / 1e9:.1f} "
                f"GB, {free / 1e9:.1f} GB are free; lower --proxy-fraction or set KDNAS_CACHE to a "
                "larger disk"
            )
        return build_store(own, teacher, data, states, runtime, views)


def build_store(
    folder: Path,
    teacher: Teacher,
    data: EncodedExamples,
    states: Iterable[State],
    runtime: Runtime,
    views: Views = NO_VIEWS,
) -> SignalStore:
    """Runs the teacher once over the data and writes its outputs, in the data's order.

    The logits of a black-box teacher are those that the data have; where no more is asked for,
    nothing runs. The folder appears whole or not at all.
    """
    states = list(states)
    key: dict[str, Any] = {
        "content": store_key(teacher, data, runtime.precision, views),
        "states": sorted(map(str, states)),
        "hidden_size": teacher.architecture.hidden_size,
    }
    shape = teacher.architecture
    wide = [state for state in states if _width(state, shape, views) != shape.hidden_size]
    if views or wide:
        key["widths"] = {str(state): _width(state, shape, views) for state in (*views, *wide)}

    def fill(_: object, partial: Path) -> None:
        with ExitStack() as stack:
            writer = _Writer(stack, partial, teacher, data, states, views)
            teacher.model.to(runtime.device).eval()  # type: ignore[arg-type]
            signal = ViewedSignal(LiveSignal(teacher.model, runtime), views)
            let_pass = stack.enter_context(computing(runtime.device))
            stack.enter_context(working_precision(teacher.model, runtime))
            stack.enter_context(torch.inference_mode())
            tokens = forward_tokens(runtime.device, outputs_a_token(teacher.model))
            windows = _windows(data.sizes) if writer.request != OutputRequest() else []
            advance = stack.enter_context(progress("teacher signal", len(windows)))
            for window in windows:
                writer.begin(window)
                part = data.sizes[window.start : window.stop]
                for places in plan_once(part, tokens):
                    indices = places + window.start
                    batch = collate(data, indices, teacher.pad_id).to(runtime.device)
                    writer.add(batch, signal.fetch(batch, writer.request))
                    check()
                    let_pass()
                writer.write()
                advance("")
            writer.finish()

    needed = store_bytes(teacher, data, states, views)
    Artifact[Any](folder, key, SignalStore.open, fill, size=lambda _: needed).write(None)
    return SignalStore.open(folder)


def store_bytes(
    teacher: Teacher, data: EncodedExamples, states: Iterable[State], views: Views = NO_VIEWS
) -> int:
    """Size of a store, in bytes; of a vocabulary's outputs the most that it may take."""
    shape, units = teacher.architecture, data.unit_offsets
    top = UNIT_BYTES * int(units[-1]) if teacher.architecture.decoder else 0
    top += _logit_bytes(teacher) * int(units[-1])
    rows = {state: _rows(state, data.offsets, units) for state in states}
    return top + HALF_BYTES * sum(n * _width(s, shape, views) for s, n in rows.items())


def _logit_bytes(teacher: Teacher) -> int:
    """What is stored of each unit's logits, where they are stored as they are."""
    whole = teacher.gives_logits and not teacher.architecture.decoder
    return LOGIT_BYTES * int(teacher.model.config.num_labels) if whole else 0


def stored_states(teacher: Teacher, states: Iterable[State], views: Views) -> frozenset[State]:
    """What a store holds so that a teacher and views can give some states.

    What a view makes is stored where it is smaller than what it is made of, else the latter.
    """
    found: set[State] = set()
    for state in states:
        view = views.get(state)
        read = view.of_teacher.states if view else {state}
        larger = view is None or view.width >= len(read) * teacher.architecture.hidden_size
        found |= read if larger else {state}
    return frozenset(found)


def _rows(state: State, offsets: NDArray[np.int64], units: NDArray[np.int64]) -> int:
    """The rows that a kind of states has for some examples."""
    if state.kind == "first":
        return len(offsets) - 1
    ends = units if state.of_decoder else offsets
    return int(ends[-1] - ends[0])


def _width(state: State, teacher: Architecture, views: Views) -> int:
    if state in views:
        return views[state].width
    stack = teacher.stacks[state.place != SIDES[0]]
    return stack.heads_width if state.kind in HEADS else teacher.hidden_size


def _windows(lengths: NDArray[np.int64]) -> list[range]:
    """Consecutive examples, of at most `WINDOW_TOKENS` tokens together or one alone."""
    ends = np.cumsum(lengths)
    starts = [0]
    while starts[-1] < len(lengths):
        before = ends[starts[-1] - 1] if starts[-1] else 0
        fit = int(np.searchsorted(ends, before + WINDOW_TOKENS, side="right"))
        starts.append(max(fit, starts[-1] + 1))
    return [range(a, b) for a, b in itertools.pairwise(starts)]


class _Writer:
    """Writes a store's files, window after window, and gathers statistics."""

    def __init__(
        self,
        stack: ExitStack,
        partial: Path,
        teacher: Teacher,
        data: EncodedExamples,
        states: Iterable[State],
        views: Views,
    ) -> None:
        self.folder, self.offsets, self.units = partial, data.offsets, data.unit_offsets
        shape, self.stack = teacher.architecture, stack
        width = shape.hidden_size
        counts = dict(zip(SIDES, (1 + s.num_hidden_layers for s in shape.stacks), strict=False))
        # Not memory-mapped: there a full disk kills the process instead of raising an error.
        self.files = {
            state: stack.enter_context((partial / f"{state}{ENDING}").open("wb"))
            for state in states
        }
        # The statistics are of every layer, whichever are kept.
        layers = (hidden_states(range(n), side) for side, n in counts.items())
        every = frozenset(self.files).union(*layers)
        self.request = OutputRequest(every, teacher.has_head and not teacher.recorded)
        self.gives_logits, self.is_vocabulary = teacher.gives_logits, bool(shape.decoder)
        self.widths = {state: _width(state, shape, views) for state in self.files}
        self.window, self.rows = range(0), dict[State, NDArray[np.float16]]()
        self.logits = np.zeros((int(self.units[-1]), 0), np.float32)  # as wide as they turn out
        self.top: TopWriter | None = None
        self.sums: dict[str, Tensor] = {
            side: torch.zeros(2, n, width, dtype=torch.float64) for side, n in counts.items()
        }
        if teacher.recorded:
            assert data.teacher_logits is not None, "all that a black-box teacher teaches has them"
            self.logits = teacher.scale.standard(data.teacher_logits)
            self.request = self.request if self.files else OutputRequest()

    def begin(self, window: range) -> None:
        """Makes room for the states of the window's examples."""
        self.window = window
        part = [ends[window.start : window.stop + 1] for ends in (self.offsets, self.units)]
        shapes = {state: (_rows(state, *part), width) for state, width in self.widths.items()}
        self.rows = {state: np.empty(shape, np.float16) for state, shape in shapes.items()}

    def add(self, batch: Batch, signal: ModelOutputs) -> None:
        for state, values in signal.states.items():
            if state.kind == "hidden":
                exact = (values if values.is_cuda else values.cpu()).double()
                sums = torch.stack([exact.sum(0), exact.square().sum(0)])
                self.sums[state.place][:, state.layer] += sums.cpu()
        first, units = self.window.start, ragged_rows(self.units, batch.indices)
        tokens = ragged_rows(self.offsets, batch.indices) - self.offsets[first]
        places = {"first": batch.indices - first, "decoder": units - self.units[first]}
        for state, rows in self.rows.items():
            half = signal.states[state].float().clamp(-HALF_MAX, HALF_MAX).half()
            rows[places.get(_place(state), tokens)] = half.cpu().numpy()
        if signal.logits is not None:
            self._add_logits(units, signal.logits)

    def _add_logits(self, units: NDArray[np.int64], logits: Tensor) -> None:
        if self.is_vocabulary and logits.shape[1] >= MANY:
            self.top = self.top or TopWriter(self.stack, self.folder)
            self.top.add(units, logits)
            return
        if not self.logits.size:
            self.logits = np.zeros((len(self.logits), logits.shape[1]), np.float32)
        self.logits[units] = logits.cpu().numpy()

    def write(self) -> None:
        """Writes the states of the window."""
        for state, file in self.files.items():
            file.write(self.rows[state].data)
        if self.top:
            self.top.write()

    def finish(self) -> None:
        for file in self.files.values():
            file.flush()
        counts = {"encoder": ("statistics.npy", self.offsets)}
        counts["decoder"] = ("decoder-statistics.npy", self.units)
        for side, sums in self.sums.items():
            name, ends = counts[side]
            mean, square = sums / max(1, int(ends[-1]))
            statistics = torch.stack([mean, (square - mean.square()).clamp_min(0)]).float()
            np.save(self.folder / name, statistics.numpy())
        np.save(self.folder / "offsets.npy", self.offsets)
        np.save(self.folder / "units.npy", self.units)
        if self.top:
            self.top.finish()
        elif self.gives_logits:
            np.save(self.folder / "logits.npy", self.logits)
