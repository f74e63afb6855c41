"""The command line: its commands, in the order of --help, and its exit codes."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import typer
from pydantic import ValidationError

from kdnas import __version__
from kdnas.cli import cache
from kdnas.cli.evaluate import evaluate
from kdnas.cli.export import export
from kdnas.cli.fidelity import fidelity
from kdnas.cli.help import HelpfulCommand
from kdnas.cli.options import with_output_flags
from kdnas.cli.predict import predict
from kdnas.cli.recipes import recipes
from kdnas.cli.report import report
from kdnas.cli.search import distill, resume, search, space, worker
from kdnas.config.read import in_our_words
from kdnas.errors import KdnasError
from kdnas.files.atomic import TOO_LARGE, lacks_room
from kdnas.runtime.environment import (
    check_environment,
    flush_streams,
    is_launched,
    prepare_process,
)
from kdnas.runtime.interrupt import exit_code, listening, message
from kdnas.runtime.plugins import load_plugins
from kdnas.runtime.shown import one_line, remember_secrets, shown

app = typer.Typer(name="kdnas", pretty_exceptions_enable=False)
# Typer brings its own copy of click or uses the installed one, by version.
UsageError: Any = typer.BadParameter.__mro__[1]
# What Typer makes of a KeyboardInterrupt, whichever signal it was.
INTERRUPTED = 130

for command in (
    search,
    resume,
    worker,
    space,
    recipes,
    distill,
    evaluate,
    predict,
    report,
    export,
    fidelity,
):
    app.command(cls=HelpfulCommand)(with_output_flags(command))
app.add_typer(cache.app)

WELCOME = """\
kdnas finds, trains and ships the best small student of a transformer.

  kdnas search                                      a first search, in minutes
  kdnas search --teacher roberta-base --task mrpc   your teacher, your task
  kdnas report RUN --open                           look at the result
"""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kdnas {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def alone(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", help="The version.", is_eager=True, callback=_print_version
    ),
) -> None:
    """Finds, trains and ships the best small student of a transformer language model."""
    if context.invoked_subcommand is None:
        typer.echo("\n".join((WELCOME, *_overview(context))))
        typer.echo("\nkdnas COMMAND --help lists a command's options.")


def _overview(context: typer.Context) -> Iterator[str]:
    """The commands, a line each of at most 80 columns."""
    group: Any = context.command
    for name in group.list_commands(context):
        yield f"  {name:<10} {group.get_command(context, name).get_short_help_str(67)}"


def main() -> None:
    """Entry point, also of each process that `accelerate launch` starts."""
    prepare_process()
    for word in sys.argv:
        remember_secrets(word)
    code = _in_words(_start)
    with suppress(KdnasError):
        flush_streams()
    sys.exit(code)


def _start() -> int:
    """Runs the command line in a process that stands alone or leads; others end within."""
    check_environment()
    load_plugins()  # the processes that follow do not come to run()
    if not is_launched():
        return run()
    from kdnas.runtime.distributed import lead_or_follow

    return lead_or_follow(run)


def run() -> int:
    """Runs the command line; bad input ends in one line and exit code 2, Ctrl-C in 130.

    Where no student keeps a hard limit, the code is 3.
    """
    return _in_words(_command)


def _command() -> int:
    with listening():
        code = app(standalone_mode=False)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    flush_streams()
    return code if isinstance(code, int) else 0


def _in_words(work: Callable[[], int]) -> int:
    """The exit code of some work, whose errors that are no mistake of ours are said in one line."""
    try:
        return work()
    except UsageError as error:
        return _failed(_of_usage(error))
    except KdnasError as error:
        return _failed(str(error), error.exit_code)
    except OSError as error:  # a file that no room has a better message for
        if told := _of_a_file(error):
            return _failed(told)
        raise
    except (KeyboardInterrupt, typer.Abort):
        return _failed(message(), exit_code())


def _of_usage(error: Any) -> str:
    """What Typer says of an option, as the settings' own checks say it, with the value."""
    message, cause = str(error.format_message()), error.__cause__
    found = re.fullmatch(r"Invalid value for '([^']*)': (.*)", message, re.DOTALL)
    if found is None:
        return message
    reason = re.sub(", unable to parse .*", "", found[2])
    told = cause.errors()[:1] if isinstance(cause, ValidationError) else []
    given = "".join(f" {shown(one['input'])}" for one in told)
    return f"invalid {found[1]}{given}: {in_our_words(reason)}"


def _of_a_file(error: OSError) -> str | None:
    """What an error says of a file or a stream; None where it names none."""
    number, where = lacks_room(error), error.filename or "standard output"
    if number == errno.EFBIG:
        return f"cannot write {where}: {TOO_LARGE}"
    if number:
        return f"no space left on the disk of {where}"
    return f"cannot use {where}: {error.strerror}" if error.filename and error.strerror else None


def _failed(message: str, code: int = 2) -> int:
    with suppress(OSError, ValueError):  # nobody reads it
        print(f"kdnas: {one_line(message)}", file=sys.stderr, flush=True)
    return code
