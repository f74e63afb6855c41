"""The config of a student: its teacher's with another shape."""

from __future__ import annotations

import copy
from typing import Any

from kdnas.errors import KdnasError
from kdnas.space import Architecture, Family
from kdnas.space.derivation import HEAD_SIZES, embeddings_problem
from kdnas.space.pruned import CONFIG_KEY, LAYERS_KEY
from kdnas.students.inherit import inherited_layers


def as_whole(config: Any) -> Any:
    """A config, changed in place, that no longer says that its model is a pruned one."""
    for key in (CONFIG_KEY, LAYERS_KEY):
        vars(config).pop(key, None)
    return config


def student_config(teacher_config: Any, family: Family, architecture: Architecture) -> Any:
    """The teacher's config with the fields of an architecture, and those that follow them.

    Raises:
        KdnasError: Its embeddings are factorised, and the family's classes have no such students.
    """
    if architecture.embedding_size and not family.embedding_map:
        raise KdnasError(embeddings_problem(teacher_config.model_type))
    config = as_whole(copy.deepcopy(teacher_config))
    depth = family.read(teacher_config, "num_hidden_layers")
    layers = inherited_layers(architecture.num_hidden_layers, depth, family)
    for name in family.per_layer:
        setattr(config, name, [getattr(teacher_config, name)[layer - 1] for layer in layers])
    for stack, shape in zip(family.stacks, architecture.stacks, strict=True):
        for name, value in shape.params.items():
            stack.write(config, name, value)
    for follower, leader in family.follows.items():
        if getattr(teacher_config, follower, None) == getattr(teacher_config, leader):
            setattr(config, follower, getattr(config, leader))
    if getattr(teacher_config, "num_key_value_heads", None):
        config.num_key_value_heads = architecture.num_attention_heads
    for name in HEAD_SIZES:
        if vars(teacher_config).get(name):
            setattr(config, name, architecture.head_size)
    return config
