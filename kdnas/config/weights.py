"""Weights of losses and shares of ways, as a YAML file gives them; what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def _pair(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Weight = Annotated[Share | tuple[Share, Share], BeforeValidator(_pair)]


def weighs(weight: Weight) -> bool:
    """Whether a weight counts at some time."""
    return any(weight) if isinstance(weight, tuple) else bool(weight)


def problem_of_weights(where: str, losses: Any) -> str | None:
    """What is wrong with a mapping of losses to weights, in words.

    Args:
        where: Where it stands.
        losses: As it was read.
    """
    if not losses:
        return f"{where} is {losses!r}; give one loss or more, each with its weight"
    problem = _problem_of_keys(where, losses)
    wrong = {} if problem else {k: v for k, v in losses.items() if not _is_weight(v)}
    for name, value in wrong.items():
        problem = problem or (
            f"{where} has {name} {value!r}; give a number of 0 or more, or [first, last]"
        )
    return problem


def problem_of_shares(where: str, shares: Any, known: Sequence[str]) -> str | None:
    """What is wrong with a mapping of words to shares, in words."""
    problem = _problem_of_keys(where, shares, known)
    wrong = {} if problem else {k: v for k, v in shares.items() if not _is_share(v)}
    for name, value in wrong.items():
        problem = problem or f"{where} has {name} {value!r}; give a number of 0 or more"
    return problem


def _problem_of_keys(where: str, found: Any, known: Sequence[str] = ()) -> str | None:
    if not isinstance(found, dict):
        example = known[0] if known else "hidden"
        return f"{where} is {found!r}; give names with numbers, as in {example}: 1"
    unknown = [name for name in found if known and name not in known]
    return f"{where} has {unknown[0]!r}; known: {', '.join(known)}" if unknown else None


def _is_weight(value: object) -> bool:
    if isinstance(value, list | tuple):
        return len(value) == 2 and all(map(_is_share, value))
    return _is_share(value)


def _is_share(value: object) -> bool:
    # YAML reads 1e-3 as a text.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return 0 <= float(value) < math.inf
    except ValueError:
        return False
