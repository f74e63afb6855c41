"""Limits that every student must keep: a least speed-up, a largest number of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from transformers import PreTrainedModel

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.measure import count_macs, count_params
from kdnas.scoring.costs import TIMES, CostMeter, margin_of
from kdnas.space import (
    NOT_PRUNED,
    Architecture,
    Candidate,
    PrunedArchitecture,
    Pruning,
    SearchSpace,
)

# The smallest student need not be the fastest, and timings are noisy.
REACHABLE_SHARE = 0.7


@dataclass(frozen=True)
class Limits:
    """The least speed-up over the teacher and the most parameters; None is no limit."""

    speedup: float | None = None
    max_params: int | None = None

    @classmethod
    def of(cls, settings: Settings, pruning: Pruning = NOT_PRUNED) -> Limits:
        """Those of a run; where it asks for several speed-ups, that of a student pruned to one."""
        return cls(settings.speedup or pruning.speedup or None, settings.max_params)

    def __bool__(self) -> bool:
        return self.speedup is not None or self.max_params is not None

    def __str__(self) -> str:
        parts = [] if self.speedup is None else [f"--speedup {self.speedup:g}"]
        parts += [] if self.max_params is None else [f"--max-params {self.max_params:,}"]
        return " and ".join(parts) or "the limits"

    def violations(
        self, speedup: float, params: int, pruning: Pruning = NOT_PRUNED
    ) -> dict[str, float]:
        """By how much a student breaks each limit, as a share of the limit.

        Values above 0 break it, as in `optuna.trial.Trial.set_constraint`, from which Optuna's
        samplers learn. The limit on the speed has a margin
        (`costs.margin_of`), which depends on how the student is pruned.
        """
        found = {}
        if self.speedup is not None:
            found["speedup"] = margin_of(pruning, self.speedup) * self.speedup / speedup - 1
        if self.max_params is not None:
            found["params"] = params / self.max_params - 1
        return found

    def breaks(self, speedup: float, params: int) -> bool:
        """Whether a candidate breaks a limit, that on the speed with its margin."""
        return max(self.violations(speedup, params).values(), default=0.0) > 0

    def keeps(self, speedup: float, params: int) -> bool:
        """Whether a student keeps the limits, without any margin."""
        fast = self.speedup is None or speedup >= self.speedup
        return fast and (self.max_params is None or params <= self.max_params)

    def describe(self, violations: Mapping[str, float], pruning: Pruning = NOT_PRUNED) -> str:
        """Which limits a student breaks, in words."""
        margin = margin_of(pruning, self.speedup or 0.0)
        words = {
            "speedup": f"too slow for --speedup {self.speedup or 0:g}"
            + (f" with a margin of {margin - 1:.0%}" if margin > 1 else ""),
            "params": f"too large for --max-params {self.max_params or 0:,}",
        }
        return ", ".join(words[name] for name, value in violations.items() if value > 0)


def may_keep(limits: Limits, candidate: Candidate, meter: CostMeter) -> bool:
    """Whether a candidate may keep the limits, judged by counting alone.

    No student is taken to be faster than its share of the teacher's multiply-accumulates, but of
    encoder-decoders: what `generate` takes goes by the decoder's layers more than by arithmetic.
    """
    if not limits:
        return True
    student = meter.untrained(candidate)
    if limits.max_params is not None and count_params(student) > limits.max_params:
        return False
    if limits.speedup is None or student.config.is_encoder_decoder:
        return True
    return meter.teacher_macs >= limits.speedup * count_macs(student, meter.length)


def check_prunable_to(pruning: Pruning, space: SearchSpace, meter: CostMeter) -> None:
    """Refuses a speed-up that what is pruned has not even with one head and no neurons.

    The meter's teacher need not be trained.

    Raises:
        KdnasError: It is out of reach.
    """
    whole, speedup = space.pruned_teacher(pruning), pruning.speedup
    none = [0] * whole.num_hidden_layers
    least = PrunedArchitecture.of(whole, [1, *none[1:]], none)
    found = meter.best_speedup(meter.of_shape(least), speedup)
    if found < speedup:
        raise KdnasError(
            f"--speedup {speedup:g} is out of reach by pruning: {_layers(pruning)} with one head "
            f"and no feed-forward neurons is {found:.2f} times as fast at the best of {TIMES} "
            "timings; give less, fewer layers with --kept-layers, or a smaller shape with "
            "--architecture"
        )


def _layers(pruning: Pruning) -> str:
    """What is pruned, in words."""
    if not pruning.layers:
        return "the teacher"
    return f"{pruning.layers} of the teacher's layers"


def check_reachable(limits: Limits, space: SearchSpace, meter: CostMeter) -> None:
    """Refuses limits that not even the smallest student of a space comes near.

    The meter's teacher need not be trained: costs depend on shapes alone.

    Raises:
        KdnasError: A limit is out of reach.
    """
    if not limits:
        return
    models = {shape: _least(shape, space, meter) for shape in least_shapes(space)}
    fewest = min(models, key=lambda shape: count_params(models[shape]))
    params = count_params(models[fewest])
    if limits.max_params is not None and params > limits.max_params:
        raise KdnasError(
            f"--max-params {limits.max_params:,} is out of reach: the smallest student of the "
            f"space, {fewest.label}, has {params:,} parameters"
        )
    if limits.speedup is None:
        return
    fastest = [shape for shape in models if shape == space.smallest or shape.is_static]
    least = REACHABLE_SHARE * limits.speedup
    for shape in fastest:
        speedup = meter.best_speedup(models[shape], least)
        if speedup >= least:
            return
    raise KdnasError(
        f"--speedup {limits.speedup:g} is out of reach: the smallest student of the space, "
        f"{shape.label}, is {speedup:.2f} times as fast as the teacher at the best of {TIMES} "
        "timings; give less, or none"
    )


def least_shapes(space: SearchSpace) -> tuple[Architecture, ...]:
    """The shapes of a space that limits are checked with: if none of them keeps one, none does.

    Narrow embeddings may save more than narrow layers; without layers students are the fastest.
    """
    static = space.statics[:1] if space.static_recipes else ()
    return tuple(dict.fromkeys((space.smallest, space.narrowest, *static)))


def _least(shape: Architecture, space: SearchSpace, meter: CostMeter) -> PreTrainedModel:
    """The untrained student of a shape with the smallest of a space's vocabularies."""
    every = (Candidate(shape, vocabulary=name) for name in space.vocabularies)
    return min(map(meter.untrained, every), key=count_params)
