"""Checks of a checkpoint's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from kdnas.errors import KdnasError

NAMED = 2


def check_encoder(name: str, model: PreTrainedModel, info: Mapping[str, Any]) -> None:
    """Refuses a checkpoint whose encoder transformers filled up with random weights.

    The pooler counts as part of the head, which may be fresh.

    Args:
        name: The teacher.
        model: As it was loaded.
        info: The loading info of transformers.

    Raises:
        KdnasError: Tensors of the encoder are missing, or of another shape than its config says.
    """
    missing = sorted(filter(_inside(model), info["missing_keys"]))
    shapes = {key: shapes for key, *shapes in info["mismatched_keys"]}
    other = sorted(filter(_inside(model), shapes))
    unlike = [f"{key} is {_by(shapes[key][0])}, not {_by(shapes[key][1])}" for key in other]
    problems = []
    if missing:
        problems.append(f"the checkpoint lacks {_some(missing)}")
    if unlike:
        problems.append(_some(unlike))
    if problems:
        raise KdnasError(
            f"the weights of teacher {name!r} do not fit its config: {'; '.join(problems)}; "
            "give the config.json that they were saved with"
        )


def head_is_whole(model: PreTrainedModel, info: Mapping[str, Any]) -> bool:
    """Whether every tensor outside the encoder came from the checkpoint."""
    inside = _inside(model)
    drawn = (*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"]))
    return all(map(inside, drawn))


def check_finite(name: str, model: PreTrainedModel) -> None:
    """Refuses weights that are not numbers.

    Raises:
        KdnasError: Some tensor holds NaN or infinity.
    """
    for key, value in model.state_dict().items():
        if not torch.isfinite(value).all():
            raise KdnasError(
                f"the weights of teacher {name!r} are not finite: {key} holds NaN or infinity; "
                "give an undamaged checkpoint"
            )


def _inside(model: PreTrainedModel) -> Any:
    prefix = f"{model.base_model_prefix}."
    return lambda key: key.startswith(prefix) and "pooler" not in key


def _some(items: list[str]) -> str:
    rest = len(items) - NAMED
    return ", ".join(items[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _by(shape: Any) -> str:
    return "x".join(map(str, shape))
