"""What several commands share."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from kdnas.runtime.console import say

RunFolder = Annotated[Path, typer.Argument(help="A run folder made by kdnas search.")]
ConfigFile = Annotated[
    list[Path] | None,
    typer.Option(
        "--config", help="YAML file that sets any option; may be repeated; flags win over all."
    ),
]
# Settings that a run has and a command may be given others of.
OF_THE_RUN = {
    "threads": "CPU threads; default: the run's.",
    "device": "cpu, cuda, mps; default: the run's.",
}
JsonOut = Annotated[
    bool,
    typer.Option(
        "--json", help="The result as JSON on standard output, all else on standard error."
    ),
]


def spelled(flags: dict[str, Any]) -> str:
    """Flags as given, for the hint that repeats a command."""
    words = (f" --{name.replace('_', '-')} {quote(str(value))}" for name, value in flags.items())
    return "".join(words)


def interruptible(command: str, work: Any) -> Any:
    """Runs a job; Ctrl-C prints the command that continues it."""
    try:
        return work()
    except KeyboardInterrupt:
        say(f"interrupted; continue with: kdnas {command}")
        raise
