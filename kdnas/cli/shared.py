"""What the commands share: common arguments, --quiet and --json, the hint after Ctrl-C."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from kdnas.runtime.console import manner, say

RunFolder = Annotated[Path, typer.Argument(help="A run folder made by kdnas search.")]
ConfigFile = Annotated[
    list[Path] | None,
    typer.Option(
        "--config", help="YAML file that sets any option; may be repeated; flags override it."
    ),
]
# Settings of a run that a command may override.
OF_THE_RUN = {
    "threads": "CPU threads; default: the run's.",
    "device": "cpu, cuda, mps; default: the run's.",
}
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and the result alone.")]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print the result as JSON; everything else goes to standard error."
    ),
]


def with_output_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command --quiet and --json; it prints its result with `console.conclude`.

    A command with an `as_json` of its own prints its JSON itself.
    """
    own = inspect.signature(command, eval_str=True)
    added = {"quiet": Quiet, "as_json": AsJson}
    flags = {name: kind for name, kind in added.items() if name not in own.parameters}

    @functools.wraps(command)
    def wrapped(*, quiet: bool, **given: Any) -> None:
        as_json = given.pop("as_json") if "as_json" in flags else False
        with manner(quiet=quiet, as_json=as_json):
            command(**given)

    parameters = [
        *own.parameters.values(),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
            for name, kind in flags.items()
        ),
    ]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped


def spelled(flags: dict[str, Any]) -> str:
    """Flags as given, for the hint that repeats a command."""
    words = (f" --{name.replace('_', '-')} {quote(str(value))}" for name, value in flags.items())
    return "".join(words)


def interruptible(command: str, work: Callable[[], Any]) -> Any:
    """Runs a job; Ctrl-C prints the command that continues it."""
    try:
        return work()
    except KeyboardInterrupt:
        say(f"interrupted; continue with: kdnas {command}")
        raise
