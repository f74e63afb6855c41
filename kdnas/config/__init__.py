"""Every option: its default, its help text, how it is read from YAML and flags."""

from kdnas.config.load import load_settings, with_recipe
from kdnas.config.read import expected, nearest, read_yaml, validated
from kdnas.config.recipe_file import Recipe, find_recipe
from kdnas.config.settings import Settings

__all__ = [
    "Recipe",
    "Settings",
    "expected",
    "find_recipe",
    "load_settings",
    "nearest",
    "read_yaml",
    "validated",
    "with_recipe",
]
