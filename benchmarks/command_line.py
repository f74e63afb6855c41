"""What the command lines of benchmarks share: arguments, refusals, and the command as recorded."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdnas.errors import KdnasError
from kdnas.files.atomic import check_writable, read_json, write_json

CHECKOUT = Path(__file__).resolve().parents[1]
# What stands in a recorded command for what is of one machine, by option.
PLACES = {
    **{"--data-dir": "DATA", "--out": "OUT", "--teacher": "TEACHER", "--corpus": "SENTENCES"},
    **{"--sentences": "SENTENCES", "--text": "SENTENCES", "--json": "docs/results.json"},
}


@contextmanager
def in_one_line() -> Iterator[None]:
    """Bad input ends a benchmark in its own words; also a decorator of its `main`."""
    try:
        yield
    except KdnasError as error:
        print(f"error: {error}", file=sys.stderr)
        ended = SystemExit(f"error: {error}")
        ended.code = error.exit_code  # with a text alone Python would exit with 1
        raise ended from None


def a_count(text: str) -> int:
    """A number of things, of which there shall be one at least."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, not {text!r}")
    return int(text)


def none_or_more(text: str) -> int:
    """A number of things, of which there may be none."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more, not {text!r}")
    return int(text)


def above_0(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, not {text!r}")
    return value


def a_file(text: str) -> Path:
    """A file that is there."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return Path(text)


def a_result(text: str) -> Path:
    """A file to write once all is computed: its folder is made now, and what cannot be is told now.

    What is in it stays but for an entry, so that a file that is no JSON object is refused.
    """
    path = Path(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_writable(path.parent)
    except (OSError, KdnasError) as error:
        raise argparse.ArgumentTypeError(f"cannot write {text}: {error}") from None
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder; give a file")
    if path.suffix == ".json" and path.exists() and path.stat().st_size:
        if (whole := read_json(path)) is None:
            raise argparse.ArgumentTypeError(f"{text} is not JSON; give another file")
        if not isinstance(whole, dict):
            raise argparse.ArgumentTypeError(f"{text} is JSON, but no object; give another file")
    return path


def entry_in(file: Path, name: str) -> dict[str, Any]:
    """An entry of a file of results; empty where it has none, or is no such file."""
    whole = read_json(file)
    found = whole.get(name) if isinstance(whole, dict) else None
    return found if isinstance(found, dict) else {}


def write_entry(file: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Writes an entry, with the command that made it; the others of the file stay."""
    made = {**entry, "command": this_command()}
    write_json(file, {**(read_json(file) or {}), name: made})


def a_part(text: str) -> tuple[int, int]:
    """`I/N`: every N-th, from the I-th on."""
    at, _, parts = text.partition("/")
    if not (at.isdecimal() and parts.isdecimal() and int(at) < int(parts)):
        raise argparse.ArgumentTypeError(f"expected I/N, I below N, such as 0/2, not {text!r}")
    return int(at), int(parts)


def this_command() -> str:
    """The command that runs, as results keep it: without the folders of one machine."""
    script, home = Path(sys.argv[0]).resolve(), CHECKOUT / "benchmarks"
    called = script.relative_to(home) if script.is_relative_to(home) else script.name
    words, option = ["python", f"benchmarks/{called}"], ""
    for given in sys.argv[1:]:
        for word in given.split("=", 1) if given.startswith("--") else [given]:
            option = word if word.startswith("--") else option
            words.append(word if word is option else _public(option, word))
    return shlex.join(words)


def _public(option: str, word: str) -> str:
    """A value of an option; paths are those in the checkout, others a place or a bare name."""
    path = Path(word)
    # A teacher may be a name on the hub, which says more than its place.
    if option in PLACES and (option != "--teacher" or path.exists()):
        return PLACES[option]
    if not (path.is_absolute() or ".." in path.parts):
        return word
    path = path.resolve()
    return str(path.relative_to(CHECKOUT)) if path.is_relative_to(CHECKOUT) else path.name
