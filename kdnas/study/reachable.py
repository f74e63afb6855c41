"""Limits that no student of a space keeps, told before its teacher is trained for nothing."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import PreTrainedModel

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.measure import LatencySettings, count_params, measure_latency
from kdnas.measure.onnx import in_runtime
from kdnas.measure.quiet import computing
from kdnas.runtime.device import Runtime
from kdnas.space import Architecture, SearchSpace
from kdnas.students import empty_student
from kdnas.tasks import TaskSpec, TaskType

# The smallest student need not be the fastest, and timings are noisy.
NEAR = 0.7


def check_reach(
    settings: Settings, space: SearchSpace, config: Any, spec: TaskSpec, runtime: Runtime
) -> None:
    """Refuses limits that not even a space's smallest student comes near.

    What a student weighs and how fast it is depends on shapes alone, so that neither it nor its
    teacher need have learnt anything.

    Args:
        settings: Of the run.
        space: The students.
        config: The teacher's.
        spec: The task, its labels known.
        runtime: Where students are timed.

    Raises:
        KdnasError: A limit is out of reach.
    """
    if settings.speedup is None and settings.max_params is None:
        return
    headed = copy.deepcopy(config)
    headed.update(spec.head_config)
    task = spec.task_type
    smallest = _untrained(headed, space.smallest, task, runtime)
    params = count_params(smallest)
    if settings.max_params is not None and params > settings.max_params:
        raise KdnasError(
            f"--max-params is {settings.max_params:,}; the smallest student of the space, "
            f"{space.smallest.label}, has {params:,}"
        )
    if settings.speedup is None:
        return
    speedup = _speedup(smallest, _untrained(headed, space.teacher, task, runtime), settings)
    if speedup < NEAR * settings.speedup:
        raise KdnasError(
            f"--speedup is {settings.speedup:g}; the smallest student of the space, "
            f"{space.smallest.label}, is {speedup:.2f} times as fast as the teacher"
        )


def _untrained(
    config: Any, architecture: Architecture, task: TaskType, runtime: Runtime
) -> PreTrainedModel:
    with computing(runtime.device), torch.random.fork_rng(devices=[]):
        model = empty_student(config, architecture, task).eval()
        return model.to(runtime.device)  # type: ignore[arg-type,no-any-return]


def _speedup(student: PreTrainedModel, teacher: PreTrainedModel, settings: Settings) -> float:
    what = LatencySettings(
        settings.latency_batch, settings.latency_length, quiet=settings.latency_quiet
    )
    ours, theirs = (in_runtime(model, settings.latency_runtime) for model in (student, teacher))
    return measure_latency(ours, theirs, what).speedup
