"""One bad input: what is bad, the command that meets it, and what must come of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

# What must come: a refusal in one line; that, or the right result; the right result.
Expected = Literal["refuse", "cope", "work"]
PASSWORD = "hunter2secret"


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int | None  # None: it took too long
    out: str
    error: str
    seconds: float


# What is wrong with a result that was accepted, in words; None where it is right.
Check = Callable[[Path, Result], str | None]


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        kind: The group it is counted in.
        what: What is bad, in words.
        arguments: Of the command; it runs in a folder of its own.
        expected: What must come of it.
        prepare: Writes what the command reads, into that folder.
        check: Looks at an accepted result.
        environment: Variables; None removes one.
        shell: How it is started where it needs a process of its own; `{}` stands for the command.
        names: The message of a refusal has one of these words.
        may_change: Names of files that a refusal may leave or change.
    """

    kind: str
    what: str
    arguments: Sequence[str]
    expected: Expected = "refuse"
    prepare: Callable[[Path], object] | None = None
    check: Check | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict)
    shell: str = ""
    names: tuple[str, ...] = ()
    may_change: frozenset[str] = frozenset()


def written(files: Mapping[str, str | bytes]) -> Callable[[Path], None]:
    """Writes files below a case's folder."""

    def write(folder: Path) -> None:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else to_bytes(content)
            path.write_bytes(data)

    return write


def to_bytes(text: str) -> bytes:
    """UTF-8, lone surrogates as the three bytes that no reader of UTF-8 takes."""
    return text.encode("utf-8", "surrogatepass")


def by_turns(named: list[Case], make: Callable[[], Case], rng: random.Random) -> Iterator[Case]:
    """Named cases in any order and random ones by turns, so that each hundred has both."""
    rng.shuffle(named)
    for case in named:
        yield case
        yield make()
    while True:
        yield make()
