"""Data in a task's folder, corpora, and files of texts."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from hostile.case import Case, Check, Result
from hostile.world import World

KIND = "data"
TEXTS = ("the good cat sees the dull dog", "the bad film follows the slow city")
GOOD = [(f"{TEXTS[i % 2]} {i}", "yes" if i % 2 else "no") for i in range(40)]
TASK = "task: mine\ndata_dir: .\ntasks:\n  mine:\n    text: [text]\n    label: label\n"

Rows = Sequence[tuple[object, object]]


def csv_of(rows: Rows, separator: str = ",", head: str = "text,label") -> str:
    lines = [head.replace(",", separator), *(f"{a}{separator}{b}" for a, b in rows)]
    return "".join(f"{line}\n" for line in lines)


def json_of(rows: Rows) -> str:
    return "".join(json.dumps({"text": a, "label": b}) + "\n" for a, b in rows)


def with_row(rows: Rows, *new: tuple[object, object]) -> Rows:
    return [*rows[:20], *new, *rows[20:]]


def relabelled(*labels: object) -> Rows:
    return [(text, labels[i % len(labels)]) for i, (text, _) in enumerate(GOOD)]


DEEP = "[" * 100_000
# Name of the training file, its content, and whether it must be refused.
FILES: dict[str, tuple[str, str | bytes]] = {
    "an empty file": ("train.csv", ""),
    "a header alone": ("train.csv", "text,label\n"),
    "a header twice": ("train.csv", "text,label,label\n" + csv_of(GOOD)[11:].replace("\n", ",x\n")),
    "no label column": ("train.csv", csv_of(GOOD, head="text,lable")),
    "no text column": ("train.csv", csv_of(GOOD, head="txet,label")),
    "a row too long": ("train.csv", csv_of(with_row(GOOD, ("a,b,c", "yes")))),
    "a row too short": ("train.csv", csv_of(GOOD) + "alone\n"),
    "two rows, one malformed": ("train.csv", "text,label\na good film,yes\nbroken\n"),
    "an open quote": ("train.csv", csv_of(with_row(GOOD, ('"open', "yes")))),
    "empty texts": ("train.csv", csv_of([("", b) for _, b in GOOD])),
    "empty labels": ("train.csv", csv_of([(a, "") for a, _ in GOOD])),
    "one class": ("train.csv", csv_of(relabelled("yes"))),
    "decimal labels": ("train.csv", csv_of([(a, i + 0.5) for i, (a, _) in enumerate(GOOD)])),
    "UTF-16": ("train.csv", csv_of(GOOD).encode("utf-16")),
    "Latin-1": ("train.csv", csv_of(with_row(GOOD, ("caf\xe9", "yes"))).encode("latin-1")),
    "a NUL": ("train.csv", csv_of(with_row(GOOD, ("a\0b", "yes")))),
    "bytes": ("train.csv", bytes(range(256)) * 40),
    "a list as label": ("train.jsonl", json_of(with_row(GOOD, ("a b", ["a"])))),
    "a mapping as label": ("train.jsonl", json_of(with_row(GOOD, ("a b", {"a": 1})))),
    "lists as labels": ("train.jsonl", json_of(relabelled(["insult", "toxic"], ["toxic"]))),
    "NaN as label": ("train.jsonl", json_of(with_row(GOOD, ("a b", float("nan"))))),
    "null as label": ("train.jsonl", json_of(with_row(GOOD, ("a b", None)))),
    "a list as text": ("train.jsonl", json_of(with_row(GOOD, (["a"], "yes")))),
    "a list in place of a record": ("train.jsonl", json_of(GOOD) + "[1, 2]\n"),
    "no JSON": ("train.jsonl", json_of(GOOD) + "{text: a}\n"),
    "JSON cut short": ("train.jsonl", json_of(GOOD)[:-9]),
    "100,000 brackets": ("train.jsonl", json_of(GOOD) + DEEP + "\n"),
    "100,000 brackets in a field": ("train.jsonl", '{"text": ' + DEEP + "\n"),
    "5,000 digits": ("train.jsonl", json_of(GOOD) + '{"text": "a", "label": ' + "9" * 5000 + "}\n"),
    "keys twice": ("train.jsonl", json_of(GOOD) + '{"text": "a", "text": "b", "label": "yes"}\n'),
    "garbage as Parquet": ("train.parquet", b"PAR1" + bytes(range(256)) * 4 + b"PAR1"),
    "an empty Parquet file": ("train.parquet", b""),
    "gzip under another name": ("train.csv", gzip.compress(csv_of(GOOD).encode())),
    "a zip under another name": ("train.csv", b"PK\3\4" + bytes(200)),
    "a page": ("train.csv", "<!doctype html><html><body>404</body></html>\n"),
    "a pointer of Git LFS": (
        "train.csv",
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12\n",
    ),
}
# Odd, but the training data of a task; how many classes they have.
ODD: dict[str, tuple[str, str | bytes, int]] = {
    "CRLF": ("train.csv", csv_of(GOOD).replace("\n", "\r\n"), 2),
    "a BOM": ("train.csv", b"\xef\xbb\xbf" + csv_of(GOOD).encode(), 2),
    "a tab-separated file": ("train.tsv", csv_of(GOOD, "\t"), 2),
    "quotes in a tab-separated file": (
        "train.tsv",
        csv_of([(f'"{a}\nmore ""words"""', b) for a, b in GOOD], "\t"),
        2,
    ),
    "a lone surrogate": ("train.jsonl", json_of(with_row(GOOD, ("a \ud800 b", "yes"))), 2),
    "labels + - 0": ("train.csv", csv_of(relabelled("+", "-", "0")), 3),
    "labels -1 0 1": ("train.csv", csv_of(relabelled("-1", "0", "1")), 3),
    "leading zeros": ("train.csv", csv_of(relabelled("01", "1", "007")), 3),
    "booleans": ("train.jsonl", json_of(relabelled(True, False)), 2),
    "letter case": ("train.csv", csv_of(relabelled("NEG", "neg", "POS")), 2),
    "spaces": ("train.csv", csv_of(relabelled("yes ", " no")), 2),
    "a huge field": ("train.jsonl", json_of(with_row(GOOD, ("word " * 100_000, "yes"))), 2),
    "line separators": ("train.jsonl", json_of(with_row(GOOD, ("a\u2028b", "yes"))), 2),
    "no words": ("train.jsonl", json_of(with_row(GOOD, ("!!! ??? ...", "yes"))), 2),
    "Chinese": ("train.jsonl", json_of(with_row(GOOD, ("这部电影很好看", "yes"))), 2),
    "right to left": ("train.jsonl", json_of(with_row(GOOD, ("فيلم جيد \u202e", "yes"))), 2),
}
SCORES: dict[str, Rows] = {
    "words as scores": relabelled("good", "bad"),
    "inf as a score": with_row(relabelled("1", "2"), ("a b", "inf")),
    "nan as a score": with_row(relabelled("1", "2"), ("a b", "nan")),
    "1_000 as a score": with_row(relabelled("1", "2"), ("a b", "1_000")),
    "1e400 as a score": with_row(relabelled("1", "2"), ("a b", "1e400")),
    "one score": relabelled("3"),
}


def cases(world: World, rng: random.Random) -> Iterator[Case]:
    """The named ones, then others without end."""
    for what, (name, content) in FILES.items():
        yield _task(world, what, name, content)
    for what, (name, content, classes) in ODD.items():
        yield _task(world, what, name, content, classes=classes)
    for what, rows in SCORES.items():
        yield _task(world, what, "train.csv", csv_of(rows), entry="    type: regression\n")
    outside, listed = csv_of(relabelled("yes", "oui")), "    labels: ['yes', 'no']\n"
    yield _task(world, "a class outside the list", "train.csv", outside, entry=listed)
    given, entry = _search(world), lambda folder: (folder / "mine.yaml").write_text(TASK)
    yield Case(KIND, "no folder", given, prepare=entry)
    yield Case(KIND, "a folder as a file", _search(world), prepare=_folder_as_file)
    while True:
        yield _spoilt(world, rng)


def _spoilt(world: World, rng: random.Random) -> Case:
    """A good file with a random piece of it spoilt: whatever comes of it, it must be right."""
    name, text = rng.choice(
        [
            ("train.csv", csv_of(GOOD)),
            ("train.jsonl", json_of(GOOD)),
            ("train.tsv", csv_of(GOOD, "\t")),
        ]
    )
    data = bytearray(text.encode())
    at, size = rng.randrange(len(data)), rng.choice([1, 3, 40])
    how = rng.choice(["cut", "zero", "noise", "quote", "break", "twice"])
    piece = {
        "cut": b"",
        "zero": bytes(size),
        "noise": rng.randbytes(size),
        "quote": b'"' * size,
        "break": b"\n" * size,
        "twice": bytes(data[at : at + size]) * 2,
    }[how]
    data[at : at + size] = piece
    return _task(world, f"{name}: {how} {size} at {at}", name, bytes(data), cope=True)


def _task(
    world: World,
    what: str,
    name: str,
    content: str | bytes,
    *,
    entry: str = "",
    classes: int | None = None,
    cope: bool = False,
) -> Case:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    valid = "validation.csv"
    labels = sorted({str(b) for _, b in GOOD})

    def prepare(folder: Path) -> None:
        (folder / "mine").mkdir()
        (folder / "mine" / name).write_bytes(data)
        (folder / "mine.yaml").write_text(TASK + entry)

    expected = "cope" if cope else "refuse" if classes is None else "work"
    return Case(KIND, what, _search(world), expected, prepare, _classes(classes, labels, valid))  # type: ignore[arg-type]


def _search(world: World) -> list[str]:
    """The space of a task's data is read and the teacher fine-tuned by an evaluation."""
    given = [
        "evaluate",
        str(world.teacher),
        "--config",
        "mine.yaml",
        "--fine-tune",
        "--epochs",
        "0.2",
    ]
    return [*given, "--threads", "1", "--device", "cpu", "--out", "o", "--json"]


def _classes(count: int | None, labels: list[str], valid: str) -> Check:
    def check(folder: Path, result: Result) -> str | None:
        task = json.loads(result.out)["tasks"]["mine"]
        if not all(-1 <= v <= 1 for k, v in task["scores"].items() if k != "mae"):
            return f"scores {task['scores']}"
        found = json.loads((folder / "o/mine/model/config.json").read_text())["id2label"]
        if count is not None and len(found) != count:
            return f"classes {found} instead of {count}"
        return None

    return check


def _folder_as_file(folder: Path) -> None:
    (folder / "mine" / "train.csv").mkdir(parents=True)
    (folder / "mine.yaml").write_text(TASK)


def parquet(path: Path, rows: Rows) -> None:
    pd.DataFrame(rows, columns=["text", "label"]).to_parquet(path)


def text_files() -> dict[str, tuple[str, str | bytes, int | None]]:
    """Files of texts: name, content, and how many answers there are; None: it must be refused."""
    return {
        "lines": ("t.txt", "a\nb\nc\n", 3),
        "an empty file": ("t.txt", "", 0),
        "no last newline": ("t.txt", "a\nb", 2),
        "empty lines": ("t.txt", "a\n\nb\n", 3),
        "CRLF": ("t.txt", "a\r\nb\r\n", 2),
        "Latin-1": ("t.txt", b"caf\xe9\n", None),
        "UTF-16": ("t.txt", "a\nb\n".encode("utf-16"), None),
        "a NUL": ("t.txt", "a\0b\nc\n", 2),
        "a long line": ("t.txt", "word " * 50_000 + "\n", 1),
        "JSON lines": ("t.jsonl", '{"text": "a"}\n{"text": "b"}\n', 2),
        "a lone surrogate": ("t.jsonl", '{"text": "a \\ud800"}\n', 1),
        "100,000 brackets": ("t.jsonl", DEEP + "\n", None),
        "no JSON": ("t.jsonl", "nothing\n", None),
        "a list": ("t.jsonl", "[1]\n", None),
        "another column": ("t.jsonl", '{"txet": "a", "b": 1}\n', None),
        "a row too long": ("t.csv", "text,b\na,1\nb,1,2\n", None),
        "garbage as Parquet": ("t.parquet", b"garbage", None),
        "bytes": ("t.bin", bytes(range(128, 256)) * 9, None),
    }
