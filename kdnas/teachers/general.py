"""The check of a general teacher that the user names."""

from __future__ import annotations

from typing import Any

from kdnas.errors import KdnasError
from kdnas.space.derivation import teacher_architecture
from kdnas.space.families import family_of
from kdnas.teachers.load import load_config, load_teacher, load_tokenizer


def check_general_teacher(name: str, config: Any, tokenizer: Any) -> None:
    """Refuses a general teacher whose students do not fit the teacher.

    Args:
        name: The general teacher.
        config: The teacher's.
        tokenizer: The teacher's.

    Raises:
        KdnasError: It cannot be loaded, or differs in family, shape or vocabulary.
    """
    other = load_config(name)
    ours, theirs = _shape(config), _shape(other)
    for field, value in ours.items():
        if theirs[field] != value:
            raise KdnasError(
                f"--general-teacher {name!r} has {field} {theirs[field]}, the teacher {value}; "
                "give one that differs only in its training"
            )
    if load_tokenizer(name).get_vocab() != tokenizer.get_vocab():
        raise KdnasError(
            f"--general-teacher {name!r} has another vocabulary than the teacher; "
            "give one that differs only in its training"
        )
    load_teacher(name, None)  # needed only after the search, but refused before it


def _shape(config: Any) -> dict[str, Any]:
    family = family_of(config.model_type, config.model_type)
    size = getattr(config, "embedding_size", None)
    shape = teacher_architecture(config, family).params
    return {
        "model_type": config.model_type,
        **shape,
        "embedding_size": size,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
    }
