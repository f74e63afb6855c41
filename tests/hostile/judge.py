"""What is wrong with what a command did, in words."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

from hostile.case import PASSWORD, Case, Result

# Seconds that a case may take on a quiet machine, and characters of a message.
LIMIT = 20.0
LONGEST = 300
REFUSED = (2, 3)
WARNING = re.compile(
    r"\b[A-Z]\w*Warning\b|\[W\d+|\[transformers\]|^\[?(W|E)\d{4} |"
    r"For further information visit|pydantic\.dev|Some weights of|^INFO:|^WARNING:",
    re.MULTILINE,
)
THEIRS = re.compile(r"Input should be|Field required|Errno \d|object has no|not supported between")
# Caches that Python and libraries leave.
IGNORED = re.compile(r"__pycache__|\.lock$|-wal$|-shm$|-journal$")

State = dict[str, int]


def patience() -> float:
    """How many times longer than alone a command may take on a machine as busy as this one."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def state(folder: Path) -> State:
    """Names of all files and folders below a folder, each with a checksum of its content."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if not IGNORED.search(name):
            plain = path.is_file() and not path.is_symlink()
            found[name] = zlib.crc32(path.read_bytes()) if plain else 0
    return found


def wrong(
    case: Case, folder: Path, before: State, result: Result, seconds: float = LIMIT
) -> str | None:
    """What is wrong; None where nothing is.

    Args:
        before: The state of the case's folder when the command began.
        seconds: That it may take on a quiet machine.
    """
    said = result.out + result.error
    warning = WARNING.search(said)
    limit = seconds * patience() * (2 if case.shell else 1)  # loading torch is not the case's fault
    faults = {
        f"it took more than {limit:.0f} s": result.code is None or result.seconds > limit,
        "a traceback": "Traceback (most recent call last)" in said,
        f"it ended with code {result.code}": result.code not in (0, *REFUSED),
        f"a library's warning: {warning and warning[0]}": warning is not None,
        "a password is shown": PASSWORD in said,
        "a password is kept": PASSWORD in _written(folder, before),
        "raw control characters": bool(re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", said)),
        "files of a half-done write are left": any(folder.rglob("*.partial*")),
    }
    for fault, is_so in faults.items():
        if is_so:
            return fault
    if result.code == 0:
        return _of_result(case, folder, result)
    return _of_refusal(case, folder, before, result)


def _of_result(case: Case, folder: Path, result: Result) -> str | None:
    if case.expected == "refuse":
        return "accepted"
    if "--json" in case.arguments and not case.shell and (problem := _not_json(result.out)):
        return problem
    return case.check(folder, result) if case.check else None


def _of_refusal(case: Case, folder: Path, before: State, result: Result) -> str | None:
    if case.expected == "work":
        return f"refused: {result.error.strip()[-300:]}"
    if case.shell and ("2>&-" in case.shell or "/dev/full" in case.shell):
        return None  # nobody can read it
    return _of_message(case, folder, result.error) or _left(case, before, state(folder))


def _of_message(case: Case, folder: Path, error: str) -> str | None:
    lines = error.splitlines()
    messages = [line for line in lines if line.startswith("kdnas: ")]
    if len(messages) != 1 or not lines[-1].startswith("kdnas: "):
        return f"{len(messages)} lines with a message, and {len(lines) - len(messages)} others"
    message = messages[0]
    for place in (folder, folder.parent):
        message = message.replace(str(place), "~")
    if len(message) > LONGEST:
        return f"a message of {len(message)} characters"
    if message.rstrip().endswith((":", ";", ",")) or len(message) < len("kdnas: no x"):
        return "a message without its end"
    if theirs := THEIRS.search(message):
        return f"a library's words: {theirs[0]}"
    if case.names and not any(name.casefold() in message.casefold() for name in case.names):
        return f"the message names none of {', '.join(case.names)}"
    return None


def _left(case: Case, before: Mapping[str, int], after: Mapping[str, int]) -> str | None:
    """What a refusal left behind, or changed."""
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    found = sorted(
        name for name in changed if not {*Path(name).parts, Path(name).name} & case.may_change
    )
    return f"a refusal left or changed {', '.join(found[:5])}" if found else None


def _not_json(out: str) -> str | None:
    """What is wrong with the JSON that a command printed."""
    try:
        json.loads(out, parse_constant=_no_number)
        return None
    except ValueError:
        pass
    try:
        for line in filter(None, out.split("\n")):
            json.loads(line, parse_constant=_no_number)
    except ValueError as error:
        return f"standard output is not JSON: {error}"
    return None


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _written(folder: Path, before: State) -> str:
    """What kdnas wrote to the files in which passwords must not be."""
    secretless = ("config.yaml", "log.jsonl", "report.json", "report.html")
    now = state(folder)
    names = [n for n in now if Path(n).name in secretless and now[n] != before.get(n)]
    files = [folder / name for name in names if (folder / name).is_file()]
    return "".join(file.read_text(errors="replace") for file in files)
