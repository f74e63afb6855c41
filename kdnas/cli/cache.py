"""kdnas cache: what all runs share on this machine, and how to clear it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from kdnas.cli.help import HelpfulCommand
from kdnas.cli.options import with_output_flags
from kdnas.config import nearest
from kdnas.errors import KdnasError
from kdnas.files.cache import (
    FOLDER,
    KINDS,
    LIMIT,
    Entry,
    age_in_seconds,
    cache_folder,
    entries,
    limit_in_bytes,
    remove,
)
from kdnas.runtime.console import conclude
from kdnas.runtime.formatting import in_bytes
from kdnas.runtime.shown import quoted

WORDS = "|".join(KINDS)

app = typer.Typer(
    name="cache",
    help="Show or clear what runs share.\n\nThat is fine-tuned teachers, their outputs and general "
    f"students. {FOLDER} says where it is, {LIMIT} how large.",
)


@app.callback(invoke_without_command=True)
def alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def list_() -> None:
    """Show what is in the cache: where, how large, when last used."""
    there = entries()
    result = {
        "folder": str(cache_folder()),
        "bytes": sum(entry.size for entry in there),
        "limit": limit_in_bytes(),
        "entries": [_plain(entry) for entry in there],
    }
    conclude(result, _lines(there))


def clear(
    *,
    kind: list[str] | None = typer.Option(
        None,
        help="Only entries of this kind; may be repeated.",
        metavar=WORDS,
        autocompletion=lambda: list(KINDS),
    ),
    older_than: str | None = typer.Option(
        None, help="Only entries that no run used for so long: 12h, 30d, 2w.", metavar="AGE"
    ),
    all_: bool = typer.Option(False, "--all", help="All entries."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
) -> None:
    """Remove entries of the cache; a run that needs one makes it again.

    What a running process uses stays.
    """
    for name in kind or ():
        if name not in KINDS:
            raise KdnasError(f"invalid --kind {quoted(name)}{nearest(name, KINDS)}")
    if not (kind or older_than or all_):
        raise KdnasError("nothing chosen: give --all, --kind or --older-than")
    before = time.time() - age_in_seconds(older_than) if older_than else float("inf")

    def chosen(entry: Entry) -> bool:
        return entry.used < before and (not kind or entry.kind in kind)

    found = [entry for entry in entries() if chosen(entry)]
    if found and not yes:
        _ask(found)
    removed, kept = remove(chosen)
    size = in_bytes(sum(entry.size for entry in removed))
    lines = [f"removed {_count(removed)}, {size}"]
    lines += [f"kept {_count(kept)}, in use by a running process"] * bool(kept)
    result = {"removed": [_plain(e) for e in removed], "kept": [_plain(e) for e in kept]}
    conclude(result, lines)


def _ask(found: Sequence[Entry]) -> None:
    if not sys.stdin.isatty():
        raise KdnasError("there is nobody to ask: give --yes to clear the cache from a script")
    size = in_bytes(sum(entry.size for entry in found))
    typer.confirm(f"remove {_count(found)}, {size}, of {cache_folder()}?", abort=True, err=True)


def _count(found: Sequence[Entry]) -> str:
    return f"{len(found)} {'entry' if len(found) == 1 else 'entries'}"


def _plain(entry: Entry) -> dict[str, Any]:
    used = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(entry.used))
    paths = [str(path) for path in entry.paths]
    size = {"bytes": entry.size, "used": used, "in_use": entry.in_use}
    return {"kind": entry.kind, "name": entry.name, "about": entry.about, **size, "paths": paths}


def _lines(there: Sequence[Entry]) -> Iterator[str]:
    limit = limit_in_bytes()
    most = f" of at most {in_bytes(limit)}" if limit else ""
    total = in_bytes(sum(entry.size for entry in there))
    yield f"{cache_folder()}: {_count(there)}, {total}{most}"
    for entry in there:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        used = "  in use" if entry.in_use else ""
        what = f"{entry.name[:8]}  {entry.about}" if entry.about else entry.name
        yield f"  {when}  {in_bytes(entry.size):>8}  {entry.kind}/{what}{used}"
    for kind in dict.fromkeys(entry.kind for entry in there):
        own = [entry.size for entry in there if entry.kind == kind]
        yield f"{kind}: {KINDS[kind]}; {len(own)}, {in_bytes(sum(own))}"


app.command("list", cls=HelpfulCommand)(with_output_flags(list_))
app.command("clear", cls=HelpfulCommand)(with_output_flags(clear))
