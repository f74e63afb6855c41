"""Latency of a student beside its teacher.

Timings drift with whatever else the machine does, so student and teacher take turns, and the
figures are medians over the same stretch of time.
"""

from __future__ import annotations

import copy
import itertools
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig, PreTrainedModel

from kdnas.measure.quiet import finish_queue, measuring
from kdnas.tasks.sequences.generate import PLAIN, PLAIN_STEPS, writing_by

WARM_UP = 3
# Quartiles further apart than this share of the median: the machine was busy with something else.
CALM = 0.25
# Turns until it is first looked whether speed-ups are known, and until each next look.
FIRST_LOOK, NEXT_LOOK = 8, 4
# Standard errors by which a speed-up is surely below what is wanted.
SURE = 3.0
BATCHES = (1, 8, 32)
LENGTHS = (16, 64, 128)
# A cell of the table takes about so long; one whose fewest passes take longer has no times.
CELL_SECONDS = 3.0
FEWEST, MOST = 5, 20
# Of models that write, whose passes are far longer: what the fewest may take; how many they are.
WRITTEN_SECONDS = 40.0
WARM_UP_WRITTEN, FEWEST_WRITTEN = 1, 3
# Tokens that a model with a decoder writes, where nothing else is said.
NEW_TOKENS = 32
# A pass that writes has a step of the decoder for each token: so many times fewer passes do.
FEWER_WRITTEN = 4

Clock = Callable[[], float]
Times = NDArray[np.float64]
Pass = Callable[[], object]


class Timed(Protocol):
    """A model in the runtime that serves it."""

    def ready(self, batch: int, length: int) -> Pass:
        """A forward pass over full-length examples, which returns once its result is there."""


class InTorch:
    """A model in eager PyTorch, on its device; one with a decoder writes so many new tokens."""

    def __init__(self, model: PreTrainedModel, new_tokens: int = NEW_TOKENS) -> None:
        self._model, self._new_tokens = model, new_tokens

    def ready(self, batch: int, length: int) -> Pass:
        """A forward pass without gradients, or greedy generation with its cache."""
        model, device = self._model, self._model.device
        tokens = torch.ones(batch, length, dtype=torch.long, device=device)
        mask = torch.ones_like(tokens)
        run: Any = model
        if generates(model):
            run = partial(_write, model, _always(model, self._new_tokens))
        finish_queue(device)

        @torch.inference_mode()
        def once() -> None:
            run(input_ids=tokens, attention_mask=mask)
            finish_queue(device)

        return once


def generates(model: PreTrainedModel) -> bool:
    """Whether a model writes its answer token by token, with a decoder that reads an encoder."""
    return bool(model.config.is_encoder_decoder and model.can_generate())


def repeats_for(repeats: int, *, writes: bool) -> int:
    """Passes that are timed, of models that write or that do not."""
    return max(FEWEST, repeats // FEWER_WRITTEN) if writes else repeats


def _write(model: PreTrainedModel, config: GenerationConfig, **inputs: torch.Tensor) -> object:
    """Writes by a generation config alone: else what is None in it would be the model's own."""
    with writing_by(model, config):
        return model.generate(**inputs)  # type: ignore[operator]


def _always(model: PreTrainedModel, new_tokens: int) -> GenerationConfig:
    """Greedy generation of so many tokens, whichever they are."""
    names = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
    found = (
        getattr(c, name, None) for name in names for c in (model.generation_config, model.config)
    )
    start = next((token for token in found if token is not None), 0)
    always = copy.deepcopy(model.generation_config)  # the rest is the model's own: its end, too
    always.update(
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        do_sample=False,
        num_beams=1,
        **PLAIN,
        **PLAIN_STEPS,
        use_cache=True,
        decoder_start_token_id=start,
        pad_token_id=start,
    )
    return always


@dataclass(frozen=True)
class LatencySettings:
    """What is timed: forward passes of each model over `batch` examples of `length` tokens.

    There are `repeats` of them; fewer where speed-ups are known before, up to a standard error of
    `precision`, as a share of them. With `quiet`, they wait until no other process of kdnas
    computes on this machine. Before them, `warm_up` passes are not timed; default: WARM_UP.
    """

    batch: int = 1
    length: int = 128
    repeats: int = 30
    quiet: bool = True
    precision: float = 0.0
    warm_up: int | None = None

    @property
    def key(self) -> dict[str, Any]:
        """What identifies times that are kept: the fields that are set.

        A new field, None by default, thus leaves times valid that an earlier kdnas kept.
        """
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Latency:
    """Times of one forward pass in milliseconds: medians, and the lower and upper quartiles.

    They are of `repeats` passes of each model.
    """

    student_ms: float
    teacher_ms: float
    student_quartiles_ms: tuple[float, float]
    teacher_quartiles_ms: tuple[float, float]
    repeats: int = 0

    @property
    def student_iqr_ms(self) -> float:
        """How far the student's quartiles are apart."""
        return self.student_quartiles_ms[1] - self.student_quartiles_ms[0]

    @property
    def speedup(self) -> float:
        """How many times as fast as the teacher."""
        return self.teacher_ms / self.student_ms

    @property
    def scatter(self) -> float:
        """How far quartiles are apart, as a share of the median; the worse of both models."""
        low, high = self.teacher_quartiles_ms
        return max(self.student_iqr_ms / self.student_ms, (high - low) / self.teacher_ms)

    def error(self, passes: int) -> float:
        """Standard error of the speed-up after so many passes, as a share of it.

        That of a median is 1.25 / 1.35 of the distance of the quartiles, over the root of how many
        there are (McGill, Tukey and Larsen 1978, Variations of Box Plots).
        """
        low, high = self.teacher_quartiles_ms
        apart = math.hypot(self.student_iqr_ms / self.student_ms, (high - low) / self.teacher_ms)
        return 1.25 / 1.35 * apart / math.sqrt(passes)


def measure_latency(
    student: Timed, teacher: Timed, settings: LatencySettings, clock: Clock = time.perf_counter
) -> Latency:
    """Times student and teacher in turn, each in the runtime that serves it.

    Where the times scatter because the machine was busy, they are taken once more, and the calmer
    measurement counts.
    """
    return measure_latencies([student], teacher, settings, clock)[0]


def measure_latencies(
    students: Sequence[Timed],
    teacher: Timed,
    settings: LatencySettings,
    clock: Clock = time.perf_counter,
    least: Sequence[float] = (),
) -> list[Latency]:
    """`measure_latency` of several students, all of them and their teacher in turn.

    Of one that is surely below its `least` speed-up, the time needs no precision.
    """
    floors = least or [0.0] * len(students)

    def known(times: Times) -> bool:
        found = zip(_latencies(times), floors, strict=True)
        return all(_is_known(one, times.shape[1], settings.precision, low) for one, low in found)

    def measured() -> Times:
        return take_turns([teacher, *students], settings, clock, known)

    times = measured()
    latencies = _latencies(times)
    if _scatter(latencies) <= CALM or known(times):
        return latencies
    return min(latencies, _latencies(measured()), key=_scatter)


def _latencies(times: Times) -> list[Latency]:
    """Of each student, from the times of the teacher and all of them: shape (models, passes)."""
    low, middle, high = np.percentile(times, [25, 50, 75], axis=1).tolist()
    count = times.shape[1]
    return [
        Latency(middle[i], middle[0], (low[i], high[i]), (low[0], high[0]), count)
        for i in range(1, len(times))
    ]


def _is_known(latency: Latency, passes: int, precision: float, least: float) -> bool:
    error = latency.error(passes)
    return error <= precision or latency.speedup * (1 + SURE * error) < least


def _scatter(latencies: Sequence[Latency]) -> float:
    """Of several measured together, that in the middle: a few fast ones always scatter."""
    return float(np.median([each.scatter for each in latencies]))


def take_turns(
    models: Sequence[Timed],
    settings: LatencySettings,
    clock: Clock = time.perf_counter,
    known: Callable[[Times], bool] | None = None,
) -> Times:
    """Times models in turn: milliseconds a forward pass, shape (models, repeats).

    `known` is asked after some of the turns whether the times so far are enough, and ends them.

    Each turn draws their order from a fixed seed, so that what recurs regularly, such as the end of
    a time slice, does not always meet the same model. The clock is in seconds; on a busy machine,
    `time.thread_time` leaves out the time for which a single thread had to wait.
    """
    rng, order = random.Random(0), list(range(len(models)))
    times = np.empty((len(models), settings.repeats))
    warm_up = WARM_UP if settings.warm_up is None else settings.warm_up
    with measuring(settings.quiet):
        for turn in range(-warm_up, settings.repeats):
            rng.shuffle(order)
            for i in order:
                spent = time_forward(models[i], settings, clock)
                if turn >= 0:
                    times[i, turn] = spent
            done = turn + 1
            looks = done >= FIRST_LOOK and (done - FIRST_LOOK) % NEXT_LOOK == 0
            if known and looks and known(times[:, :done]):
                return times[:, :done]
    return times


def time_forward(
    model: Timed, settings: LatencySettings, clock: Clock = time.perf_counter
) -> float:
    """One forward pass over full-length examples, in milliseconds."""
    once = model.ready(settings.batch, settings.length)
    start = clock()
    once()
    return (clock() - start) * 1000


def cells_for(longest: int, batch: int, length: int) -> list[tuple[int, int]]:
    """(batch, length) of each cell of the table, from the fewest tokens on.

    The batch size and length that the search timed are among them; the model reads `longest`.
    """
    lengths = {min(n, longest) for n in (*LENGTHS, length)}
    cells = itertools.product({*BATCHES, batch}, lengths)
    return sorted(cells, key=lambda cell: (cell[0] * cell[1], cell))


@dataclass(frozen=True)
class CellPasses:
    """How often student and teacher pass in a cell of the table.

    Attributes:
        warm_up: Passes that are not timed.
        fewest: Passes that are timed at least.
        most: At most.
        longest: Seconds that the fewest passes may take; a cell that is slower is left out.
    """

    warm_up: int
    fewest: int
    most: int
    longest: float

    @classmethod
    def of(cls, most: int, *, writes: bool) -> CellPasses:
        """Those of models that write or that do not; a run times `most` passes of a student."""
        most = repeats_for(min(most, MOST), writes=writes)
        if writes:
            return cls(WARM_UP_WRITTEN, FEWEST_WRITTEN, most, WRITTEN_SECONDS)
        return cls(WARM_UP, FEWEST, most, CELL_SECONDS)

    def timed(self, each: float) -> int:
        """How many passes fit, where one of both models takes `each` seconds; 0: it is too slow."""
        if (self.warm_up + self.fewest) * each > self.longest:
            return 0
        fitting = int(CELL_SECONDS / each) - self.warm_up
        return min(self.most, max(self.fewest, fitting))

    def seconds(self, each: float) -> float:
        """What a cell takes, with the pass that shows how long one is; 0 where it is left out."""
        timed = self.timed(each)
        return (1 + self.warm_up + timed) * each if timed else 0.0


def latency_grid(
    student: Timed,
    teacher: Timed,
    cells: Iterable[tuple[int, int]],
    quiet: bool,
    passes: CellPasses,
    known: Mapping[tuple[int, int], Mapping[str, Any]] = MappingProxyType({}),
    clock: Clock = time.perf_counter,
) -> list[dict[str, Any]]:
    """Times student and teacher in turn in each cell: medians and quartiles in milliseconds.

    Cells ascend by their tokens; those that would take too long have no times (`repeats` is 0).
    What is `known` of a cell, the fields of a `Latency`, is not timed again.
    """
    grid, each = [], 0.0  # seconds of a pass of both: with more tokens it takes no less
    for batch, length in cells:
        cell: dict[str, Any] = {"batch": batch, "length": length, "repeats": 0}
        grid.append(cell)
        if (batch, length) in known:
            cell |= known[batch, length]
        elif not each or passes.timed(each):
            once = LatencySettings(batch, length)
            each = sum(time_forward(model, once, clock) for model in (student, teacher)) / 1000
            if timed := passes.timed(each):
                settings = LatencySettings(batch, length, timed, quiet, warm_up=passes.warm_up)
                cell |= asdict(measure_latency(student, teacher, settings, clock))
        if cell["repeats"]:
            each = (cell["student_ms"] + cell["teacher_ms"]) / 1000
    return grid
