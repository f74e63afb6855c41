"""From a stage of a recipe to what it reads, what it minimises, and for how long."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from kdnas.config import Settings
from kdnas.config.recipe import LOSS_SETTINGS, Stage
from kdnas.distillation.losses import LOSSES, LossOptions, Shapes, TeacherView
from kdnas.distillation.losses.base import Fitting, Weight, WeightedLosses
from kdnas.distillation.outputs import OutputRequest, State
from kdnas.distillation.schedule import Schedule
from kdnas.errors import KdnasError
from kdnas.recipes.pseudo_labels import completed, pseudo_labelled, reads_pseudo_labels
from kdnas.recipes.run_data import RunData
from kdnas.recipes.transfer_set import OWN, TransferSet, make_transfer_set, reads_transfer
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.space import AnyArchitecture, Architecture, PrunedArchitecture
from kdnas.space.arithmetic import share_of_arithmetic
from kdnas.space.pruned import LAYERS_KEY
from kdnas.students.pruning import Kept, shape_of
from kdnas.students.state import StudentState
from kdnas.tasks import EncodedExamples, encode
from kdnas.teachers.distillation_data import DistillationData, some_batches
from kdnas.teachers.load import Teacher, load_teacher, teacher_source
from kdnas.teachers.sound import check_inputs

# The settings of the stages that kdnas names itself.
SETTINGS_OF = {
    "mini-kd": ("mini_lr",),
    "hidden": ("lr",),
    "logits": ("lr",),
    "task": ("task_lr", "logit_weight", "hidden_weight"),
}
# The share of a teacher's layers up to which pruned students have the rates of others.
FULL_RATES_UP_TO = 0.15
# The share of the teacher's arithmetic below which students train longer, and how much at most.
LONGER_BELOW, MOST_TIMES = 0.12, 3.0
# One view of a teacher serves students of all seeds.
VIEW_SEED = 0


@dataclass(frozen=True)
class StageResources:
    """What stages read; None where no stage does. Teachers are on the runtime's device."""

    task_teacher: Teacher
    general_teacher: Teacher | None
    task_rows: EncodedExamples
    masked_rows: EncodedExamples
    corpus: EncodedExamples | None = None
    transfer: TransferSet | None = None
    transfer_rows: EncodedExamples | None = None
    pseudo_labelled: EncodedExamples | None = None
    outputs: Tensor | None = None  # by teachers that have not seen the task's rows, for these

    def teacher_of(self, stage: Stage) -> Teacher:
        teacher = self.general_teacher if stage.is_general else self.task_teacher
        assert teacher is not None, "resources are made for the recipe's stages"
        return teacher

    def rows_of(self, stage: Stage) -> EncodedExamples:
        # Stages go on with the masked rows that mini-KD trained on, until labels are learnt.
        task_rows = self.task_rows if learns_task(stage) else self.masked_rows
        rows = {
            "task": task_rows,
            "corpus": self.corpus,
            "transfer": self.transfer_rows,
            "pseudo-labels": self.pseudo_labelled,
        }
        found = rows[stage.data]
        assert found is not None, "the settings were checked"
        return found


def prepare_stage_resources(
    settings: Settings,
    run: Run,
    data: RunData,
    task_teacher: Teacher,
    runtime: Runtime,
    general: Teacher | None = None,
) -> StageResources:
    """Loads the general teacher and makes transfer set and pseudo-labels where stages need them.

    `general` is that teacher, where it is loaded already.

    Raises:
        KdnasError: Another task's rows cannot be read or do not fit.
    """
    if general is None and any(stage.is_general for stage in settings.full_stages):
        general = load_general_teacher(settings, runtime)
    transfer = encoded = None
    if reads_transfer(settings):
        with run.timed("transfer set"):
            transfer = make_transfer_set(settings, data, task_teacher, runtime)
            what = (data.tokenizer, data.length, "transfer set", data.options)
            encoded = encode(transfer.examples, *what)
            if data.spec.task_type.generates:
                encoded, targets = completed(task_teacher, encoded, data.options, runtime)
                transfer = replace(transfer, targets=targets)
            encoded = replace(encoded, class_weights=data.train.class_weights)
            encoded = in_standard_units(encoded, task_teacher)
            check_inputs(encoded, task_teacher.model.config)
        own = transfer.methods.count(OWN)
        say(f"transfer set: {len(transfer.methods)} rows, {own} of them the task's own")
    train = in_standard_units(data.train, task_teacher)
    masked = data.distillation if settings.mask_probability and not data.corpus else train
    written = None
    if reads_pseudo_labels(settings):
        with run.timed("pseudo-labels"):
            written = pseudo_labelled(task_teacher, train, data.options, runtime)
    given = (data.corpus, transfer, encoded, written)
    return StageResources(task_teacher, general, train, masked, *given)


def load_general_teacher(settings: Settings, runtime: Runtime) -> Teacher:
    """The teacher of general stages, on the runtime's device."""
    general = load_teacher(teacher_source(settings.general_teacher or settings.base), None)
    general.model.to(runtime.device)  # type: ignore[arg-type]
    return general


def in_standard_units(data: EncodedExamples, teacher: Teacher) -> EncodedExamples:
    """The rows with labels in the units of the teacher's outputs."""
    return data.relabelled(None if data.labels is None else teacher.scale.standard(data.labels))


def loss_options(
    name: str, stage: Stage, settings: Settings, *, scoring: bool = False
) -> LossOptions:
    """The options of a stage's loss: the stage's own keys, else the run's settings.

    Settings that nobody changed leave a loss its own defaults. With `scoring`, they are those of
    the value that scores candidates.

    Raises:
        KdnasError: A value is out of range.
    """
    kind = LOSSES[name].Options
    named = {key: getattr(settings, key) for key in LOSS_SETTINGS if key in kind.model_fields}
    defaults = Settings.model_fields
    shared = {key: value for key, value in named.items() if value != defaults[key].default}
    own = {key: value for key, value in stage.options.items() if key in kind.model_fields}
    try:
        options = kind(**{**shared, **own})
        return LOSSES[name].scoring_options(options) if scoring else options
    except ValidationError as error:
        first = error.errors()[0]
        key, reason = ".".join(map(str, first["loc"])), first["msg"]
        raise KdnasError(
            f"stage {stage.name!r}: invalid {key} {first['input']!r}: "
            f"{reason[0].lower()}{reason[1:]}"
        ) from None


def losses_of(stage: Stage, has_head: bool) -> tuple[str, ...]:
    """The losses of a stage that count.

    The recipe without stages asks for logits whether or not the teacher has a head for the task;
    without one they are left out.
    """
    return tuple(name for name in stage.weighed if has_head or not LOSSES[name].needs_teacher_head)


def shapes_of(teacher: Teacher, state: StudentState) -> Shapes:
    """The shapes that losses are made for."""
    config: Any = state.model.config
    return _shapes(teacher, state.architecture, int(config.num_labels))


def _shapes(teacher: Teacher, student: AnyArchitecture, outputs: int = 0) -> Shapes:
    kept = Kept.read(teacher.model.config)
    return Shapes(teacher.architecture, student, outputs, kept.heads if kept else ())


def views_of(stage: Stage, shapes: Shapes, settings: Settings) -> dict[State, TeacherView]:
    """The views of a stage's losses, not yet learnt, with weights from a seed of their own."""
    found: dict[State, TeacherView] = {}
    for name in stage.weighed:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(VIEW_SEED)
            found |= LOSSES[name].views(shapes, loss_options(name, stage, settings))
    return found


def teacher_request(
    stage: Stage,
    student: AnyArchitecture,
    teacher: Teacher,
    settings: Settings,
    also: Iterable[str] = (),
) -> OutputRequest:
    """What a stage's losses, and others that score its students, read of the teacher."""
    shapes = _shapes(teacher, student)
    request = OutputRequest()
    names = [(name, False) for name in losses_of(stage, teacher.gives_logits)]
    for name, scoring in (*names, *((name, True) for name in also)):
        options = loss_options(name, stage, settings, scoring=scoring)
        request |= LOSSES[name].teacher_request(shapes, options)
    return request


def reads_teacher(stage: Stage, shapes: Shapes, settings: Settings) -> bool:
    """Whether a stage reads outputs of its teacher, and not only rows and labels."""
    options = {name: loss_options(name, stage, settings) for name in stage.weighed}
    requests = (LOSSES[name].teacher_request(shapes, own) for name, own in options.items())
    return any(request != OutputRequest() for request in requests)


def problem_of_shapes(stage: Stage, shapes: Shapes, settings: Settings) -> str | None:
    """Why a student of one shape cannot learn from a teacher of another by a stage, if so."""
    for name in stage.weighed:
        options = loss_options(name, stage, settings)
        if problem := LOSSES[name].problem(options, shapes.teacher, [shapes.student]):
            return problem
        try:
            LOSSES[name].teacher_request(shapes, options)
        except ValueError as error:  # a layer map
            return str(error)
    return None


def weighted_losses(
    stage: Stage,
    state: StudentState,
    data: DistillationData,
    settings: Settings,
    runtime: Runtime,
    *,
    scored: Collection[str] = (),
    fit: bool = True,
) -> WeightedLosses:
    """Losses for a student, on the runtime's device.

    Each goes on with the student's parameters of that name where they fit, else they are fitted to
    the student as it is now.

    Args:
        scored: Losses whose held-out values score students; default: what the stage minimises.
        fit: Whether to fit parameters; a checkpoint that is about to be loaded has them.
    """
    weights: dict[str, Weight] = dict.fromkeys(scored, 1.0)
    if not scored:
        weights = {name: stage.losses[name] for name in losses_of(stage, data.teacher.gives_logits)}
    shapes = shapes_of(data.teacher, state)
    losses = {}
    for name, weight in weights.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            options = loss_options(name, stage, settings, scoring=bool(scored))
            loss = LOSSES[name](shapes, options, data.statistics)
        before = state.parts.get(name)
        loss.to(runtime.device)
        if before is not None and loss.continues(before):
            loss.load_state_dict(before, strict=False)
        elif fit and loss.state_dict():
            state.model.to(runtime.device)  # type: ignore[arg-type]
            batches = some_batches(data.data, data.teacher.pad_id, runtime, settings.seed)
            on = Fitting(state.model, batches, data.source, runtime)
            (loss.fit_for_score if scored else loss.fit)(on)
        losses[name] = (weight, loss)
    return WeightedLosses(losses)


def schedule_of(stage: Stage, settings: Settings) -> Schedule:
    """How long and how fast a stage trains."""
    frozen = stage.freeze_embeddings
    if frozen is None:
        trained = any(LOSSES[name].trains_embeddings for name in stage.weighed)
        frozen = settings.inherit and not trained
    return Schedule(
        stage.epochs,
        stage.lr,
        stage.batch_size or settings.batch_size,
        settings.seed,
        dropout=stage.dropout,
        freeze_embeddings=frozen,
        stride=stage.stride,
    )


def rates_of(state: StudentState, settings: Settings) -> float:
    """How many times a recipe's learning rates a student is trained with.

    A pruned student begins near its teacher, the nearer the more is left of it, and high rates undo
    that (docs/results.md, Pruned students). What is left of a teacher at four times its speed has
    the rates of other students.
    """
    shape = state.architecture
    if not (isinstance(shape, PrunedArchitecture) and settings.lower_rates):
        return 1.0
    whole, depth = shape_of(state.model.config), shape.num_hidden_layers
    left = shape.share_of(whole) * depth / getattr(state.model.config, LAYERS_KEY, depth)
    return FULL_RATES_UP_TO / max(left, FULL_RATES_UP_TO)


def longer(stage: Stage, share: float, settings: Settings) -> Stage:
    """A stage with the epochs of a student that has a share of its teacher's arithmetic.

    One that has little left needs more passes over the task's own rows, and takes less time for
    each (docs/results.md, Pruned students). Other rows are many already; students without layers
    have recipes of their own, and stages that train something else beside a student stay.
    """
    if stage.data != "task" or stage.freeze_student or not settings.more_epochs or not share:
        return stage
    times = min(MOST_TIMES, max(1.0, LONGER_BELOW / share))
    return stage.model_copy(update={"epochs": times * stage.epochs})


def longer_for(
    student: AnyArchitecture, teacher: Architecture, stage: Stage, settings: Settings
) -> Stage:
    """As `longer`, for a student of some shape; of teachers that write it was not measured."""
    share = 1.0 if teacher.num_decoder_layers else share_of_arithmetic(student, teacher)
    return longer(stage, share, settings)


def remedy_of(stage: Stage, settings: Settings) -> str:
    """What to change where a stage diverges: the settings above their defaults, else its `lr`."""
    if settings.stages and stage.name != settings.mini_stage.name:
        return f"lower lr ({stage.lr:g}) or the weights of stage {stage.name!r}"
    names = SETTINGS_OF.get(stage.name, ("task_lr",))
    fields, given = Settings.model_fields, {name: getattr(settings, name) for name in names}
    high = {name: value for name, value in given.items() if value > fields[name].default}
    told = (high or {names[0]: given[names[0]]}).items()
    return "lower " + " or ".join(f"--{k.replace('_', '-')} ({v:g})" for k, v in told)


def teacher_schedule(settings: Settings) -> Schedule:
    """How long and how fast a teacher is fine-tuned."""
    epochs, lr = settings.teacher_epochs, settings.teacher_lr
    return Schedule(epochs, lr, settings.batch_size, settings.seed)


def trains_head(stage: Stage) -> bool:
    trained = any(LOSSES[name].trains_head for name in stage.weighed)
    return trained and not stage.freeze_student


def learns_task(stage: Stage) -> bool:
    """Whether a stage has a loss that only a teacher of the task can teach."""
    return any(LOSSES[name].trains_head or LOSSES[name].has_views for name in stage.weighed)


def reads_own_outputs(stage: Stage) -> bool:
    """Whether a stage learns from its task's teacher's outputs for the task's own rows."""
    outputs = any(LOSSES[name].needs_teacher_head for name in stage.weighed)
    return outputs and not stage.is_general and stage.data in ("task", "transfer")


def has_views(stage: Stage) -> bool:
    """Whether a stage reads what is learnt of a teacher first."""
    return any(LOSSES[name].has_views for name in stage.weighed)


def task_epochs(stages: Iterable[Stage]) -> float:
    """Epochs in which the stages of a recipe train a student on its task's teacher."""
    own = (stage for stage in stages if not stage.is_general)
    return sum(stage.epochs for stage in own if not stage.freeze_student)
