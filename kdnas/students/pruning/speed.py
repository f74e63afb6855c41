"""A teacher's layers, timed with fewer heads and neurons, and the counts that reach a speed."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import isotonic_regression
from transformers import PreTrainedModel

from kdnas.errors import KdnasError
from kdnas.files.artifact import Artifact, json_artifact
from kdnas.measure import LatencySettings, measure_latency
from kdnas.measure.latency import Clock
from kdnas.measure.onnx import in_runtime, runtime_name
from kdnas.runtime.console import progress
from kdnas.space import Architecture, PrunedArchitecture
from kdnas.students.pruning.depth import shallower
from kdnas.students.pruning.kept import Kept, shape_of
from kdnas.students.pruning.levels import choose_levels
from kdnas.students.pruning.order import Damage
from kdnas.students.pruning.scores import rounded_neurons
from kdnas.students.pruning.slicing import sharing

# Each number of neurons that is timed is this share of the one before it, down to the least.
STEP, LEAST = 0.8, 0.01


@dataclass(frozen=True)
class LatencyTable:
    """What the layers of a teacher take, in milliseconds a forward pass.

    Attributes:
        teacher_ms: The whole teacher.
        base_ms: The teacher without any heads and neurons: embeddings, norms, head.
        heads_ms: A layer's attention, by its heads.
        neurons_ms: A layer's feed-forward part, by its neurons.
        depth: The teacher's layers.
        empty_ms: A layer without heads and neurons: its norms.
    """

    teacher_ms: float
    base_ms: float
    heads_ms: dict[int, float]
    neurons_ms: dict[int, float]
    depth: int
    empty_ms: float = 0.0

    @property
    def whole_ms(self) -> float:
        """What the teacher takes, as a sum over layers."""
        layer = self.heads_ms[max(self.heads_ms)] + self.neurons_ms[max(self.neurons_ms)]
        return self.base_ms + self.depth * layer

    def base_of(self, layers: int) -> float:
        """What so many of the teacher's layers take without any heads and neurons."""
        return self.base_ms - (self.depth - layers) * self.empty_ms

    def predict(self, counts: PrunedArchitecture) -> float:
        """What a student with such counts takes; of levels that were timed."""
        heads = sum(self.heads_ms[n] for n in counts.num_attention_heads)
        neurons = sum(self.neurons_ms[n] for n in counts.intermediate_size)
        return self.base_of(counts.num_hidden_layers) + heads + neurons

    def speedup(self, counts: PrunedArchitecture) -> float:
        """How many times as fast as the teacher, both as sums over layers."""
        return self.whole_ms / self.predict(counts)


def neuron_levels(size: int) -> list[int]:
    """The numbers of neurons that are timed, ascending: none, multiples of 8, all."""
    levels, count = {0, size}, float(size)
    while count > LEAST * size:
        levels.add(rounded_neurons(round(count), size))
        count *= STEP
    return sorted(levels)


def count_cells(teacher: Architecture) -> int:
    """How many pruned teachers a table times."""
    shallow = int(teacher.num_hidden_layers > 1)
    return teacher.num_attention_heads + len(neuron_levels(teacher.intermediate_size)) + shallow


def measure_table(
    teacher: PreTrainedModel,
    settings: LatencySettings,
    runtime: str = "torch",
    clock: Clock = time.perf_counter,
) -> LatencyTable:
    """Times the teacher with fewer and fewer heads and neurons, each in turn with the whole one.

    Heads are counted while no layer has neurons, and the reverse; a difference over all layers is
    divided among them. One more is the teacher with a single layer, which is empty: the others take
    what it does.

    Args:
        teacher: On the device that students are timed on.
        settings: What is timed.
        runtime: `torch` or `onnx`.
        clock: In seconds.

    Raises:
        KdnasError: The teacher cannot be pruned.
    """
    shape = shape_of(teacher.config)
    depth, whole = shape.num_hidden_layers, in_runtime(teacher, runtime)
    seen: list[float] = []

    def share(heads: int, neurons: int, layers: int = depth) -> float:
        """The time of the teacher so pruned, as a share of the whole one's."""
        counts = PrunedArchitecture.of(shape, [heads] * layers, [neurons] * layers)
        model = shallower(teacher, layers)
        student = in_runtime(sharing(model, Kept.first(counts)), runtime)
        latency = measure_latency(student, whole, settings, clock)
        seen.append(latency.teacher_ms)
        advance("")
        return latency.student_ms / latency.teacher_ms

    levels = [n for n in neuron_levels(shape.intermediate_size) if n]
    with progress("latency table", count_cells(shape)) as advance:
        base = share(0, 0)
        heads = {n: share(n, 0) for n in range(1, shape.num_attention_heads + 1)}
        neurons = {n: share(0, n) for n in levels}
        empty = max(0.0, (base - share(0, 0, 1)) / (depth - 1)) if depth > 1 else 0.0
    teacher_ms = float(np.median(seen))

    def layer_ms(shares: Mapping[int, float]) -> dict[int, float]:
        times = [0.0, *((share - base) / depth * teacher_ms for share in shares.values())]
        # What scatters is averaged with its neighbours until more never takes less.
        even = isotonic_regression(np.maximum(times, 0)).x
        return {n: float(ms) for n, ms in zip((0, *shares), even - even[0], strict=True)}

    by_count = layer_ms(heads), layer_ms(neurons)
    return LatencyTable(teacher_ms, base * teacher_ms, *by_count, depth, empty * teacher_ms)


def latency_table(
    path: Path,
    teacher: PreTrainedModel,
    settings: LatencySettings,
    runtime: str = "torch",
    environment: Mapping[str, Any] | None = None,
) -> LatencyTable:
    """The teacher's table from a file; measured where there is none of this teacher and machine.

    Args:
        path: The file.
        teacher: On the device that students are timed on; only its shape matters.
        settings: What is timed.
        runtime: `torch` or `onnx`.
        environment: What else decides how fast the machine is (`Runtime.describe`).
    """
    key = {
        "teacher": {"model_type": teacher.config.model_type, **shape_of(teacher.config).params},
        "settings": settings.key,
        "runtime": runtime_name(runtime),
        "device": str(teacher.device),
        "host": platform.node(),
        "environment": dict(environment or {}),
        "times": ["teacher", "base", "heads", "neurons", "empty"],
    }
    kept: Artifact[Any] = json_artifact(path, key)
    found = kept.get(lambda: _plain(measure_table(teacher, settings, runtime)))
    heads, neurons = (
        {int(n): float(ms) for n, ms in found[name].items()} for name in ("heads", "neurons")
    )
    depth = shape_of(teacher.config).num_hidden_layers
    return LatencyTable(found["teacher"], found["base"], heads, neurons, depth, found["empty"])


def counts_at_speedup(
    damage: Damage, table: LatencyTable, speedup: float, teacher: Architecture
) -> PrunedArchitecture:
    """The counts that take at most the teacher's time over a speed-up, and lose the least.

    `teacher` may have fewer layers than the one that was timed, over whose time the speed-up is.

    Heads and neurons of all layers are chosen together, among the numbers that were timed. Both
    times are the table's sums over layers. One head stays in any case: without any, no token knows
    of another, and a model that reads its first token answers all texts alike.

    Raises:
        KdnasError: The speed-up is below 1, or more than pruning can give.
    """
    if not speedup >= 1:
        raise KdnasError(f"invalid speed-up {speedup:g}: expected 1 or more")
    depth, levels = teacher.num_hidden_layers, (sorted(table.heads_ms), sorted(table.neurons_ms))
    damages = [
        part[layer, counts].double().cpu().numpy()
        for part, counts in zip((damage.heads, damage.neurons), levels, strict=True)
        for layer in range(depth)
    ]
    costs = [
        np.array([times[count] for count in counts])
        for times, counts in zip((table.heads_ms, table.neurons_ms), levels, strict=True)
        for _ in range(depth)
    ]
    budget = table.whole_ms / speedup - table.base_of(depth)
    chosen = choose_levels(damages, costs, budget, some_of=range(depth))
    if chosen is None:
        fastest = table.predict(fewest_counts(damage, teacher))
        raise KdnasError(
            f"cannot prune to {speedup:g} times the teacher's speed: with one head and no neurons "
            f"it is {table.whole_ms / fastest:.1f} times as fast; give a speed-up below that"
        )
    heads = [levels[0][level] for level in chosen[:depth]]
    return PrunedArchitecture.of(teacher, heads, [levels[1][level] for level in chosen[depth:]])


def fewest_counts(damage: Damage, teacher: Architecture) -> PrunedArchitecture:
    """No neurons, and one head: in the layer that loses most with its last one."""
    last = damage.heads[:, 0] - damage.heads[:, 1]
    heads = torch.nn.functional.one_hot(last.argmax(), teacher.num_hidden_layers)
    return PrunedArchitecture.of(teacher, heads.tolist(), [0] * teacher.num_hidden_layers)


def _plain(table: LatencyTable) -> dict[str, Any]:
    """A table as JSON has it."""
    return {
        "teacher": table.teacher_ms,
        "base": table.base_ms,
        "heads": table.heads_ms,
        "neurons": table.neurons_ms,
        "empty": table.empty_ms,
    }
