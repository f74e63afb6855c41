"""Command-line flags made from the settings, so that each option is described once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from kdnas.config import Settings

PLAIN = (str, int, float, bool, Path)
METAVARS: dict[Any, str] = {str: "TEXT", int: "INTEGER", float: "NUMBER", Path: "PATH"}


def with_settings(*names: str, **told: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command a flag for each setting (or for the named ones).

    The command receives those that were given on the command line as its first argument, `flags`.

    Args:
        names: Settings.
        told: More of them by name, with the help texts of what they are for this command.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        wanted = (*names, *told) or Settings.model_fields
        fields = [name for name in wanted if _type(name) is not None]

        @functools.wraps(command)
        def wrapped(**given: Any) -> None:
            flags = {name: given.pop(name) for name in fields}
            command({k: v for k, v in flags.items() if v is not None}, **given)

        parameters = [*own, *(_parameter(name, told.get(name)) for name in fields)]
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        return wrapped

    return decorate


def _parameter(name: str, told: str | None) -> inspect.Parameter:
    field = Settings.model_fields[name]
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    shown = "" if field.default is None else f" \\[default: {_shown(field.default)}]"
    flag = f"--{name.replace('_', '-')}"
    names = (f"{flag}/--no-{flag[2:]}",) if _type(name) is bool else (flag,)
    option = typer.Option(
        *names,
        help=told or f"{field.description}{shown}",
        rich_help_panel=str(extra["panel"]),
        metavar=_metavar(name),
        show_default=False,
        autocompletion=_completion(name),
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        # Values are read as text: the settings check them, and name the value in their refusal.
        annotation=Annotated[bool | None if _type(name) is bool else str | None, option],
    )


def _type(name: str) -> type | None:
    """The flag's type; None for settings that only a YAML file can hold."""
    annotation = Settings.model_fields[name].annotation
    kinds = [k for k in get_args(annotation) or (annotation,) if k in PLAIN]
    if get_origin(annotation) is Literal:
        return str
    return kinds[0] if kinds and get_origin(annotation) not in (dict, tuple) else None


def _metavar(name: str) -> str | None:
    annotation = Settings.model_fields[name].annotation
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    kind = _type(name)
    return None if kind in (bool, None) else METAVARS[kind]


def _completion(name: str) -> Callable[[str], list[str]] | None:
    """Offers a shell the words that a setting may be; None where it may be anything."""
    annotation = Settings.model_fields[name].annotation
    if get_origin(annotation) is not Literal:
        return None
    return lambda incomplete: [w for w in get_args(annotation) if w.startswith(incomplete)]


def _shown(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else f"{default}"
