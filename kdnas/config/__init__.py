"""Every option: its default, its help text, how it is read from YAML and flags."""

from kdnas.config.read import expected, load_settings, nearest, read_yaml, validated
from kdnas.config.settings import PLAIN_RECIPE, Settings

__all__ = [
    "PLAIN_RECIPE",
    "Settings",
    "expected",
    "load_settings",
    "nearest",
    "read_yaml",
    "validated",
]
