"""`kdnas` alone: the way in."""

from __future__ import annotations

from collections.abc import Iterator

import typer

# Typer brings its own copy of click or uses the installed one, by version.
Group = typer.core.TyperGroup

LEAD = "kdnas finds, trains and ships the best small student of a transformer encoder."
WAYS = (
    ("kdnas search", "a first one, in minutes"),
    ("kdnas search --teacher roberta-base --task mrpc", "your teacher, your task"),
    ("kdnas report RUN --open", "what it found"),
)
WIDTH = 80


def welcome(context: typer.Context) -> Iterator[str]:
    """Three commands to begin with, then all of them, a line each of at most 80 columns."""
    yield LEAD
    yield ""
    for command, told in WAYS:
        yield f"  {command:<50}{told}"
    yield ""
    group = context.command
    assert isinstance(group, Group)
    for name in group.list_commands(context):
        command_ = group.get_command(context, name)
        told = command_.get_short_help_str(WIDTH - 13) if command_ else ""
        yield f"  {name:<10} {told}"
    yield ""
    yield "kdnas COMMAND --help lists a command's options."
