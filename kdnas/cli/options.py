"""What the commands share: flags made from the settings, --quiet and --json, the Ctrl-C hint."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from kdnas.cli.help import GENERAL, METAVARS, HelpAll, name_values
from kdnas.config import Settings
from kdnas.config.groups import is_main, panel_of, shown_as
from kdnas.runtime.console import manner
from kdnas.runtime.interrupt import continued_by

# A longer choice (layer|dimension|raw) does not stand beside its option but ends its description.
LONGEST_CHOICE = 20

RunFolder = Annotated[Path, typer.Argument(help="A run folder, made by kdnas search or distill.")]
ConfigFile = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        help="YAML file that sets any option; may be repeated; flags override it.",
        rich_help_panel=GENERAL,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print what would be done: data, steps, minutes, disk; measure for some seconds, "
        "train and keep nothing.",
        rich_help_panel=GENERAL,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Print errors and the result alone.", rich_help_panel=GENERAL
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the result as JSON; everything else goes to standard error.",
        rich_help_panel=GENERAL,
    ),
]
# Settings of a run that a command may override.
OF_THE_RUN = {
    "threads": "CPU threads, or auto; default: the run's.",
    "device": "cpu, cuda, mps; default: the run's.",
}
OF_A_SEARCH = {
    **OF_THE_RUN,
    "jobs": "Candidates or students in training side by side, or auto; default: the run's.",
}

Command = Callable[..., None]


def with_settings(
    *names: str, hidden: Collection[str] = (), **helps: str
) -> Callable[[Command], Command]:
    """Gives a command a flag for each setting, or for the named ones.

    The command receives those that were given on the command line as its first argument, `flags`.

    Args:
        names: Settings.
        hidden: Those of them that help leaves out: the command refuses them with what to do.
        helps: More of them by name, with the help texts of what they are for this command.
    """

    def decorate(command: Command) -> Command:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        wanted = dict.fromkeys((*names, *helps)) or Settings.model_fields
        added = [
            flag
            for name in wanted
            if (flag := _option(name, helps.get(name), hidden=name in hidden))
        ]

        @functools.wraps(command)
        def wrapped(**given: Any) -> None:
            flags = {flag.name: given.pop(flag.name) for flag in added}
            command({k: v for k, v in flags.items() if v is not None}, **given)

        further = frozenset(flag.name for flag in added if not is_main(flag.name))
        wrapped.further = further  # type: ignore[attr-defined]
        return _with_parameters(wrapped, [*own, *added])

    return decorate


def with_output_flags(command: Command) -> Command:
    """Gives a command --quiet, --json and --help-all; it prints with `console.conclude`.

    A command with an `as_json` of its own prints its JSON itself.
    """
    own = inspect.signature(command, eval_str=True).parameters
    shared = {"quiet": Quiet, "as_json": AsJson, "help_all": HelpAll}
    added = {k: v for k, v in shared.items() if k not in own}

    @functools.wraps(command)
    def wrapped(*, quiet: bool, help_all: bool, **given: Any) -> None:
        as_json = "as_json" in added and given.pop("as_json")
        with manner(quiet=quiet, as_json=as_json):
            command(**given)

    flags = [_keyword(name, kind, default=False) for name, kind in added.items()]
    parameters = [*own.values(), *flags]
    name_values(parameters)
    return _with_parameters(wrapped, parameters)


def of_the_run(*names: str) -> dict[str, str]:
    """Help texts of settings that a run has values of already."""
    fields = Settings.model_fields
    return {name: f"{fields[name].description} Default: the run's." for name in names}


def spelled(flags: dict[str, Any]) -> str:
    """Flags as given, for the hint that repeats a command."""
    return "".join(f" {_spelled(name.replace('_', '-'), value)}" for name, value in flags.items())


def _spelled(flag: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {quote(str(value))}"


def interruptible(command: str, work: Callable[[], Any]) -> Any:
    """Runs a job that a command continues after Ctrl-C."""
    with continued_by(f"kdnas {command}"):
        return work()


def _option(name: str, text: str | None = None, *, hidden: bool) -> inspect.Parameter | None:
    """A setting's flag; None for settings that only a YAML file can hold."""
    field = Settings.model_fields[name]
    if get_origin(field.annotation) in (dict, tuple) or name == "students":  # recipes have it
        return None
    parts = (field.annotation, *get_args(field.annotation))
    words = [word for part in parts if get_origin(part) is Literal for word in get_args(part)]
    kinds = [k for k in get_args(field.annotation) or (field.annotation,) if k in METAVARS]
    if not (words or kinds):
        return None
    is_switch = kinds == [bool]
    flag = name.replace("_", "-")
    choice = "|".join([METAVARS[kind] for kind in kinds[:1]] + words)
    listed = words and len(choice) > LONGEST_CHOICE
    if listed:
        choice = "NAME"
    option = typer.Option(
        f"--{flag}/--no-{flag}" if is_switch else f"--{flag}",
        help=text or _described(field, words if listed else []),
        rich_help_panel=panel_of(name),
        metavar=shown_as(name) or choice or None,
        show_default=False,
        hidden=hidden,
        autocompletion=_completion(words) if words else None,
    )
    # Values are read as text: the settings check them, and name the value in their refusal.
    return _keyword(name, Annotated[bool | None if is_switch else str | None, option], default=None)


def _described(field: FieldInfo, words: list[str]) -> str:
    """A setting's help text, with words to choose from and its default."""
    default = str(field.default).lower() if isinstance(field.default, bool) else field.default
    choice = [f"One of {', '.join(words)}."] if words else []
    last = [] if default is None else [f"\\[default: {default}]"]
    return " ".join([str(field.description), *choice, *last])


def _completion(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Offers a shell the words that a setting may be."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def _keyword(name: str, annotation: Any, *, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _with_parameters(command: Command, parameters: list[inspect.Parameter]) -> Command:
    """Shows typer another signature than Python's."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command
