"""What several commands share."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from kdnas.runtime.console import conclude, say

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


def finish(folder: Path, work: Any, beside: str = "") -> None:
    """Takes a run's last steps and tells the result.

    Args:
        folder: The run's.
        work: Returns the report.
        beside: The command for a student beside the winner, which has a folder of its own unless
            it is the winner after all.
    """
    from kdnas.report.terminal import closing_lines

    report = interruptible(beside or f"resume {folder}", work)
    own = folder / "students" / f"trial-{report.student.trial}"
    home = own if beside and (own / "student").exists() else folder
    conclude(report.model_dump(mode="json"), closing_lines(report, str(home)))


def spelled(flags: dict[str, Any]) -> str:
    """Flags as they were given, for a command to be repeated."""
    words = (f" --{name.replace('_', '-')} {quote(str(value))}" for name, value in flags.items())
    return "".join(words)


def interruptible(command: str, work: Any) -> Any:
    try:
        return work()
    except KeyboardInterrupt:
        say(f"interrupted; go on with: kdnas {command}")
        raise
