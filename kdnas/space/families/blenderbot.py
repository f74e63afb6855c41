"""Blenderbot: mBART with a head of fewer positions."""

from dataclasses import replace

from kdnas.space.families import bart

FAMILY = replace(bart.FAMILY, model_types=("blenderbot", "blenderbot-small"))
