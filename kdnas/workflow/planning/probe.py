"""How fast this machine trains and runs the models of a run, found out in some seconds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from kdnas.distillation.generation import beams_of, seconds_a_row
from kdnas.distillation.probe import seconds_a_step
from kdnas.distillation.training import logits_of
from kdnas.measure import count_params
from kdnas.measure.latency import InTorch
from kdnas.recipes.pseudo_labels import BEAMS
from kdnas.recipes.stages import teacher_schedule
from kdnas.runs.context import Context
from kdnas.runtime.console import silently
from kdnas.runtime.cores import threads
from kdnas.runtime.working_time import working_seconds
from kdnas.scoring.limits import Limits
from kdnas.space import Architecture, SearchSpace
from kdnas.space.arithmetic import arithmetic
from kdnas.students import empty_student, writing_as
from kdnas.study.deadline import seconds_a_unit
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.teachers.load import Teacher
from kdnas.workflow.preparing.inputs import Inputs
from kdnas.workflow.preparing.trials_spent import study_of

# Of each kind of passes: seconds, rows, and repetitions at most.
PASS_SECONDS, PASS_ROWS, STEPS = 1.0, 64, 20
FIRST_SECONDS = 5.0


@dataclass(frozen=True)
class Speeds:
    """What pieces of work take on this machine, in seconds.

    Attributes:
        teacher_step: A step of training the teacher.
        student_step: A step of training a usual student (`usual_shape`).
        token: The teacher's outputs for a token of many.
        latency: A pass of the teacher over what latency is measured on.
        share: The usual student's arithmetic as a share of the teacher's; of models that write,
            the time of such a pass.
        row: The teacher's text for a row of many; None of models that write none.
        trial: A whole trial of one worker, where the run has some on record.
        one_thread: How many times as long a student's step takes with one thread; None where that
            was not asked for.
        arithmetic: The usual student's share by its arithmetic, also where `share` is one of time;
            None for `share`.
        beams: How many times as long as `row` the teacher's text for a row takes by the beam search
            that students learn from; a teacher may write with beams of its own.
        static_step: A step of training the widest student without layers; None where the space has
            none beside others.
    """

    teacher_step: float
    student_step: float
    token: float
    latency: float
    share: float
    row: float | None = None
    trial: float | None = None
    one_thread: float | None = None
    arithmetic: float | None = None
    beams: float = 1.0
    static_step: float | None = None


def probe(
    context: Context,
    inputs: Inputs,
    given: Teacher,
    *,
    tune: bool,
    trains: bool,
    beside: bool = False,
) -> Speeds:
    """Measures a few steps of each kind of work.

    `tune` says whether the teacher is trained, `trains` whether students are, `beside` whether some
    of them are trained in full side by side.

    No weight of the run is touched, nothing is written, and torch's generator is as before.
    """
    space, spec = inputs.space, inputs.data.spec
    usual = usual_shape(space, Limits.of(context.settings), count_params(given.model))

    def made(shape: Architecture) -> PreTrainedModel:
        student = empty_student(given.model.config, shape, spec.task_type)
        return writing_as(student, given.model)

    with silently(), torch.random.fork_rng(devices=[]):
        teacher_step = _training(context, inputs, given, made(space.teacher)) if tune else 0.0
        student_step = _training(context, inputs, given, made(usual)) if trains else 0.0
        static_step = None
        if trains and space.static_recipes and not usual.is_static:
            static_step = _training(context, inputs, given, made(space.statics[-1]))
        one_thread = None
        if trains and beside and student_step:
            with threads(1):
                one_thread = _training(context, inputs, given, made(usual)) / student_step
        token = _forward(context, inputs, given)
        latency = _latency(context, given.model)
        share = of_arithmetic = arithmetic(usual) / arithmetic(space.teacher)
        row, beams = None, 1.0
        if spec.task_type.generates:
            row = seconds_a_row(given.model, inputs.data.train, context.runtime, given.pad_id)
            beams = beams_of(given.model, BEAMS) / beams_of(given.model)
            share = min(1.0, _latency(context, made(usual).to(given.model.device)) / latency)
    known = _recorded(context) if context.settings.searches else None
    measured = (teacher_step, student_step, token, latency)
    more = (known, one_thread, of_arithmetic)
    return Speeds(*measured, share, row, *more, beams=beams, static_step=static_step)


def usual_shape(space: SearchSpace, limits: Limits, teacher_params: int) -> Architecture:
    """The shape that stands for all students where time and room are estimated.

    It is one of those that keep the limits by their arithmetic and about so many parameters. Within
    a speed-up what is tried first and trained in full is about as large as that allows: the
    largest. Without one, it is the shape nearest to their mean arithmetic.
    """
    keep = [a for a in space.architectures if _may_keep(space, limits, teacher_params, a)]
    keep = keep or [space.smallest]
    if limits.speedup is not None:
        return max(keep, key=arithmetic)
    mean = np.mean([arithmetic(a) for a in keep])
    return min(keep, key=lambda a: abs(arithmetic(a) - mean))


def _may_keep(space: SearchSpace, limits: Limits, teacher_params: int, a: Architecture) -> bool:
    """Whether a shape keeps the limits by its arithmetic and its likely parameters."""
    own = arithmetic(a)  # 0 without layers
    fast = arithmetic(space.teacher) / own if own else math.inf
    return limits.keeps(fast, space.likely_params(a, teacher_params))


def _training(context: Context, inputs: Inputs, given: Teacher, model: PreTrainedModel) -> float:
    """Seconds of a step of training a model on the task's labels."""
    schedule, data = teacher_schedule(context.settings), inputs.data.train
    return seconds_a_step(model, data, schedule, context.runtime, given.pad_id)[0]


def _forward(context: Context, inputs: Inputs, given: Teacher) -> float:
    """Seconds of the teacher for a token of many."""
    data, runtime = inputs.data.train, context.runtime
    few = data.take(np.arange(min(len(data), PASS_ROWS)))
    each = _seconds(lambda: logits_of(given.model, few, runtime, pad_id=given.pad_id))
    return each / int(few.sizes.sum())


def _latency(context: Context, model: PreTrainedModel) -> float:
    """Seconds of a pass that latency is measured on."""
    batch, length = context.settings.latency_batch, context.settings.latency_length
    return _seconds(InTorch(model.eval()).ready(batch, length))


def _seconds(work: Callable[[], object]) -> float:
    """What some work takes when it is repeated, for about PASS_SECONDS in all.

    The first time, a GPU loads its kernels: it counts only where once more would take too long.
    """
    start = working_seconds()
    work()
    first = working_seconds() - start
    times: list[float] = []
    while len(times) < STEPS and sum(times) < PASS_SECONDS and first < FIRST_SECONDS:
        start = working_seconds()
        work()
        times.append(working_seconds() - start)
    return float(np.median(times)) if times else first


def _recorded(context: Context) -> float | None:
    """Seconds of a whole training to a score, by what those on rungs took for their part of it."""
    settings, study = context.settings, study_of(context)
    trials = study.get_trials(deepcopy=False) if study else []
    each = seconds_a_unit(trials)
    pruner = SuccessiveHalvingPruner(settings.rungs, settings.reduction)
    return None if each is None else each * pruner.full_cost
