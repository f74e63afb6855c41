"""Texts to label, and corpora."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from hostile.case import Case, Check, Result
from hostile.data import DEEP, text_files
from hostile.world import World

KIND = "texts"
LINES = ("a good film", "", " ", "\ud800", "x" * 900, "\x07\x1b[1m", "é", "a\tb")
CORPORA: dict[str, tuple[str, str | bytes]] = {
    "an empty corpus": ("c.txt", ""),
    "a corpus of empty lines": ("c.txt", "\n\n\n"),
    "a corpus in UTF-16": ("c.txt", "a good film\n".encode("utf-16") * 50),
    "a corpus of bytes": ("c.txt", bytes(range(128, 256)) * 30),
    "a corpus of deep JSON": ("c.jsonl", DEEP + "\n"),
    "a corpus of numbers": ("c.jsonl", "9" * 5000 + "\n"),
    "a corpus without text": ("c.jsonl", '{"a": 1}\n' * 50),
    "a corpus of lists": ("c.jsonl", '{"text": ["a"]}\n' * 50),
    "a corpus cut short": ("c.jsonl", '{"text": "a'),
    "garbage as Parquet": ("c.parquet", b"PAR1garbagePAR1"),
    "too few texts": ("c.txt", "one text\n"),
}


def cases(world: World, rng: random.Random) -> Iterator[Case]:
    """The named ones, then others without end."""
    for what, (name, content, count) in text_files().items():
        yield _predict(world, what, name, content, count)
    for what, (name, content) in CORPORA.items():
        yield _corpus(world, what, name, content)
    for what in ("nowhere.txt", "nope/nope", "", "."):
        given = ["search", *world.flags, "--trials", "1", "--out", "r", "--corpus", what]
        yield Case(KIND, f"--corpus {what!r}", given)
    while True:
        lines = [rng.choice(LINES) for _ in range(6)]
        if rng.random() < 0.5:
            content = "".join(json.dumps({"text": line, "n": "b"}) + "\n" for line in lines)
            yield _predict(world, f"JSON lines {lines}", "t.jsonl", content, len(lines))
        else:
            end = rng.choice([b"", b"\n", rng.randbytes(9)])
            data = "\n".join(lines).encode("utf-8", "surrogatepass") + end
            yield _predict(world, f"text {data[:60]!r}", "t.txt", data, None, cope=True)


def _predict(
    world: World,
    what: str,
    name: str,
    content: str | bytes,
    count: int | None,
    *,
    cope: bool = False,
) -> Case:
    given = ["predict", str(world.alone), "--file", name, "--json", "--device", "cpu"]
    expected = "cope" if cope else "refuse" if count is None else "work"
    return Case(KIND, what, given, expected, _write(name, content), _answers(count))  # type: ignore[arg-type]


def _corpus(world: World, what: str, name: str, content: str | bytes) -> Case:
    given = ["search", *world.flags, "--trials", "1", "--out", "r", "--corpus", name]
    return Case(KIND, what, given, prepare=_write(name, content))


def _write(name: str, content: str | bytes) -> Callable[[Path], object]:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def _answers(count: int | None) -> Check:
    def check(folder: Path, result: Result) -> str | None:
        rows = [json.loads(line) for line in result.out.splitlines()]
        if count is not None and len(rows) != count:
            return f"{len(rows)} answers instead of {count}"
        sums = [sum(row["probabilities"].values()) for row in rows]
        return (
            None if all(abs(s - 1) < 1e-4 for s in sums) else "probabilities that do not sum to 1"
        )

    return check
