"""Texts to label, in files and on standard input, and corpora."""

from __future__ import annotations

import codecs
import gzip
import json
import random
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from hostile.case import Case, Check, Result, to_bytes, written
from hostile.data import DEEP
from hostile.world import World

KIND = "texts"
PIECES = (
    *("a good film", "", " ", "x" * 900, "\x07\x1b[1m", "é", "a\tb", "\u2028", "\u202e", "🦊"),
    *(
        "\0",
        "\ufeff",
        "{",
        '"',
        "a,b",
        "\x85",
        "这部电影",
        "[MASK]",
        "[SEP] [SEP]",
        "</s>",
        "word " * 3000,
    ),
)
Content = str | bytes
# Files of texts: name, content, and how many answers there are; None: it must be refused.
FILES: Mapping[str, tuple[str, Content, int | None]] = {
    "lines": ("t.txt", "a\nb\nc\n", 3),
    "an empty file": ("t.txt", "", 0),
    "no last newline": ("t.txt", "a\nb", 2),
    "empty lines": ("t.txt", "a\n\nb\n", 3),
    "CRLF": ("t.txt", "a\r\nb\r\n", 2),
    "a mark of byte order": ("t.txt", codecs.BOM_UTF8 + b"a\nb\n", 2),
    "Latin-1": ("t.txt", b"caf\xe9\n", None),
    "UTF-16": ("t.txt", "a\nb\n".encode("utf-16"), 2),
    "UTF-16, big end first": ("t.txt", "\ufeffa\nb\n".encode("utf-16-be"), 2),
    "UTF-16 without a mark": ("t.txt", "a film\nb\n".encode("utf-16-le"), 2),
    "UTF-16 cut short": ("t.txt", "a\nb\n".encode("utf-16")[:-1], None),
    "a table in UTF-16": ("t.csv", "text,b\na,1\nb,2\n".encode("utf-16"), 2),
    "JSON lines in UTF-16": ("t.jsonl", '{"text": "a"}\n'.encode("utf-16-be"), 1),
    "semicolons": ("t.csv", "id;text\n1;a, b\n2;c\n", 2),
    "tabs in a .csv": ("t.csv", "id\ttext\n1\ta; b\n2\tc\n", 2),
    "an export of Excel": ("t.csv", '\ufefftext;b;;\r\n"a\nb; c";3,5;;\r\nd;1\r\n;;;\r\n', 2),
    "a first line sep=": ("t.csv", "sep=;\r\ntext;b\r\na;1\r\n", 1),
    "a first line sep= alone": ("t.csv", "sep=;\r\n", None),
    "a spreadsheet": ("t.xlsx", b"PK\3\4", None),
    "a spreadsheet of another name": ("t.dat", b"PK\3\4", None),
    "gzip": ("t.txt.gz", gzip.compress(b"a\nb\n"), None),
    "gzip cut short": ("t.jsonl.gz", gzip.compress(b'{"text": "a"}\n')[:-6], None),
    "a NUL": ("t.txt", "a\0b\nc\n", 2),
    "a long line": ("t.txt", "word " * 50_000 + "\n", 1),
    "one long word": ("t.txt", "x" * 300_000 + "\n", 1),
    "other separators of lines": ("t.txt", "a\u2028b\x85c\x0bd\x1ce\n", 1),
    "JSON lines": ("t.jsonl", '{"text": "a"}\n{"text": "b"}\n', 2),
    "an array": ("t.json", '[{"text": "a"}, {"text": "b"}]', 2),
    "an empty array": ("t.json", "[]", None),
    "a lone surrogate": ("t.jsonl", '{"text": "a \\ud800"}\n', 1),
    "null as a text": ("t.jsonl", '{"text": null}\n{"text": "b"}\n', 2),
    "ids of all kinds": ("t.jsonl", '{"text": "a", "id": [1, {"b": null}]}\n{"text": "b"}\n', 2),
    "NaN as an id": ("t.jsonl", '{"text": "a", "id": NaN}\n', 1),
    "100,000 brackets": ("t.jsonl", DEEP + "\n", None),
    "100,000 brackets in a field": ("t.jsonl", '{"text": ' + DEEP + "\n", None),
    "5,000 digits": ("t.jsonl", '{"text": "a", "id": ' + "9" * 5000 + "}\n", None),
    "no JSON": ("t.jsonl", "nothing\n", None),
    "a list": ("t.jsonl", "[1]\n", None),
    "a number as a text": ("t.jsonl", '{"text": 1}\n', None),
    "a list as a text": ("t.jsonl", '{"text": ["a"]}\n', None),
    "a key twice": ("t.jsonl", '{"text": "a", "text": "b"}\n', None),
    "another column": ("t.jsonl", '{"txet": "a", "b": 1}\n', None),
    "an only column": ("t.csv", "whatever\na\nb\n", 2),
    "a heading alone": ("t.csv", "text\n", 0),
    "fields of several lines": ("t.csv", 'text,b\n"a\nb",1\n"c ""d""",2\n', 2),
    "a column twice": ("t.csv", "text,text\na,b\n", None),
    "a row too long": ("t.csv", "text,b\na,1\nb,1,2\n", None),
    "a row too short": ("t.csv", "text,b\na,1\nb\n", None),
    "an open quote": ("t.csv", 'text,b\na,"1\n', None),
    "an empty table": ("t.csv", "", None),
    "garbage as Parquet": ("t.parquet", b"garbage", None),
    "an empty Parquet file": ("t.parquet", b"", None),
    "bytes": ("t.bin", bytes(range(128, 256)) * 9, None),
}
CORPORA: Mapping[str, tuple[str, Content]] = {
    "an empty corpus": ("c.txt", ""),
    "a corpus of empty lines": ("c.txt", "\n \n\t\n"),
    "a corpus in UTF-16, cut short": ("c.txt", ("a good film\n" * 50).encode("utf-16")[:-1]),
    "a corpus of bytes": ("c.txt", bytes(range(128, 256)) * 30),
    "a corpus of deep JSON": ("c.jsonl", DEEP + "\n"),
    "a corpus of numbers": ("c.jsonl", "9" * 5000 + "\n"),
    "a corpus without text": ("c.jsonl", '{"a": 1}\n' * 50),
    "a corpus of lists": ("c.jsonl", '{"text": ["a"]}\n' * 50),
    "a corpus cut short": ("c.jsonl", '{"text": "a'),
    "a corpus that is garbage": ("c.parquet", b"PAR1garbagePAR1"),
    "gzip that is none": ("c.txt.gz", b"a good film\n" * 9),
    "gzip cut short": ("c.txt.gz", gzip.compress(b"a good film\n" * 99)[:-9]),
    "a file of another kind": ("c.docx", b"PK\3\4"),
    "too few texts": ("c.txt", "one text\n"),
    "one text many times": ("c.txt", "one text\n" * 900),
    "a corpus of one column of numbers": ("c.jsonl", '{"text": 1}\n' * 50),
}


def cases(world: World, rng: random.Random) -> Iterator[Case]:
    """Named and random ones by turns: each hundred has both."""
    named = [*_named(world)]
    rng.shuffle(named)
    for i, case in enumerate(named):
        yield case
        if i % 2:
            yield _random(world, rng)
    while True:
        yield _random(world, rng)


def _named(world: World) -> Iterator[Case]:
    for what, (name, content, count) in FILES.items():
        yield _predict(world, what, name, content, count)
    for what, (name, content) in CORPORA.items():
        yield _corpus(world, what, name, content)
    places = {"nowhere.txt": "nowhere", "nope/nope": "nope", "": "--corpus", ".": "", "d": "d"}
    for place, word in places.items():
        given = [*_search(world), "--corpus", place]
        empty = written({"d/x.md": "a\n"})
        yield Case(KIND, f"--corpus {place!r}", given, prepare=empty, names=(word,))
    for what in ("lines", "Latin-1", "UTF-16", "an empty file", "a NUL", "CRLF", "bytes"):
        _, content, count = FILES[what]
        yield _piped(world, what, content, count)
    for file in ("", ".", "nowhere.csv", "/dev/null/x", "a" * 5000, "t.csv/x"):
        given = ["predict", str(world.alone), "--file", file]
        yield Case(KIND, f"--file {file[:20]!r}", given, prepare=written({"t.csv": "text\na\n"}))
    for more in (["--text-column", "nope"], ["--pair-column", "nope"], ["--text-column", ""]):
        given = ["predict", str(world.alone), "--file", "t.csv", *more]
        yield Case(KIND, " ".join(more), given, prepare=written({"t.csv": "text,b\na,b\n"}))


def _random(world: World, rng: random.Random) -> Case:
    """Odd texts in a sound file of any kind, or a line of odd bytes."""
    texts = ["".join(rng.choices(PIECES, k=rng.randint(1, 3))) for _ in range(rng.randint(1, 9))]
    how = rng.choice(["jsonl", "json", "arguments", "pairs", "txt", "csv", "corpus"])
    what = f"{how} {str(texts)[:60]}"
    if how == "arguments":
        told = [text for text in (t.replace("\0", "") for t in texts) if text.strip()] or ["a"]
        given = ["predict", str(world.alone), "--json", "--", *told]
        return Case(KIND, what, given, "work", check=_answers(len(told)))
    records = [json.dumps({"text": text, "text_pair": "b"}) for text in texts]
    if how == "corpus":
        return _corpus(world, what, "c.jsonl", "\n".join(records[:3]) + "\n")
    if how == "json":
        return _predict(world, what, "t.json", f"[{', '.join(records)}]", len(texts))
    if how == "pairs":
        lines = "".join(text.replace("\t", " ").replace("\n", " ") + "\tb\n" for text in texts)
        given = ["predict", "run", "--file", "t.txt", "--json"]
        return _of_run(world, what, given, lines, len(texts))
    if how == "jsonl":
        return _predict(world, what, "t.jsonl", "\n".join(records) + "\n", len(texts))
    data = bytearray(to_bytes("text\n" * (how == "csv") + "\n".join(texts) + "\n"))
    at = rng.randrange(len(data))
    data[at : at + 1] = rng.choice([b"\xff", b"\0", b'"', b"\r", b"\xed\xa0\x80", b"\xc3", b",,"])
    count = len(bytes(data).splitlines()) if how == "txt" else None
    return _predict(world, what, f"t.{how}", bytes(data), count, cope=True)


def _predict(
    world: World,
    what: str,
    name: str,
    content: Content,
    count: int | None,
    *,
    cope: bool = False,
) -> Case:
    given = ["predict", str(world.alone), "--file", name, "--json", "--device", "cpu"]
    expected = "cope" if cope else "refuse" if count is None else "work"
    # Lines of a spoilt text are counted by newlines alone.
    check = _as_many_as_lines(name) if cope and name.endswith("txt") else _answers(count)
    if cope and not name.endswith("txt"):
        check = _answers(None)
    return Case(KIND, what, given, expected, written({name: content}), check)


def _of_run(world: World, what: str, given: list[str], lines: str, count: int) -> Case:
    words = [str(world.run) if word == "run" else word for word in given]
    return Case(KIND, what, words, "work", written({"t.txt": lines}), _answers(count))


def _piped(world: World, what: str, content: Content, count: int | None) -> Case:
    """The same on standard input."""
    given = ["predict", str(world.alone), "-", "--json", "--device", "cpu"]
    expected = "refuse" if count is None else "work"
    write, shell = written({"t.txt": content}), f"{{}} < {shlex.quote('t.txt')}"
    return Case(KIND, f"piped: {what}", given, expected, write, _answers(count), shell=shell)


def _corpus(world: World, what: str, name: str, content: Content) -> Case:
    return Case(KIND, what, [*_search(world), "--corpus", name], prepare=written({name: content}))


def _search(world: World) -> list[str]:
    return ["search", *world.flags, "--trials", "1", "--out", "r"]


def _as_many_as_lines(name: str) -> Callable[[Path, Result], str | None]:
    def check(folder: Path, result: Result) -> str | None:
        data = (folder / name).read_bytes()
        count = data.count(b"\n") + (not data.endswith(b"\n"))
        return _answers(count)(folder, result)

    return check


def _answers(count: int | None) -> Check:
    def check(folder: Path, result: Result) -> str | None:
        rows = [json.loads(line) for line in result.out.split("\n") if line]
        if count is not None and len(rows) != count:
            return f"{len(rows)} answers instead of {count}"
        sums = [sum(row["probabilities"].values()) for row in rows]
        wrong = any(abs(s - 1) >= 1e-4 for s in sums)
        return "probabilities that do not sum to 1" if wrong else None

    return check
