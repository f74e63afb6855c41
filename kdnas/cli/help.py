"""--help of a command: its options in panels, in at most 100 columns; --help-all shows them all."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand
from typer.models import ParameterInfo

METAVARS: dict[Any, str] = {str: "NAME", int: "INT", float: "FLOAT", Path: "FILE", bool: ""}
# What most commands have; it comes last.
GENERAL = "General"
# A command with at most this many options shows them all.
FEW = 20
WIDEST = 100
# On a narrower terminal a description stands below its option instead of beside it.
NARROW = 64
# The widest name of an option that its description still stands beside.
NAME_COLUMNS = 28


def _show_all(context: typer.Context, wanted: bool) -> None:
    if wanted:
        context.meta[HelpfulCommand.ALL] = True
        typer.echo(context.command.get_help(context))
        raise typer.Exit


HelpAll = Annotated[
    bool,
    typer.Option(
        "--help-all",
        help="Show all options and exit.",
        is_eager=True,
        callback=_show_all,
        rich_help_panel=GENERAL,
    ),
]


class HelpfulCommand(TyperCommand):
    """A command whose --help shows the main options where there are many.

    Its function's attribute `further` names the parameters that only --help-all shows.
    """

    ALL = "kdnas.help_all"

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes usage, description, panels, and how to see what is left out."""
        console = Console(highlight=False, emoji=False)
        console.width = min(console.width, WIDEST)
        with console.capture() as captured:
            console.print(Group(*self._parts(ctx, console.width)), end="")
        formatter.write(captured.get())

    def _parts(self, context: Any, width: int) -> Iterator[RenderableType]:
        every = self.get_params(context)
        parameters = [one for one in every if not getattr(one, "hidden", False)]
        given = " ".join(["[OPTIONS]", *map(_in_usage, filter(_is_argument, parameters))])
        yield Text(f"Usage: {context.command_path} {given}\n", "bold")
        for paragraph in inspect.cleandoc(self.help or "").split("\n\n"):
            yield Text(f"{' '.join(paragraph.split())}\n")
        left_out = self._left_out(parameters, show_all=self.ALL in context.meta)
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in parameters:
            if parameter.name not in left_out:
                panels.setdefault(_panel(parameter), []).append(_row(parameter))
        general = panels.pop(GENERAL, [])
        for title, rows in (*panels.items(), (GENERAL, general)):
            yield Panel(_table(rows, width), title=title, title_align="left", border_style="dim")
        if left_out:
            yield Text(f"{len(left_out)} more options: {context.command_path} --help-all")

    def _left_out(self, parameters: list[Any], *, show_all: bool) -> frozenset[str]:
        further: frozenset[str] = getattr(self.callback, "further", frozenset())
        return frozenset() if show_all or len(parameters) <= FEW else further


def name_values(signature: list[inspect.Parameter]) -> None:
    """Gives each option and argument that names no form of its value one: INT, FLOAT, FILE."""
    for parameter in signature:
        kinds = [parameter.annotation, parameter.default]
        infos = [i for kind in kinds for i in (kind, *get_args(kind))]
        info = next((i for i in infos if isinstance(i, ParameterInfo)), None)
        if info and info.metavar is None:
            # Of an argument the name says it: RUN, MODEL.
            is_argument = type(info).__name__ == "ArgumentInfo"
            own = parameter.name.upper() if is_argument else _form(parameter.annotation)
            info.metavar = own or None


def _form(annotation: Any) -> str:
    """INT for `int | None` and `list[int]`; empty for a switch."""
    if annotation in METAVARS:
        return METAVARS[annotation]
    return next(filter(None, map(_form, get_args(annotation))), "")


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _in_usage(argument: Any) -> str:
    name = str(argument.metavar)
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _panel(parameter: Any) -> str:
    if parameter.name == "help":
        return GENERAL
    if _is_argument(parameter):
        return "Arguments"
    return str(parameter.rich_help_panel or "Options")


def _row(parameter: Any) -> tuple[str, str]:
    """An option as a person types it, and its description as markup."""
    if _is_argument(parameter):
        return str(parameter.metavar), _told(parameter)
    names = sorted(parameter.opts, key=len)
    if parameter.secondary_opts:
        names = [f"--[no-]{names[-1].removeprefix('--')}"]
    metavar = "" if parameter.is_flag else parameter.metavar or ""
    return f"{', '.join(names)} {metavar}".strip(), _told(parameter)


def _told(parameter: Any) -> str:
    default = parameter.default
    if not parameter.show_default or parameter.name == "help" or default in (None, False, [], ()):
        return str(parameter.help or "")
    said = str(default).lower() if isinstance(default, bool) else str(default)
    return f"{parameter.help} \\[default: {said}]"


def _table(rows: list[tuple[str, str]], width: int) -> RenderableType:
    """Names beside descriptions, or above them where there is little room."""
    pairs = [(Text(name, "cyan"), Text.from_markup(told)) for name, told in rows]
    if width < NARROW:
        return Group(
            *(part for name, told in pairs for part in (name, Padding(told, (0, 0, 0, 4))))
        )
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    longest = max(name.cell_len for name, _ in pairs)
    table.add_column(width=min(longest, NAME_COLUMNS), overflow="fold")
    table.add_column(ratio=1, overflow="fold")
    for pair in pairs:
        table.add_row(*pair)
    return table
