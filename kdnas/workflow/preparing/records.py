"""What decides a student that is trained in full: the key of its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdnas.config import Settings, every_recipe, settings_of
from kdnas.config.groups import OF_A_RECIPE, PLAIN_RECIPE
from kdnas.files.artifact import key_of
from kdnas.space import Candidate

# What recipes set beside their stages.
OF_A_METHOD = tuple({*OF_A_RECIPE} - {"stages", "after_mini_kd", *PLAIN_RECIPE})


def record_of(
    settings: Settings,
    candidate: Candidate,
    trial: int | None,
    method: str = "distilled",
    seed: int | None = None,
) -> dict[str, Any]:
    """What decides a trained student; `seed` where it is not the run's."""
    recipe = recipe_record(settings_of(settings, candidate.recipe))
    record = {"candidate": candidate.params, "trial": trial, "method": method, "recipe": recipe}
    return record if seed is None else {**record, "seed": seed}


def recipe_record(settings: Settings) -> list[dict[str, Any]]:
    """The stages of a recipe, with the weights of classes and the start, as plain values."""
    weighed = beside_stages(settings)
    weighed |= {} if settings.follows_mini_kd else {"after_mini_kd": False}
    stages = (
        stage.model_dump(mode="json", exclude_defaults=True) for stage in settings.full_stages
    )
    return [{**stage, **weighed} for stage in stages]


def method_of(settings: Settings) -> object:
    """Equal for recipes that train alike: their stages, and what else they set, are the same."""
    return recipe_record(settings), [getattr(settings, name) for name in OF_A_METHOD]


def beside_stages(settings: Settings) -> dict[str, Any]:
    """What else decides a training in full from a fresh start, where it is not as it always was."""
    asked, folds = settings.class_weights, settings.teacher_folds
    found: dict[str, Any] = {} if asked == "none" else {"class_weights": asked}
    found |= {"more_epochs": True} if settings.more_epochs else {}
    return found | ({"teacher_folds": folds} if folds > 1 else {})


def is_made(folder: Path, settings: Settings) -> bool:
    """Whether a folder has a student that was trained by a recipe of a run."""
    key = key_of(folder)
    offered: list[Any] = [recipe_record(own) for own in every_recipe(settings).values()]
    return key is not None and key.get("recipe") in offered
