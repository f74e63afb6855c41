"""The command line: its commands, in the order of --help, and its exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from kdnas import __version__
from kdnas.cli.evaluate import evaluate
from kdnas.cli.export import export
from kdnas.cli.fidelity import fidelity
from kdnas.cli.overview import welcome
from kdnas.cli.predict import predict
from kdnas.cli.report import report
from kdnas.cli.search import distill, resume, search
from kdnas.cli.shared import with_output_flags
from kdnas.cli.space import space
from kdnas.cli.worker import worker
from kdnas.errors import KdnasError
from kdnas.files.atomic import is_full
from kdnas.runtime.interrupt import listening
from kdnas.runtime.plugins import load_plugins

app = typer.Typer(
    name="kdnas",
    pretty_exceptions_enable=False,
)

# Typer brings its own copy of click or uses the installed one, by version.
UsageError: Any = typer.BadParameter.__mro__[1]

COMMANDS = (search, resume, worker, space, distill, evaluate, predict, report, export, fidelity)
for command in COMMANDS:
    app.command()(with_output_flags(command))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kdnas {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def alone(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="The version.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Finds, trains and ships the best small student of a transformer language model."""
    if context.invoked_subcommand is None:
        for line in welcome(context):
            typer.echo(line)


def main() -> None:
    """Entry point, also of each process that `accelerate launch` starts."""
    if "LOCAL_RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from kdnas.runtime.distributed import lead_or_follow

        load_plugins()  # the processes that follow do not come to run()
        sys.exit(lead_or_follow(run))
    sys.exit(run())


def run() -> int:
    """Runs the command of the command line; bad input ends in one line and 2, Ctrl-C in 130.

    Returns:
        The exit code.
    """
    try:
        load_plugins()
        with listening():
            code = app(standalone_mode=False)
    except UsageError as error:
        _complain(error.format_message())
        code = 2
    except KdnasError as error:
        _complain(str(error))
        code = 2
    except OSError as error:  # a file that no room has a better message for
        if is_full(error):
            _complain(f"no space left on the disk of {error.filename or 'a file'}")
        elif error.filename and error.strerror:
            _complain(f"cannot use {error.filename}: {error.strerror}")
        else:
            raise
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted")
        code = 130
    return code if isinstance(code, int) else 0


def _complain(message: str) -> None:
    print(f"kdnas: {' '.join(message.split())}", file=sys.stderr)
