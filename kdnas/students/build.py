"""A student model from an architecture and its teacher."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import PreTrainedModel

from kdnas.space import Architecture, Family, family_of
from kdnas.students.importance import Importance
from kdnas.students.inherit import inherit_weights
from kdnas.tasks import TaskType, task_type_of


def student_config(teacher_config: Any, family: Family, architecture: Architecture) -> Any:
    """The teacher's config with the five fields of an architecture, and those that follow them."""
    config = copy.deepcopy(teacher_config)
    for name, value in architecture.params.items():
        setattr(config, family.field_name(name), value)
    for follower, leader in family.follows.items():
        if getattr(teacher_config, follower, None) == getattr(teacher_config, leader):
            setattr(config, follower, getattr(config, leader))
    if vars(teacher_config).get("attention_head_size"):  # DeBERTa-v2's, beside the heads
        config.attention_head_size = architecture.hidden_size // architecture.num_attention_heads
    return config


def empty_student(
    teacher_config: Any, architecture: Architecture, task: TaskType | None = None
) -> PreTrainedModel:
    """A student with random weights, drawn from torch's global generator, and a head.

    Args:
        teacher_config: The teacher's.
        architecture: The student's shape.
        task: What the head is for; default: what the teacher's config says.
    """
    task = task or task_type_of(teacher_config)
    family = family_of(teacher_config.model_type, teacher_config.model_type)
    config = student_config(teacher_config, family, architecture)
    student: PreTrainedModel = task.auto_class.from_config(config, dtype=torch.float32)
    return student


def build_student(
    teacher: PreTrainedModel,
    architecture: Architecture,
    *,
    inherit: bool = True,
    importance: Importance | None = None,
    seed: int = 0,
) -> PreTrainedModel:
    """A student, its weights taken from the teacher or drawn at random.

    Args:
        teacher: With its head; it is not changed.
        architecture: The student's shape.
        inherit: Whether to take the teacher's weights, as far as they fit.
        importance: Which parts of the teacher to keep first.
        seed: Seed of what is drawn.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        task = task_type_of(teacher.config, type(teacher).__name__)
        student = empty_student(teacher.config, architecture, task)
    if inherit:
        inherit_weights(student, teacher, importance)
    return student.eval()
