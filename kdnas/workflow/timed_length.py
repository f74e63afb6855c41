"""How long the inputs are that latency is measured with."""

from __future__ import annotations

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.runs.run_folder import resolve
from kdnas.teachers.load import load_config, longest_input


def with_length_that_fits(settings: Settings) -> Settings:
    """Settings whose `latency_length`, where nobody set it, is no more than the teacher reads."""
    settings = resolve(settings)
    if settings.teacher is None or "latency_length" in settings.model_fields_set:
        return settings
    try:
        longest = longest_input(load_config(settings.teacher))
    except KdnasError:  # loading the teacher says it better
        return settings
    length = min(settings.latency_length, longest)
    return settings.model_copy(update={"latency_length": length})
