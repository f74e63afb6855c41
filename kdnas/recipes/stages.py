"""From a stage's words to what is read, what is minimised, and for how long."""

from __future__ import annotations

from collections.abc import Iterable

from kdnas.config import Settings
from kdnas.config.stages import LossName, Stage
from kdnas.distillation.layer_map import LayerMap
from kdnas.distillation.losses.table import DistillationLoss, LogitsLoss, RelationsLoss, TaskLoss
from kdnas.distillation.losses.weighted import Weight
from kdnas.distillation.outputs import OutputRequest, attention_states, hidden_states
from kdnas.distillation.schedule import Schedule
from kdnas.errors import KdnasError
from kdnas.space import Architecture, SearchSpace
from kdnas.students.initialiser import StudentInitialiser
from kdnas.students.state import StudentState
from kdnas.teachers.load import Teacher


def wanted_of(
    stage: Stage, architecture: Architecture, teacher: Teacher, settings: Settings
) -> OutputRequest:
    """What a stage reads of its teacher."""
    wanted = OutputRequest(logits=stage.weighs("logits") and teacher.has_head)
    if stage.weighs("hidden"):
        wanted |= hidden_of(architecture, teacher, settings)
    if stage.weighs("embeddings"):
        wanted |= OutputRequest(hidden_states((0,)))
    if stage.weighs("relations"):
        wanted |= OutputRequest(attention_states(stage.relation_layer or teacher.depth))
    return wanted


def hidden_of(architecture: Architecture, teacher: Teacher, settings: Settings) -> OutputRequest:
    """The hidden states that a student's layers learn from."""
    layers = architecture.num_hidden_layers
    layer_map = LayerMap.named(settings.mapping, layers, teacher.depth)
    return OutputRequest(hidden_states(layer_map.teacher_layers))


def terms_of(
    stage: Stage, distilled: StudentState, start: StudentInitialiser
) -> dict[str, tuple[Weight, DistillationLoss]]:
    """A stage's losses with their weights.

    Args:
        stage: The stage.
        distilled: The student; the hidden-state loss goes on with its projections.
        start: Of the stage's lesson; makes the projection of the embeddings.
    """
    teacher, architecture = start.lesson.teacher, distilled.architecture

    def make(name: LossName) -> DistillationLoss:
        if name == "logits":
            return LogitsLoss(stage.temperature, stage.logit_loss)
        if name == "hidden":
            return distilled.hidden
        if name == "embeddings":
            term = start.embedding_term(architecture)
            start.fit(term, distilled)
            return term
        if name == "relations":
            layer = stage.relation_layer or teacher.depth
            heads = relation_heads(stage, teacher, architecture)
            return RelationsLoss(architecture.num_hidden_layers, layer, heads)
        return TaskLoss()

    # The recipe without stages asks for logits whether or not the teacher has a head.
    weighed = [name for name in stage.losses if stage.weighs(name)]
    names = [name for name in weighed if name != "logits" or teacher.has_head]
    return {name: (stage.losses[name], make(name)) for name in names}


def relation_heads(stage: Stage, teacher: Teacher, architecture: Architecture) -> int:
    """Relation heads of a stage: as asked for, else as many as the teacher has, if they divide."""
    if stage.relation_heads:
        return stage.relation_heads
    sizes = teacher.hidden_size, architecture.hidden_size
    return max(n for n in range(1, teacher.heads + 1) if not any(size % n for size in sizes))


def check_relations(stages: Iterable[Stage], space: SearchSpace) -> None:
    """Refuses attention relations that the teacher or some student of a space cannot have.

    Raises:
        KdnasError: A layer that is not there, or a number of heads that does not divide a size.
    """
    depth, sizes = space.teacher.num_hidden_layers, {a.hidden_size for a in space.architectures}
    for stage in stages:
        if stage.relation_layer and stage.relation_layer > depth:
            raise KdnasError(
                f"stage {stage.name!r}: relation_layer is {stage.relation_layer}; the teacher has "
                f"{depth} layers"
            )
        for size in (space.teacher.hidden_size, *sorted(sizes)):
            if stage.relation_heads and size % stage.relation_heads:
                raise KdnasError(
                    f"stage {stage.name!r}: relation_heads is {stage.relation_heads}, which does "
                    f"not divide the hidden size {size}; leave it out for what divides each"
                )


def check_logits(stages: Iterable[Stage], has_head: bool, name: str) -> None:
    """Refuses stages that ask a teacher without the task's head for logits.

    Raises:
        KdnasError: One of them does.
    """
    for stage in stages:
        if "logits" in stage.losses and not has_head:
            raise KdnasError(
                f"stage {stage.name!r} learns from logits, but teacher {name!r} has no "
                "head for the task; leave logits or --teacher-as-is out"
            )


def schedule_of(stage: Stage, settings: Settings) -> Schedule:
    """How long and how fast a stage trains."""
    frozen = stage.freeze_embeddings
    if frozen is None:
        learns_words = stage.learns_task or stage.weighs("embeddings")
        frozen = settings.inherit and not learns_words
    return Schedule(
        stage.epochs,
        stage.lr,
        stage.batch_size or settings.batch_size,
        settings.seed,
        dropout=stage.dropout,
        freeze_embeddings=frozen,
        stride=stage.stride,
    )
