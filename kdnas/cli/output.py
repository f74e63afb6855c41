"""--quiet and --json, the same for every command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from kdnas.cli.shared import JsonOut
from kdnas.runtime.console import manner

Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress: errors and the result alone.")
]


def talking(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command --quiet and --json, which `kdnas.runtime.console` then obeys.

    A command tells its result by `kdnas.runtime.console.conclude`. One that has a `json_out` of
    its own prints its JSON itself.
    """
    own = inspect.signature(command, eval_str=True)
    itself = "json_out" in own.parameters

    @functools.wraps(command)
    def wrapped(*, quiet: bool, **given: Any) -> None:
        as_json = False if itself else given.pop("json_out")
        with manner(quiet=quiet, as_json=as_json):
            command(**given)

    added = {"quiet": Quiet} if itself else {"quiet": Quiet, "json_out": JsonOut}
    parameters = [
        *own.parameters.values(),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
            for name, kind in added.items()
        ),
    ]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped
