"""What of a recipe cannot be trained is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Collection

from kdnas.config import Settings
from kdnas.config.choices import AGREEMENT
from kdnas.config.read import nearest
from kdnas.config.recipe import Stage
from kdnas.config.recipe_name import RecipeName
from kdnas.distillation.losses import LOSSES, Shapes
from kdnas.errors import KdnasError
from kdnas.recipes.stages import loss_options, losses_of, trains_head
from kdnas.space.architecture import Architecture
from kdnas.space.candidate import DEFAULT_RECIPE
from kdnas.space.pruned import AnyArchitecture

OF_BLACK_BOX, OF_STATIC = "of a black-box teacher", "for a student without layers"
# A recipe that compares no states.
TAKE = {OF_BLACK_BOX: "logits", OF_STATIC: "static"}


def check_recipe(
    settings: Settings,
    teacher: Architecture | None = None,
    students: Collection[AnyArchitecture] = (),
    *,
    has_head: bool = True,
    recorded: bool = False,
) -> None:
    """Refuses stages whose losses or options are unknown or do not fit.

    Without a teacher's shape, only what does not depend on it is checked. `has_head` says whether
    the teacher of a run has, or will have, a head for the task; `recorded` whether it is a black
    box, of which the outputs alone are known.

    Raises:
        KdnasError: Names the first problem.
    """
    mini = settings.mini_stage
    for stage in (mini, *settings.full_stages):
        _check_names(stage)
    if teacher:
        _check_stacks(settings, teacher)
        _check_outputs_alone(settings, teacher, students, recorded=recorded)
    _check_word_dropout(settings, students)
    for stage in _stages_taken(settings):
        scored = settings.scored_losses if stage == mini else ()
        for name in dict.fromkeys((*stage.weighed, *(n for n in scored if n in LOSSES))):
            options = loss_options(name, stage, settings)
            problem = teacher and LOSSES[name].problem(options, teacher, students)
            if problem:
                raise KdnasError(f"stage {stage.name!r}: {problem}")
    for stage in settings.stages:
        _check_task(stage, settings)
        _check_frozen(stage)
    last = settings.full_stages[-1]
    if not trains_head(last):
        raise KdnasError(
            f"the last stage, {last.name!r}, does not train the head; give it a "
            f"loss that does: {', '.join(name for name in LOSSES if LOSSES[name].trains_head)}"
        )
    if settings.scores_agreement:
        _check_agreement(has_head=has_head or recorded)
    else:
        _check_mini(settings)
    for stage in () if has_head else (settings.mini_stage, *settings.stages):
        for name in (n for n in stage.weighed if LOSSES[n].needs_teacher_head):
            raise KdnasError(
                f"stage {stage.name!r} learns from {name}, but the teacher has no head for the "
                "task; leave that loss or --teacher-as-is out"
            )


def check_weights(settings: Settings, *, has_head: bool = True) -> None:
    """Refuses a recipe by whose name losses weigh more or less that its stages do not have.

    It is of settings with the defaults of a task's type, which make the stages of recipes that have
    none. `has_head` says whether the teacher has a head for the task.

    Raises:
        KdnasError: Names the losses that there are.
    """
    names = [name for stage in settings.full_stages for name in losses_of(stage, has_head)]
    RecipeName.read(settings.recipe).check_losses(names)


def _check_names(stage: Stage) -> None:
    for name in (*stage.losses, *stage.decoder_losses):
        if name not in LOSSES:
            raise KdnasError(
                f"unknown loss {name!r} of stage {stage.name!r}{nearest(name, LOSSES)}"
            )
    known = {key for name in stage.losses for key in LOSSES[name].Options.model_fields}
    for key in stage.options:
        if key not in known:
            hint = nearest(key, {*Stage.model_fields, *known})
            raise KdnasError(f"unknown key {key!r} of stage {stage.name!r}{hint}")


def _stages_taken(settings: Settings) -> tuple[Stage, ...]:
    """Those of full KD, ahead of them mini-KD's where it scores candidates."""
    mini = () if settings.scores_agreement else (settings.mini_stage,)
    return (*mini, *settings.full_stages)


def _check_stacks(settings: Settings, teacher: Architecture) -> None:
    """Refuses a recipe for encoder-decoders where the teacher has no decoder."""
    for stage in () if teacher.decoder else settings.stages:
        for name in (n for n in stage.weighed if LOSSES[n].place != "encoder"):
            own = settings.recipe == DEFAULT_RECIPE
            raise KdnasError(
                f"stage {stage.name!r} learns from {name}, and the teacher has no decoder; "
                + ("leave it out" if own else f"recipe {settings.recipe} needs an encoder-decoder")
            )


def _check_outputs_alone(
    settings: Settings,
    teacher: Architecture,
    students: Collection[AnyArchitecture],
    *,
    recorded: bool,
) -> None:
    """Refuses losses on states where the teacher or a student has none that could be compared."""
    static = any(isinstance(s, Architecture) and s.is_static for s in students)
    # What a loss reads can be asked of a student with layers alone.
    layered = next((s for s in students if s.num_hidden_layers), teacher)
    for why in (OF_BLACK_BOX,) * recorded + (OF_STATIC,) * static:
        _check_states(settings, Shapes(teacher, layered), why)


def _check_word_dropout(settings: Settings, students: Collection[AnyArchitecture]) -> None:
    """Refuses to hide words from students with layers, whose attention would still read them."""
    layered = any(s.num_hidden_layers for s in students)
    for stage in settings.full_stages if layered else ():
        if stage.word_dropout:
            raise KdnasError(
                f"stage {stage.name!r} has word_dropout, which is for students without layers; "
                "leave it out"
            )


def _check_states(settings: Settings, shapes: Shapes, why: str) -> None:
    """Refuses losses on states: a black-box teacher gives outputs alone, a static student, too.

    A loss may read those of the student alone, which one with layers has, whatever teaches it.
    """

    def fits(name: str, stage: Stage) -> bool:  # else it is refused for that
        options = loss_options(name, stage, settings)
        return LOSSES[name].problem(options, shapes.teacher, [shapes.student]) is None

    def read_of(name: str, stage: Stage) -> str:  # whose states a loss reads that are not there
        if name not in LOSSES or not fits(name, stage):
            return ""
        loss, options = LOSSES[name], loss_options(name, stage, settings)
        if loss.teacher_request(shapes, options).states:
            return "teacher"
        static = why == OF_STATIC and loss.student_request(shapes, options).states
        return "student" if static else ""

    mini = settings.mini_stage
    usable = ", ".join(n for n in LOSSES if fits(n, mini) and not read_of(n, mini))
    for stage in _stages_taken(settings):
        known = stage.is_general and why == OF_BLACK_BOX
        for name in (n for n in stage.weighed if not known and read_of(n, stage)):
            raise KdnasError(
                f"stage {stage.name!r} learns from {name}, which reads more of a "
                f"{read_of(name, stage)} than its predictions; {why} use {usable} "
                f"(e.g. --recipe {TAKE[why]})"
            )
    for name in settings.scored_losses:
        if whose := read_of(name, mini):
            raise KdnasError(
                f"invalid --mini-score {settings.mini_score}: {name} reads more of a {whose} than "
                f"its predictions; {why} give logits"
            )


def _check_task(stage: Stage, settings: Settings) -> None:
    for name in stage.weighed:
        loss, learns = LOSSES[name], f"stage {stage.name!r} learns from {name}, "
        if stage.is_general and (loss.trains_head or loss.has_views):
            raise KdnasError(f"{learns}which a general teacher cannot give; give it teacher: task")
        options = loss_options(name, stage, settings)
        if stage.data == "corpus" and loss.reads_labels(options):
            raise KdnasError(f"{learns}but a corpus has no labels; give it data: task or transfer")
        if stage.stride > 1 and loss.needs_all_tokens(options):
            raise KdnasError(
                f"invalid stride {stage.stride} of stage {stage.name!r}: {name} reads every token "
                "there; leave stride out"
            )


def _check_frozen(stage: Stage) -> None:
    """Where the student is frozen, something else must learn."""
    if stage.freeze_student and not any(LOSSES[name].has_parameters for name in stage.weighed):
        learn = ", ".join(name for name in LOSSES if LOSSES[name].has_parameters)
        raise KdnasError(
            f"stage {stage.name!r} has freeze_student, but its losses have nothing else to train; "
            f"give it one of {learn}"
        )


def _check_agreement(*, has_head: bool) -> None:
    if not has_head:
        raise KdnasError(
            f"--mini-score is {AGREEMENT}, of predictions, but the teacher has no head for the "
            "task; leave that or --teacher-as-is out"
        )


def _check_mini(settings: Settings) -> None:
    """Candidates learn without labels, and what trains the head must be among what scores it."""
    stage, score = settings.mini_stage, settings.mini_score
    for name in stage.weighed:
        if _needs_labels(name):
            usable = ", ".join(n for n in LOSSES if not _needs_labels(n))
            raise KdnasError(f"mini_losses has {name!r}, which needs labels; give one of {usable}")
    for name in settings.scored_losses:
        if name not in LOSSES or _needs_labels(name):
            raise KdnasError(f"invalid --mini-score {score}: unknown loss{nearest(name, LOSSES)}")
        if LOSSES[name].trains_head and name not in stage.weighed:
            raise KdnasError(
                f"--mini-score is {score}, but mini_losses has no {name}, so that no head is "
                f"trained; add {name} to mini_losses"
            )


def _needs_labels(name: str) -> bool:
    """Whether a loss reads labels, or its views do first."""
    return LOSSES[name].needs_labels or LOSSES[name].has_views
