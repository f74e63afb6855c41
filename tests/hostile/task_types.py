"""Data of tasks beyond one label: tagged words, questions on contexts, several labels a row."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostile.case import Case, Result, by_turns, to_bytes, written
from hostile.data import _evaluate, _search, _spoiler
from hostile.world import World

KIND = "types"
DEEP = "[" * 100_000
COUNT = 40
Record = dict[str, Any]


@dataclass(frozen=True)
class Given:
    """A file of a task, and what kdnas must make of it.

    Attributes:
        what: What is odd.
        entry: Lines of the task's entry.
        file: Its name in the task's folder.
        content: Of the file.
        good: Whether it must be accepted; None: it may be.
        names: Words of which a refusal has one.
        others: Further files of the folder.
    """

    what: str
    entry: str
    file: str
    content: bytes
    good: bool | None = True
    names: tuple[str, ...] = ()
    others: Mapping[str, bytes] | None = None


# Tagged words.

NER = "    type: token-classification\n"
WORDS = ("the", "good", "cat", "sees", "the", "dull", "city", "film")
TAGS = ("O", "O", "B-animal", "O", "O", "B-place", "I-place", "O")
Sentence = list[tuple[str, str]]


def sentences(*more: Sentence) -> list[Sentence]:
    """Good ones, with others in their middle."""
    plain = [list(zip(WORDS, TAGS, strict=True)) for _ in range(COUNT)]
    return [*plain[:20], *more, *plain[20:]]


def columns(rows: Sequence[Sentence], by: str = "\t", end: str = "\n") -> str:
    return (end * 2).join(end.join(f"{w}{by}{t}" for w, t in row) for row in rows) + end


def records(rows: Sequence[Sentence], *more: Record) -> list[Record]:
    plain = [{"tokens": [w for w, _ in r], "tags": [t for _, t in r]} for r in rows]
    return [*plain[:20], *more, *plain[20:]]


def lines(rows: Sequence[Record]) -> bytes:
    return to_bytes("".join(json.dumps(row) + "\n" for row in rows))


def tagged() -> list[Given]:
    """CoNLL columns and lists of words."""
    plain = columns(sentences())
    bioes = plain.replace("B-animal", "S-animal").replace("I-place", "E-place")
    iob1 = plain.replace("B-", "I-")
    good = {
        "columns": plain,
        "spaces for tabs": columns(sentences(), " "),
        "CRLF": columns(sentences(), end="\r\n"),
        "a mark of byte order": "\ufeff" + plain,
        "documents": "-DOCSTART- -X- -X- O\n\n" + columns(sentences(), " -X- _ "),
        "parts of speech between": columns(sentences(), "\tNN\t"),
        "BIOES": bioes,
        "IOB1": iob1,
        "many empty lines": plain.replace("\n\n", "\n\n\n \n\n"),
        "no last newline": plain.rstrip("\n"),
        "a word of no width": columns(sentences([("\u200b", "O"), ("cat", "B-animal")])),
        "emoji": columns(sentences([("🙂", "O"), ("cat", "B-animal")])),
        "Arabic": columns(sentences([("القاهرة", "B-place")])),
        "a huge word": columns(sentences([("x" * 100_000, "O")])),
        "a huge sentence": columns(sentences([("cat", "B-animal")] * 5000)),
        "I- behind another type": columns(sentences([("cat", "B-animal"), ("x", "I-place")])),
        "tags of another case": columns(sentences([("cat", "b-animal")])),
    }
    bad: dict[str, tuple[str, tuple[str, ...]]] = {
        "a word without a tag": (plain.replace("cat\tB-animal", "cat", 1), ("line 3",)),
        "O alone": (columns([[("the", "O"), ("cat", "O")]] * COUNT), ("tag",)),
        "one column": ("\n".join(WORDS * COUNT) + "\n", ("line", "column", "tag")),
        "empty lines alone": ("\n \n\n", ()),
        "nothing": ("", ()),
        "a page": ("<!doctype html>\n<html>\n", ()),
        "no scheme": (plain.replace("B-animal", "animal").replace("O\n", "none\n"), ()),
    }
    found = [Given(w, NER, "train.conll", to_bytes(text)) for w, text in good.items()]
    found += [Given(w, NER, "train.conll", to_bytes(t), False, n) for w, (t, n) in bad.items()]
    unseen = columns([[("cat", "B-planet"), ("the", "O")]])
    new = {"dev.conll": to_bytes(unseen)}
    found.append(Given("a new tag", NER, "train.conll", to_bytes(plain), False, ("planet",), new))
    return [*found, *_lists_of_words()]


def _lists_of_words() -> list[Given]:
    rows = sentences()
    good: dict[str, Record] = {
        "a sentence without words": {"tokens": [], "tags": []},
        "a word with a space": {"tokens": ["New York", "is"], "tags": ["B-place", "O"]},
        "an empty word": {"tokens": ["", "cat"], "tags": ["O", "B-animal"]},
    }
    bad: dict[str, Record] = {
        "a tag too many": {"tokens": ["cat"], "tags": ["B-animal", "O"]},
        "a tag too few": {"tokens": ["the", "cat"], "tags": ["O"]},
        "words in a text": {"tokens": "the cat", "tags": ["O", "B-animal"]},
        "tags in a text": {"tokens": ["the"], "tags": "O"},
        "a number as a word": {"tokens": [3], "tags": ["O"]},
        "a list as a tag": {"tokens": ["a"], "tags": [["O"]]},
        "null as tags": {"tokens": ["a"], "tags": None},
        "no words": {"tags": ["O"]},
        "an object as words": {"tokens": {"a": 1}, "tags": ["O"]},
    }
    file = "train.jsonl"
    found = [Given(f"{w} in JSON", NER, file, lines(records(rows, r))) for w, r in good.items()]
    found += [
        Given(f"{w} in JSON", NER, file, lines(records(rows, r)), False) for w, r in bad.items()
    ]
    numbers = [{**row, "tags": [len(t) for t in row["tags"]]} for row in records(rows)]
    return [*found, Given("numbers as tags", NER, file, lines(numbers), None)]


# Questions.

QA = "    type: question-answering\n"
CONTEXT = "The good cat sees the dull city near the slow river. It follows the bad film."


def question(i: int, **changed: Any) -> Record:
    """One with its answer; `changed` are other fields."""
    answer = ("dull city", "slow river", "bad film")[i % 3]
    answers = [{"text": answer, "answer_start": CONTEXT.index(answer)}]
    return {"id": f"q{i}", "question": f"what is thing {i} ?", "answers": answers, **changed}


def squad(*more: Record, context: str = CONTEXT, **whole: Any) -> bytes:
    """Four articles of ten questions, and a paragraph with others."""
    articles = [
        {"title": f"article {a}", "paragraphs": [{"context": context, "qas": part}]}
        for a, part in enumerate([[question(10 * a + i) for i in range(10)] for a in range(4)])
    ]
    if more:
        articles[0]["paragraphs"].append({"context": context, "qas": list(more)})
    return to_bytes(json.dumps({"version": "1.1", "data": articles, **whole}))


def asked() -> list[Given]:
    """SQuAD's form and tables."""
    start = CONTEXT.index("dull")
    none = question(90, answers=[], is_impossible=True)
    good = {
        "questions": squad(),
        "a mark of byte order": b"\xef\xbb\xbf" + squad(),
        "no answer": squad(none, question(91, answers=[], is_impossible=True)),
        "several answers": squad(question(90, answers=[*question(0)["answers"]] * 3)),
        "one id twice": squad(question(1)),
        "a huge question": squad(question(90, question="what " * 3000)),
        "a huge context": squad(context=CONTEXT + " and so on" * 300),
        "emoji around the answers": squad(context=f"{CONTEXT} 🙂 é"),
    }
    bad: dict[str, Record] = {
        "another text": {"answers": [{"text": "blue sky", "answer_start": start}]},
        "a start behind the end": {"answers": [{"text": "city", "answer_start": 10**9}]},
        "a start below 0": {"answers": [{"text": "city", "answer_start": -3}]},
        "a start as words": {"answers": [{"text": "city", "answer_start": "five"}]},
        "no start": {"answers": [{"text": "city"}]},
        "an empty answer": {"answers": [{"text": "", "answer_start": 0}]},
        "a list as an answer": {"answers": [["city", 3]]},
        "a number as answers": {"answers": 7},
        "no question": {"question": ""},
        "a number as a question": {"question": 3},
    }
    found = [Given(w, QA, "train.json", content) for w, content in good.items()]
    found += [
        Given(w, QA, "train.json", squad(question(90, **change)), False)
        for w, change in bad.items()
    ]
    spoilt = {
        "an empty context": squad(context=" "),
        "cut short": squad()[:-40],
        "no articles": to_bytes('{"version": "1.1", "data": []}'),
        "an object as articles": to_bytes('{"data": {"a": 1}}'),
        "a number as articles": to_bytes('{"data": 3}'),
        "no paragraphs": to_bytes('{"data": [{"title": "a"}]}'),
        "no questions": to_bytes('{"data": [{"paragraphs": [{"context": "a b"}]}]}'),
        "100,000 brackets": to_bytes('{"data": ' + DEEP),
        "nothing": b"",
    }
    found += [Given(w, QA, "train.json", content, False) for w, content in spoilt.items()]
    return [*found, *_tables_of_questions()]


def _tables_of_questions() -> list[Given]:
    def row(i: int, answers: Any) -> Record:
        return {"id": f"q{i}", "question": f"what is {i} ?", "context": CONTEXT, "answers": answers}

    start = CONTEXT.index("dull city")
    whole = {"text": ["dull city"], "answer_start": [start]}
    plain = [row(i, whole) for i in range(COUNT)]
    file = "train.jsonl"
    bad: dict[str, Any] = {
        "a start too few": {"text": ["dull city", "city"], "answer_start": [start]},
        "a text as answers": "dull city",
        "null as answers": None,
        "numbers as texts": {"text": [3], "answer_start": [0]},
    }
    found = [
        Given("questions in JSON lines", QA, file, lines(plain)),
        Given("an empty list in JSON lines", QA, file, lines([*plain, row(90, [])])),
    ]
    found += [
        Given(f"{w} in JSON lines", QA, file, lines([*plain, row(90, answers)]), False)
        for w, answers in bad.items()
    ]
    without = [{k: v for k, v in one.items() if k != "context"} for one in plain]
    return [*found, Given("no contexts", QA, file, lines(without), False, ("context",))]


# Several labels.

LISTED = "    type: multi-label\n    text: [text]\n    label: labels\n"
FLAGGED = "    type: multi-label\n    text: [text]\n    label: [cat, city]\n"
SETS = (["cat"], ["cat", "city"], [], ["city"])


def several() -> list[Given]:
    """Lists, joined words, and columns of 0 and 1."""
    rows = [{"text": f"the good cat {i}", "labels": SETS[i % 4]} for i in range(COUNT)]

    def flags(*more: object) -> bytes:
        cells = [(f"the cat {i}", i % 2, i // 2 % 2) for i in range(COUNT)]
        found = ["text,cat,city", *(f"{a},{b},{c}" for a, b, c in cells)]
        return to_bytes("\n".join([*found, *(f"a b,1,{cell}" for cell in more)]) + "\n")

    def joined(by: str) -> bytes:
        found = ["text\tlabels", *(f"{row['text']}\t{by.join(row['labels'])}" for row in rows)]
        return to_bytes("\n".join(found) + "\n")

    names = ("cat", "city")
    good = {
        "lists": (LISTED, "train.jsonl", lines(rows)),
        "bars": (LISTED, "train.tsv", joined("|")),
        "commas": (LISTED, "train.tsv", joined(", ")),
        "semicolons": (LISTED, "train.tsv", joined(";")),
        "columns of 0 and 1": (FLAGGED, "train.csv", flags()),
        "vectors": (
            LISTED + "    labels: [cat, city]\n",
            "train.jsonl",
            lines([{**row, "labels": [int(n in row["labels"]) for n in names]} for row in rows]),
        ),
    }
    bad: dict[str, object] = {
        "a label twice": ["cat", "cat"],
        "a list in a list": [["cat"]],
        "an object": {"cat": 1},
        "a null inside": ["cat", None],
    }
    found = [Given(w, *parts) for w, parts in good.items()]
    for what, cell in bad.items():
        content = lines([*rows, {"text": "a", "labels": cell}])
        found.append(Given(f"{what} among lists", LISTED, "train.jsonl", content, False))
    found += [
        Given(f"{cell!r} among 0 and 1", FLAGGED, "train.csv", flags(cell), False, ("city",))
        for cell in (2, "maybe", "-", 0.5)
    ]
    missing = FLAGGED.replace("city", "town")
    none = lines([{**row, "labels": []} for row in rows])
    new = {"dev.jsonl": lines([{"text": "a", "labels": ["moon"]}])}
    return [
        *found,
        Given("no such column", missing, "train.csv", flags(), False, ("town",)),
        Given("no labels at all", LISTED, "train.jsonl", none, False),
        Given("a new label", LISTED, "train.jsonl", lines(rows), False, ("moon",), new),
    ]


def cases(world: World, rng: random.Random) -> Iterator[Case]:
    """Named ones, and good ones with random bytes spoilt, by turns."""
    given = [*tagged(), *asked(), *several()]
    sound = [one for one in given if one.good and len(one.content) < 100_000]

    def mixed() -> Case:
        one = rng.choice(sound)
        how = rng.choice(["cut", "zero", "noise", "quote", "break", "twice", "separator", "swap"])
        size, seed = rng.choice([1, 1, 3, 40]), rng.random()
        spoilt = _spoiler(how, size, seed, "\t")(one.content)
        what = f"{one.what}, {how} {size} at {seed:.2f}"
        return _case(world, Given(what, one.entry, one.file, spoilt, None))

    return by_turns([_case(world, one) for one in given], mixed, rng)


def _case(world: World, one: Given) -> Case:
    entry = f"task: mine\ndata_dir: .\ntasks:\n  mine:\n{one.entry}"
    files: dict[str, str | bytes] = {"mine.yaml": entry, f"mine/{one.file}": one.content}
    files |= {f"mine/{name}": content for name, content in (one.others or {}).items()}
    expected = {True: "work", False: "refuse", None: "cope"}[one.good]
    refused = one.good is False
    return Case(
        *(KIND, f"{one.what}, {one.file}", _search(world) if refused else _evaluate(world)),
        *(expected, written(files), None if refused else _scored),  # type: ignore[arg-type]
        names=one.names,
        may_change=frozenset({"o", "mine.lock"}) if one.good is None else frozenset(),
    )


def _scored(folder: Path, result: Result) -> str | None:
    """Its scores are numbers of the usual size, its model is there."""
    task = json.loads(result.out)["tasks"]["mine"]
    if not task["scores"] or not all(-1 <= v <= 1 for v in task["scores"].values()):
        return f"scores {task['scores']}"
    if not sum(task["rows"].values()):
        return "no row was scored"
    return None if (folder / "o/mine/model/config.json").exists() else "it left no model"
