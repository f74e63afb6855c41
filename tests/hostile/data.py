"""A task's data: good rows in a good file, of which one thing or more is spoilt."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hostile.case import Case, Check, Result, to_bytes, written
from hostile.world import World

KIND = "data"
TEXTS = ("the good cat sees the dull dog", "the bad film follows the slow city")
DEEP = "[" * 100_000
ENDINGS = ("csv", "tsv", "jsonl", "json", "parquet")
ENTRY = "task: mine\ndata_dir: .\ntasks:\n  mine:\n    text: [text]\n    label: label\n"

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """Data of a task, and what kdnas must make of them.

    Attributes:
        classes: Names of the classes that it must find; None: it must refuse the data.
        names: Words of which its refusal has one.
        more: Further lines of the task's entry.
        spoil: What happens to the written file.
    """

    what: str
    rows: Sequence[Row]
    classes: Sequence[str] | None = ("no", "yes")
    header: Sequence[str] = ("text", "label")
    endings: Sequence[str] = ENDINGS
    names: tuple[str, ...] = ()
    more: str = ""
    spoil: Callable[[bytes], bytes] | None = None


def good(*labels: object, count: int = 40) -> list[Row]:
    """Rows whose labels are these in turn."""
    words = labels or ("no", "yes")
    return [(f"{TEXTS[i % 2]} {i}", words[i % len(words)]) for i in range(count)]


def among(*new: Row) -> list[Row]:
    """Good rows with some others in the middle."""
    rows = good()
    return [*rows[:20], *new, *rows[20:]]


def content(table: Table, ending: str) -> bytes:
    """The table as a file; what a format cannot hold becomes a text."""
    header = list(table.header)
    if ending in ("csv", "tsv"):
        out = io.StringIO()
        writer = csv.writer(out, delimiter="\t" if ending == "tsv" else ",", lineterminator="\n")
        writer.writerows([header, *table.rows])
        data = to_bytes(out.getvalue())
    elif ending == "parquet":
        import pandas as pd

        buffer = io.BytesIO()
        pd.DataFrame(list(table.rows), columns=header).to_parquet(buffer)
        data = buffer.getvalue()
    else:
        records = [json.dumps(dict(zip(header, row, strict=False))) for row in table.rows]
        text = "\n".join(records) + "\n" if ending == "jsonl" else f"[{', '.join(records)}]"
        data = to_bytes(text)
    return table.spoil(data) if table.spoil else data


LINES = ("csv", "tsv")
JSON = ("jsonl", "json")
NUMBERS = "    type: regression\n"


def tables() -> list[Table]:
    """The named ones, in any of their formats."""
    labels = {
        "labels + - 0": (("+", "-", "0"), ("+", "-", "0")),
        "a dash as a label": (("-", "x"), ("-", "x")),
        "labels -1 0 1": (("-1", "0", "1"), ("-1", "0", "1")),
        "leading zeros": (("01", "1", "007"), ("01", "1", "007")),
        "labels of another case": (("NEG", "neg", "POS"), ("NEG", "POS")),
        "spaces around labels": (("yes ", " no"), ("no", "yes")),
        "two alphabets": (("да", "нет"), ("да", "нет")),
        "labels with commas and quotes": (('a,"b"', "c\td"), ('a,"b"', "c\td")),
        "labels of several lines": (("a\nb", "c"), ("a\nb", "c")),
        "labels that look like YAML": (("null", "~", "NaN"), ("NaN", "null", "~")),
        "true and false as words": (("true", "false"), ("false", "true")),
        "whole numbers with decimals": (("1.0", "2", "2.0"), ("1.0", "2")),
        "emoji": (("🙂", "🙁"), ("🙁", "🙂")),
    }
    plain = ("csv", "tsv", "jsonl", "json")  # pandas may read others' words as numbers
    found = [Table(w, good(*g), c, endings=plain) for w, (g, c) in labels.items()]
    return [
        *found,
        *_odd_tables(),
        *_as_others_write_them(),
        *_bad_labels(),
        *_bad_texts(),
        *_bad_files(),
        *_numbers(),
    ]


def _odd_tables() -> list[Table]:
    return [
        Table("plain rows", good()),
        Table("CRLF", good(), endings=LINES, spoil=lambda b: b.replace(b"\n", b"\r\n")),
        Table("a mark of byte order", good(), endings=LINES, spoil=lambda b: b"\xef\xbb\xbf" + b),
        Table("no last newline", good(), endings=(*LINES, "jsonl"), spoil=lambda b: b[:-1]),
        Table("empty lines", good(), endings=LINES, spoil=lambda b: b.replace(b"\n", b"\n\n")),
        Table("a heading of another case", good(), header=("TEXT", "Label")),
        Table("a further column", [(*r, 1) for r in good()], header=("text", "label", "n")),
        Table("quotes", among(('he said "no", twice', "yes"))),
        Table("several lines in a field", among(("a\nb\r\nc", "yes"))),
        Table("tabs in a field", among(("a\tb", "yes"))),
        Table("a huge field", among(("word " * 100_000, "yes"))),
        Table("one long word", among(("x" * 200_000, "yes"))),
        Table("line separators", among(("a\u2028b\x85c", "yes"))),
        Table("no words", among(("!!! ??? ...", "yes"))),
        Table("Chinese", among(("这部电影很好看", "yes"))),
        Table("right to left", among(("فيلم جيد \u202e", "yes"))),
        Table("control characters", among(("a\x07\x1b[31mb", "yes"))),
        Table("a lone surrogate", among(("a \ud800 b", "yes")), endings=JSON),
        Table("one text many times", [("the same", y) for _, y in good()]),
        Table("booleans", good(True, False), ("false", "true"), endings=JSON),
        Table("numbers", good(0, 1), ("0", "1"), endings=("jsonl", "json", "parquet")),
    ]


def _as_others_write_them() -> list[Table]:
    """Sound data in other encodings, with other delimiters, and as spreadsheets save them."""

    def coded(encoding: str, mark: str = "") -> Callable[[bytes], bytes]:
        return lambda data: (mark + data.decode()).encode(encoding)

    def separated(by: str, first: str = "", behind: str = "") -> Callable[[bytes], bytes]:
        """Rows of the file, rewritten; `behind` follows each of them."""

        def spoil(data: bytes) -> bytes:
            out = io.StringIO()
            writer = csv.writer(out, delimiter=by, lineterminator=f"{behind}\r\n")
            writer.writerows(csv.reader(io.StringIO(data.decode(), newline="")))
            return to_bytes(first + out.getvalue())

        return spoil

    rows, texts = among(("a; b, c", "yes"), ("a\tb\nc", "no")), (*LINES, *JSON)
    encodings = {
        "UTF-16": coded("utf-16"),
        "UTF-16, big end first": coded("utf-16-be", "\ufeff"),
        "UTF-16 without a mark": coded("utf-16-le"),
        "UTF-16 without a mark, big end first": coded("utf-16-be"),
        "UTF-32": coded("utf-32"),
    }
    tables = {
        "semicolons": separated(";"),
        "tabs in a .csv": separated("\t"),
        "bars": separated("|"),
        "a first line sep=": separated(";", "sep=;\n"),
        "an export of Excel": separated(";", "\ufeff", ";;"),
        "empty rows of Excel": lambda b: separated(";")(b) + b";\r\n" * 9,
        "empty fields behind": lambda b: b.replace(b",yes\n", b",yes,,\n"),
    }
    latin = Table("a named encoding", among(("café", "yes")), endings=texts, spoil=coded("cp1252"))
    numbers = Table("decimal commas", good("1,5", "2"), (), more=NUMBERS)
    return [
        *(Table(w, rows, endings=texts, spoil=s) for w, s in encodings.items()),
        *(Table(w, rows, endings=("csv",), spoil=s) for w, s in tables.items()),
        replace(latin, more="    encoding: cp1252\n", endings=LINES),
        replace(numbers, endings=("csv", "tsv", "jsonl", "parquet")),
    ]


def _bad_labels() -> list[Table]:
    listed = "    labels: ['yes', 'no']\n"
    bad: dict[str, tuple[list[Row], Sequence[str]]] = {
        "no label in a row": (among(("a b", "")), (*LINES, *JSON)),
        "no labels": ([(a, "") for a, _ in good()], (*LINES, *JSON)),
        "one class": (good("yes"), ENDINGS),
        "decimal labels": ([(a, str(i + 0.5)) for i, (a, _) in enumerate(good())], ENDINGS),
        "a class for each row": ([(a, f"c{i}") for i, (a, _) in enumerate(good())], ENDINGS),
        "a list as label": (among(("a b", ["a"])), JSON),
        "an object as label": (among(("a b", {"a": 1})), JSON),
        "lists as labels": (good(["a", "b"], ["a"]), ("jsonl", "json", "parquet")),
        "lists as words": (good("['a', 'b']", "['a']"), ENDINGS),
        "NaN as label": (among(("a b", float("nan"))), JSON),
        "null as label": (among(("a b", None)), JSON),
    }
    found = [Table(w, rows, None, endings=e, names=("label",)) for w, (rows, e) in bad.items()]
    unseen = Table("a class outside the list", among(("a b", "oui")), None, more=listed)
    without = Table("a listed class without rows", good("yes", "no"), ("yes", "no", "oui"))
    return [
        *found,
        replace(unseen, names=("oui",)),
        replace(without, more="    labels: ['yes', 'no', oui]\n"),
        Table("marked rows", good("yes", "no", "-"), None, more="    unlabelled: '-'\n"),
    ]


def _bad_texts() -> list[Table]:
    bad: dict[str, tuple[list[Row], Sequence[str]]] = {
        "no text in a row": (among(("", "yes")), (*LINES, *JSON)),
        "spaces as a text": (among((" \t ", "yes")), ENDINGS),
        "no texts": ([("", b) for _, b in good()], ENDINGS),
        "a list as text": (among((["a"], "yes")), JSON),
        "a number as text": (among((3, "yes")), JSON),
        "null as text": (among((None, "yes")), JSON),
        "two rows, one malformed": ([("a good film", "yes"), ("broken",)], LINES),
        "a row too long": (among(("a", "yes", "more")), LINES),
        "a row too short": (among(("a",)), LINES),
    }
    named = ("text", "field", "label")
    return [Table(w, rows, None, endings=e, names=named) for w, (rows, e) in bad.items()]


def _bad_files() -> list[Table]:
    rows = good()
    spoilt: dict[str, tuple[Callable[[bytes], bytes], Sequence[str]]] = {
        "an empty file": (lambda _: b"", ENDINGS),
        "spaces alone": (lambda _: b" \n \n", ("jsonl", "json")),
        "UTF-16 cut short": (lambda b: b.decode().encode("utf-16")[:-1], (*LINES, *JSON)),
        "a file of old Excel": (lambda _: b"\xd0\xcf\x11\xe0" + bytes(500), ENDINGS),
        "Latin-1": (lambda b: b.replace(b"cat", b"caf\xe9", 1), (*LINES, *JSON)),
        "bytes": (lambda _: bytes(range(256)) * 40, ENDINGS),
        "gzip under another name": (gzip.compress, ENDINGS),
        "a zip under another name": (lambda _: b"PK\3\4" + bytes(200), ENDINGS),
        "a page": (lambda _: b"<!doctype html><html><body>404</body></html>\n", ENDINGS),
        "a pointer of Git LFS": (
            lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n",
            ENDINGS,
        ),
        "Parquet cut short": (lambda b: b[: len(b) // 2], ("parquet",)),
        "Parquet with garbage inside": (lambda b: b[:40] + bytes(400) + b[440:], ("parquet",)),
        "an open quote": (lambda b: b.replace(b"the good", b'"the good', 1), LINES),
        "JSON cut short": (lambda b: b[:-9], JSON),
        "something behind an object": (lambda b: b.replace(b"}", b"} x", 1), JSON),
        "a list as a record": (lambda b: b + b"[1, 2]\n", ("jsonl",)),
        "100,000 brackets": (lambda b: b + DEEP.encode(), ("jsonl", "json")),
        "100,000 brackets in a field": (lambda _: b'{"text": ' + DEEP.encode(), JSON),
        "100,000 objects deep": (lambda _: b'{"a":' * 100_000, JSON),
        "5,000 digits": (lambda b: b.replace(b'"yes"', b"9" * 5000, 1), JSON),
        "a key twice": (lambda b: b.replace(b'{"text"', b'{"label": 1, "text"', 1), JSON),
    }
    heads = {
        "no label column": ("text", "lable"),
        "no text column": ("txet", "label"),
        "a heading twice": ("text", "text"),
    }
    return [
        *(Table(w, rows, None, endings=e, spoil=s) for w, (s, e) in spoilt.items()),
        *(Table(w, rows, None, header=h, endings=LINES, names=h) for w, h in heads.items()),
        *(Table(w, rows, None, header=h, endings=JSON) for w, h in list(heads.items())[:2]),
        Table("a heading alone", [], None, endings=LINES),
        Table(
            *("a column twice", [(*r, "x") for r in rows], None, ("text", "label", "label")),
            endings=LINES,
        ),
    ]


def _numbers() -> list[Table]:
    bad = (
        "1,500",
        "good",
        "inf",
        "nan",
        "1_000",
        "1e400",
        "-",
        "1,5",
        "0x10",
        "\u0661",
        "9" * 5000,
    )
    found = [
        Table(f"{word[:9]} as a score", [*good("1", "2.5"), ("a b", word)], None, more=NUMBERS)
        for word in bad
    ]
    return [
        *(replace(table, endings=("csv", "tsv", "jsonl")) for table in found),
        Table("one score", good("3"), None, more=NUMBERS),
        Table("huge scores", good("1e30", "2e30"), (), more=NUMBERS),
        Table("tiny scores", good("1e-30", "2e-30"), (), more=NUMBERS),
    ]


def cases(world: World, rng: random.Random) -> Iterator[Case]:
    """Named and random ones by turns: each hundred has both."""
    named = tables()
    rng.shuffle(named)
    for i, table in enumerate(named):
        yield _case(world, table, rng.choice(list(table.endings)))
        if i % 3 == 0:
            yield _mixed(world, rng)
        if i == len(named) // 2:
            yield from _folders(world)
    while True:
        yield _mixed(world, rng)


def _mixed(world: World, rng: random.Random) -> Case:
    """A named table in a format of its own, or a good one with a random piece of it spoilt."""
    if rng.random() < 0.4:
        table = rng.choice(tables())
        return _case(world, table, rng.choice(list(table.endings)))
    ending = rng.choice(["csv", "tsv", "jsonl", "json"])
    size, seed = rng.choice([1, 1, 3, 40]), rng.random()
    how = rng.choice(["cut", "zero", "noise", "quote", "break", "twice", "separator", "swap"])
    what = f"{how} {size} at {seed:.2f}"
    spoil = _spoiler(how, size, seed, "\t" if ending == "tsv" else ",")
    return _case(world, Table(what, good(), spoil=spoil), ending, cope=True)


def _spoiler(how: str, size: int, seed: float, separator: str) -> Callable[[bytes], bytes]:
    def spoil(data: bytes) -> bytes:
        at = int(seed * len(data))
        rng = random.Random(seed)
        piece = {
            "cut": b"",
            "zero": bytes(size),
            "noise": rng.randbytes(size),
            "quote": b'"' * size,
            "break": b"\n" * size,
            "twice": data[at : at + size] * 2,
            "separator": separator.encode() * size,
            "swap": data[at : at + size][::-1],
        }[how]
        return data[:at] + piece + data[at + size :]

    return spoil


def _folders(world: World) -> Iterator[Case]:
    """Places in which there are no data."""
    entry = {"mine.yaml": ENTRY}
    yield Case(KIND, "no folder", _search(world), prepare=written(entry))
    yield Case(KIND, "a folder as a file", _search(world), prepare=_folder_as_file)
    two = {**entry, "mine/train.csv": "text,label\n", "mine/train.jsonl": "{}\n"}
    yield Case(KIND, "two files of a split", _search(world), prepare=written(two), names=("train",))
    sheet = {**entry, "mine/train.xlsx": "PK"}
    yield Case(KIND, "a spreadsheet", _search(world), prepare=written(sheet), names=("CSV UTF-8",))
    other = {**entry, "mine/train.docx": "PK", "mine/readme": "a"}
    yield Case(KIND, "no file of a known kind", _search(world), prepare=written(other))
    yield Case(
        KIND, "a file as the folder", _search(world), prepare=written({**entry, "mine": "x"})
    )
    yield Case(KIND, "a link to nowhere", _search(world), prepare=_dangling)


def _folder_as_file(folder: Path) -> None:
    (folder / "mine" / "train.csv").mkdir(parents=True)
    (folder / "mine.yaml").write_text(ENTRY)


def _dangling(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "train.csv").symlink_to("nowhere")
    (folder / "mine.yaml").write_text(ENTRY)


def _case(world: World, table: Table, ending: str, *, cope: bool = False) -> Case:
    data, bad = content(table, ending), table.classes is None
    files = {"mine.yaml": ENTRY + table.more, f"mine/train.{ending}": data}
    expected = "cope" if cope else "refuse" if bad else "work"
    given = _search(world) if bad else _evaluate(world)
    # Classes that spoilt bytes may add are those that another reader finds.
    check = _same_reading(ending) if cope else _classes(table)
    return Case(
        *(KIND, f"{table.what} in {ending}", given, expected, written(files), check),
        names=table.names,
        may_change=frozenset({"o", "mine.lock"}) if cope else frozenset(),
    )


def _search(world: World) -> list[str]:
    """Refuses data before anything is trained."""
    flags = world.flags
    for flag in ("--task", "--data-dir"):
        at = flags.index(flag)
        del flags[at : at + 2]
    return ["search", *flags, "--trials", "1", "--out", "r", "--config", "mine.yaml"]


def _evaluate(world: World) -> list[str]:
    """Reads the data and trains on them for a moment."""
    given = ["evaluate", str(world.teacher), "--config", "mine.yaml", "--fine-tune"]
    given += ["--epochs", "0.2", "--threads", "1", "--device", "cpu", "--out", "o", "--json"]
    return given


def _classes(table: Table) -> Check:
    def check(folder: Path, result: Result) -> str | None:
        task = json.loads(result.out)["tasks"]["mine"]
        if not all(-1 <= v <= 1 for k, v in task["scores"].items() if k != "mae"):
            return f"scores {task['scores']}"
        found = _found(folder)
        if table.classes and sorted(found) != sorted(table.classes):
            return f"classes {found} instead of {list(table.classes)}"
        held_out = len(table.rows) // 10
        rows = task["rows"]["validation"]
        return None if abs(rows - held_out) <= 1 else f"{rows} rows held out of {len(table.rows)}"

    return check


def _found(folder: Path) -> list[str]:
    config = json.loads((folder / "o/mine/model/config.json").read_text())
    return list(config["id2label"].values())


def _same_reading(ending: str) -> Check:
    """Python's own readers find the same classes in a file that was accepted."""

    def check(folder: Path, result: Result) -> str | None:
        text = (folder / f"mine/train.{ending}").read_bytes().decode("utf-8-sig")
        if ending in LINES:
            reader = csv.DictReader(
                io.StringIO(text, newline=""), delimiter="\t" if ending == "tsv" else ","
            )
            labels = {row["label"] for row in reader if any(row.values())}
        else:
            records = (
                json.loads(text)
                if ending == "json"
                else map(json.loads, filter(str.strip, text.split("\n")))
            )
            labels = {row["label"] for row in records}
        expected = {str(label).strip().casefold() for label in labels}
        found = {name.casefold() for name in _found(folder)}
        return None if found == expected else f"classes {found} instead of {expected}"

    return check
