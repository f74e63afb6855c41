"""Options: out of bounds, of the wrong kind, contradicting each other; odd but legal paths."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args, get_origin

from hostile.case import PASSWORD, Case
from hostile.world import World
from kdnas.config import Settings

KIND = "options"
NO_NUMBER = (
    "nan",
    "inf",
    "-inf",
    "1e400",
    "9" * 400,
    "",
    "abc",
    "0x10",
    "1_000",
    "true",
    "[]",
    "é",
)
ODD = ("\x1b[31mred", "a\nb", "\u202e", "x" * 5000, "'; DROP TABLE trials; --", "%s%n", "~nobody/x")
FREE = ("study", "out", "storage", "label_map")  # any word will do, or they have cases of their own
BOUNDS = {
    "seed": ("-1", "4294967296", "9" * 30),
    "trials": ("0", "-3", "1e3", "1" + "0" * 12),
    "temperature": ("0", "1e300", "-1"),
    "worker_timeout": ("1e20", "0", "99999999999"),
    "threads": ("0", "1000000", "-1"),
    "lr": ("0", "1e30", "-1e-3"),
    "logit_weight": ("1e300", "-1"),
    "speedup": ("0", "-2", "1e9"),
    "batch_size": ("0", "-1", "1" + "0" * 15),
    "max_length": ("0", "7", "1" + "0" * 12),
    "proxy_fraction": ("0", "1.5"),
    "rungs": ("0", "99"),
    "alpha": ("1", "-1e300"),
    "epochs": ("-1", "1e30"),
    "latency_length": ("0", "100000000"),
    "latency_batch": ("0", "100000000"),
}
URLS = (
    f"postgresql:/u:{PASSWORD}@h/db",
    f"postgresql://u:{PASSWORD}@:99999/db",
    f"postgresql://u:{PASSWORD}@[::1/db",
    f"mysql//u:{PASSWORD}@h",
    f"redis://:{PASSWORD}@127.0.0.1:1/0",
    "sqlite:///proc/nowhere/x.db",
    f"http://u:{PASSWORD}@h/",
    "grpc://127.0.0.1:1",
    "sqlite://",
    "",
)
PATHS = (
    "q?lr=1",
    "a%20b",
    "with space",
    "hash#1",
    "ünï",
    "semi;colon",
    "[x]",
    "-",
    "a&b",
    "100%",
    "a'b",
)
OTHERS = (
    ("distill", "{run}", "--trial", "-1"),
    ("distill", "{run}", "--trial", "99999"),
    ("distill", "{run}", "--trial", "abc"),
    ("distill", "{run}", "--speedup", "nan"),
    ("distill", "{run}", "--speedup", "1e9"),
    ("distill", "{run}", "--trial", "0", "--speedup", "2"),
    ("distill", "{run}"),
    ("export", "{run}", "--format", "pickle", "--out", "o"),
    ("export", "{run}", "--format", "", "--out", "o"),
    ("export", "{run}", "--trial", "99", "--out", "o"),
    ("export", "nowhere", "--out", "o"),
    ("fidelity", "{run}", "--students", "0"),
    ("fidelity", "{run}", "--students", "99"),
    ("fidelity", "{run}", "--seeds", "-1"),
    ("evaluate", "{run}/student", "--task", "mrpc", "--epochs", "nan"),
    ("evaluate", "{run}/student", "--task", "mrpc", "--lrs", "a,b"),
    ("evaluate", "{run}/student", "--task", "nope"),
    ("evaluate", "{run}/student", "--task", ""),
    ("evaluate", "{run}/studnet"),
    ("evaluate", "nope/nope", "--task", "mrpc"),
    ("predict", "{run}", "--file", "nowhere.txt"),
    ("predict", "{run}", "a", "--text-pair", "b", "--text-pair", "c"),
    ("predict", "nowhere", "a text"),
    ("report", "nowhere"),
    ("report", "{run}", "--png", "x.doc"),
    ("resume", "nowhere"),
    ("resume", "{run}", "--seed", "1"),
    ("resume", "{run}", "--trials", "1"),
    ("worker",),
    ("worker", "nowhere"),
    ("space", "--teacher", "nowhere/x/y"),
    ("search", "--task", ""),
    ("search", "--fresh-head", "--teacher-as-is"),
    ("search", "--fresh-head", "--label-map", "0,1"),
    ("search", "--trails", "3"),
    ("serach",),
    ("search", "extra"),
)


def cases(world: World, rng: random.Random) -> Iterator[Case]:
    """The named ones, then others without end."""
    for words in OTHERS:
        given = [word.format(run="run") for word in words]
        if words[0] == "evaluate":
            given += ["--data-dir", str(world.data)]
        yield Case(KIND, " ".join(words), given, prepare=_copy(world))
    for name, values in BOUNDS.items():
        for value in values:
            yield _setting(world, name, value)
    for url in URLS:
        yield Case(
            KIND, f"--storage {url}", ["search", *world.flags, "--storage", url, "--out", "r"]
        )
    for path in PATHS:
        given = ["search", *world.flags, "--trials", "1", "--out", path]
        yield Case(KIND, f"--out {path}", given, "work", check=_run_at(path))
    numbers, words = _fields()
    while True:
        if rng.random() < 0.7:
            yield _setting(world, rng.choice(numbers), rng.choice(NO_NUMBER))
        else:
            yield _setting(world, rng.choice(words), rng.choice(ODD))


def _copy(world: World) -> Callable[[Path], object]:
    return lambda folder: shutil.copytree(world.run, folder / "run")


def _setting(world: World, name: str, value: str) -> Case:
    flag = f"--{name.replace('_', '-')}"
    given = ["search", *world.flags, "--trials", "1", "--out", "r", f"{flag}={value}"]
    return Case(KIND, f"{flag} {value[:40]!r}", given)


def _fields() -> tuple[list[str], list[str]]:
    """Settings that are numbers, and those that are words which must be known."""
    numbers, words = [], []
    for name, field in Settings.model_fields.items():
        kinds = set(get_args(field.annotation) or (field.annotation,))
        if get_origin(field.annotation) in (dict, tuple) or name in FREE:
            continue
        if kinds & {int, float}:
            numbers.append(name)
        elif bool not in kinds and name != "data_dir":
            words.append(name)
    return numbers, words


def _run_at(path: str) -> object:
    def check(folder: object, result: object) -> str | None:
        made = folder / path  # type: ignore[operator]
        missing = [n for n in ("study.db", "report.json", "student") if not (made / n).exists()]
        beside = [p.name for p in folder.iterdir() if p.name != path]  # type: ignore[attr-defined]
        return f"missing {missing}" if missing else f"beside it: {beside}" if beside else None

    return check
