"""`kdnas` without a command: where to begin."""

from __future__ import annotations

from collections.abc import Iterator

import typer

# Typer brings its own copy of click or uses the installed one, by version.
Group = typer.core.TyperGroup

LEAD = "kdnas finds, trains and ships the best small student of a transformer encoder."
EXAMPLES = (
    ("kdnas search", "a first search, in minutes"),
    ("kdnas search --teacher roberta-base --task mrpc", "your teacher, your task"),
    ("kdnas report RUN --open", "look at the result"),
)
WIDTH = 80


def welcome(context: typer.Context) -> Iterator[str]:
    """Three examples, then all commands, a line each of at most 80 columns."""
    yield LEAD
    yield ""
    for command, meaning in EXAMPLES:
        yield f"  {command:<50}{meaning}"
    yield ""
    group = context.command
    assert isinstance(group, Group)
    for name in group.list_commands(context):
        command_ = group.get_command(context, name)
        about = command_.get_short_help_str(WIDTH - 13) if command_ else ""
        yield f"  {name:<10} {about}"
    yield ""
    yield "kdnas COMMAND --help lists a command's options."
