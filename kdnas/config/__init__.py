"""Every option: its default, its help text, how it is read from YAML and flags."""

from kdnas.config.load import load_settings
from kdnas.config.offer import (
    every_recipe,
    has_general_stages,
    proxy_has_labels,
    settings_of,
)
from kdnas.config.read import (
    describes_a_task,
    expected,
    holds_settings,
    nearest,
    read_yaml,
    validated,
)
from kdnas.config.recipe_file import Recipe, find_recipe
from kdnas.config.settings import Settings

__all__ = [
    "Recipe",
    "Settings",
    "describes_a_task",
    "every_recipe",
    "expected",
    "find_recipe",
    "has_general_stages",
    "holds_settings",
    "load_settings",
    "nearest",
    "proxy_has_labels",
    "read_yaml",
    "settings_of",
    "validated",
]
