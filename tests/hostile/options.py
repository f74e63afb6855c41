"""Options: out of bounds, of the wrong kind, contradicting each other; odd but legal paths."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from hostile.case import PASSWORD, Case, Check, Expected, Result
from hostile.world import World
from kdnas.config import Settings

KIND = "options"
NO_NUMBER = (
    *("nan", "inf", "-inf", "1e400", "9" * 400, "", " ", "abc", "0x10", "true", "[]", "é"),
    *("1,5", "--", "1 2", "\x1b[1m", "1\n2", "\u202e1", "٣٣٣٣٣٣٣٣٣٣٣٣", "1e-400x", "5%", "½"),
    *("-1", "-1e-9", "-99999999999999999999", "1e39", "1" + "0" * 30),
)
ODD = (
    *("\x1b[31mred", "a\nb", "\u202e", "x" * 5000, "'; DROP TABLE trials; --", "%s%n{}", "\udcff"),
    *("~nobody/x", "", " ", "\t", "-", "--", "None", "null", "../../../..", "🦊", "a\u2028b"),
)
PLACES = (
    *("", "/dev/null/x", "/proc/x", "nowhere/x/y.txt", "x" * 5000, "~nobody/x", "/dev/full", "."),
    *("a\nb/c", "\x1b[1m/x", "\udcff/x", "/" + "d/" * 2500, "file.txt/x", "file.txt"),
)
BOUNDS = {
    "seed": ("-1", "4294967296", "9" * 30),
    "trials": ("0", "-3", "1" + "0" * 12, "1.5"),
    "temperature": ("0", "1e300"),
    "worker_timeout": ("1e20", "0", "99999999999"),
    "threads": ("0", "1000000", "automatic"),
    "lr": ("0", "1e30", "-1e-3"),
    "logit_weight": ("1e300",),
    "speedup": ("0", "-2", "1e9"),
    "batch_size": ("0", "1" + "0" * 15),
    "max_length": ("7", "1" + "0" * 12),
    "proxy_fraction": ("0", "1.5"),
    "rungs": ("0", "99"),
    "alpha": ("1", "-1e300"),
    "epochs": ("-1", "1e30", "1e-300"),
    "latency_length": ("0", "100000000"),
    "latency_repeats": ("0", "3.5"),
}
URLS = (
    f"postgresql:/u:{PASSWORD}@h/db",
    f"postgresql://u:{PASSWORD}@:99999/db",
    f"postgresql://u:{PASSWORD}@[::1/db",
    f"postgresql://u:{PASSWORD}@127.0.0.1:1/db",
    f"postgresql://u:{PASSWORD}@127.0.0.1:port/db",
    f"postgresql://127.0.0.1:1/db?user=u&password={PASSWORD}",
    f"mysql//u:{PASSWORD}@h",
    f"u:{PASSWORD}@h",
    f"redis://:{PASSWORD}@127.0.0.1:1/0",
    f"http://u:{PASSWORD}@h/",
    f"sqlite+nope://u:{PASSWORD}@h/x.db",
    *("sqlite:///proc/nowhere/x.db", "sqlite:////dev/null/x.db", "journal:////dev/null/x"),
    *("journal:///", "grpc://127.0.0.1:1", "grpc://", "grpc://a b:1", "sqlite://", "://", ""),
)
# Each is one word of a shell, and legal as the name of a folder.
FOLDERS = (
    *("q?lr=1", "a%20b", "with space", "hash#1", "ünï", "semi;colon", "[x]", "-", "a&b", "100%"),
    *("a'b", 'a"b', "a\nb", "\udcffbytes", "🦊", "a\\b", "*", "{run}", "$HOME", "a:b", "name=1"),
)
# Those that say nothing of the work, or would reach out of the machine.
UNTOUCHED = ("--help", "--help-all", "--quiet", "--json", "--yes", "--open", "--push-to-hub")
SWITCHES = ("--force", "--yes")
CONTRADICTIONS: Mapping[str, tuple[str, ...]] = {
    "distill": ("--trial 0 --speedup 2", "--trial -1", "--trial 99999", "--speedup 1e9"),
    "export": ("--format pickle", "--format torch,nope", "--format ,", "--max-drop 2"),
    "evaluate": ("--no-fine-tune --grid", "--lrs a,b", "--lrs ,", "--batch-sizes 0", "--seeds 0"),
    "search": (
        *("--fresh-head --teacher-as-is", "--fresh-head --label-map 0,1", "--label-map 0,0"),
        *("--label-map 0,1,2", "--label-map nope,0", "--device tpu", "--device cuda:x"),
        *("--general-teacher nowhere", "--scorer nope", "--mini-score nope", "--task cola"),
        *("--corpus nowhere.txt", "--max-params 1", "extra"),
    ),
    "predict": ("--file t.csv", "--text-pair c", "--text-column x", "--threads 1 --threads 2 -- -"),
    "report": ("--png x.doc", "--plotly-js nope", "--out x.html", "run", "nowhere"),
    "resume": ("--seed 1", "--trials 1", "--teacher-lr 1e-3", "--label-map 0,1", "--epochs nan"),
    "fidelity": ("--students 0", "--students 10001", "--seeds -1", "--students 1"),
    "worker": ("--study nope", "--storage nope", "--out x", "--teacher x", "--data-dir x"),
    "space": ("--teacher nowhere/x/y", "--task mrpc", "--trials 3"),
    "cache clear": ("--kind nope", "--older-than", "--older-than 5", "--older-than -1d", ""),
    "cache list": ("x", "--all", "--kind teachers"),
}


@dataclass(frozen=True)
class Option:
    """An option of a command, as its help lists it."""

    command: str
    flag: str
    kind: str  # number, word, place, switch

    def given(self, value: str) -> str:
        return f"{self.flag}={value}"


def cases(world: World, rng: random.Random) -> Iterator[Case]:
    """The named ones, then others without end; the first hundred have some of each."""
    named = [*_named(world)]
    rng.shuffle(named)
    found = options()
    for case in named:
        yield case
        yield _option(world, rng, rng.choice(found))
    while True:
        yield _option(world, rng, rng.choice(found))


def _named(world: World) -> Iterator[Case]:
    for command, lines in CONTRADICTIONS.items():
        for line in lines:
            words = line.split() or [""]
            yield _case(world, f"{command} {line}", command, [w for w in words if w])
    for name, values in BOUNDS.items():
        flag = f"--{name.replace('_', '-')}"
        for value in values:
            yield _case(world, f"{flag} {value[:30]}", "search", [f"{flag}={value}"], names=(flag,))
    for url in URLS:
        names = ("storage", "study", "postgresql", "database")
        yield _case(world, f"--storage {url}", "search", ["--storage", url], names=names)
    for i, name in enumerate(FOLDERS):
        yield _at(world, ("report", "predict", "export", "resume", "worker")[i % 5], name)
    for name in FOLDERS[:3]:
        given = ["search", *world.flags, "--trials", "1", "--out", name]
        yield Case(KIND, f"search --out {name}", given, "work", check=_run_at(name))
    for words in (
        ["serach"],
        ["search", "--trails", "3"],
        ["--nope"],
        ["resume"],
        ["worker"],
        [""],
    ):
        yield Case(KIND, " ".join(words), words)


def _option(world: World, rng: random.Random, option: Option) -> Case:
    """An option with a value that it does not take, or that leads nowhere."""
    values = {"number": NO_NUMBER, "word": ODD, "place": PLACES, "switch": ("yes", "0", "")}
    value = rng.choice(values[option.kind])
    if option.kind == "word" and rng.random() < 0.3:
        value = "".join(rng.choice("aé\n\x1b%'\"{}\\\u202e🦊 ") for _ in range(rng.randint(1, 40)))
    what = f"{option.command} {option.flag} {value[:40]!r}"
    more = [option.given(value)]
    if option.kind == "word" and rng.random() < 0.2:
        more.append(option.flag)  # and no value
    cope = option.kind != "switch" and not (option.kind == "number" and value in NO_NUMBER[:20])
    return _case(world, what, option.command, more, cope=cope)


def options() -> list[Option]:
    """All options of all commands."""
    import typer.main

    from kdnas.cli.app import app

    found = []
    group: Any = typer.main.get_command(app)
    commands = dict(group.commands)
    if "cache" in commands:
        cache = commands.pop("cache")
        commands |= {f"cache {name}": each for name, each in cache.commands.items()}
    for command, each in commands.items():
        for parameter in each.params:
            flags = [flag for flag in getattr(parameter, "opts", ()) if flag.startswith("--")]
            if flags and flags[0] not in UNTOUCHED:
                found.append(Option(command, flags[0], _kind_of(parameter, flags[0])))
    return found


def _kind_of(parameter: Any, flag: str) -> str:
    if getattr(parameter, "is_flag", False):
        return "switch"
    field = Settings.model_fields.get(flag[2:].replace("-", "_"))
    name = str(parameter.type_descriptor).lower()
    kinds = set(get_args(field.annotation) or (field.annotation,)) if field else set()
    if kinds & {int, float} or any(word in name for word in ("int", "float", "range")):
        return "number"
    return "place" if Path in kinds or "path" in name or flag == "--corpus" else "word"


def _base(world: World, command: str) -> list[str]:
    """Arguments with which a command would do its work."""
    winner = str(world.winner)
    given = {
        "search": [*world.flags, "--trials", "1", "--out", "r"],
        "distill": ["run", "--trial", winner],
        "evaluate": [str(world.alone), "--task", "mrpc", "--data-dir", str(world.data)],
        "predict": [str(world.alone), "a", "--text-pair", "b"],
        "space": ["--teacher", str(world.teacher)],
        "export": ["run", "--format", "torch", "--out", "o"],
        "fidelity": ["run", "--students", "2"],
        "cache clear": ["--yes"],
        "cache list": [],
    }.get(command, ["run"])
    return [*command.split(), *given]


def _case(
    world: World,
    what: str,
    command: str,
    more: list[str],
    *,
    names: tuple[str, ...] = (),
    cope: bool = False,
) -> Case:
    base = _base(world, command)
    for word in more:  # in place of the base's own
        flag = word.partition("=")[0]
        if flag in base and flag != "--text-pair":
            at = base.index(flag)
            del base[at : at + (1 if flag in SWITCHES else 2)]
    if command == "distill" and any(word.startswith("--speedup") for word in more):
        base = base[:2]
    if command == "cache clear" and any("--older-than" in word for word in more):
        cope = True
    # Its own cache: what is cleared there is not missed.
    environment = {"KDNAS_CACHE": "cache"} if command.startswith("cache") else {}
    expected = "cope" if cope else "refuse"
    return Case(
        *(KIND, what, [*base, *more], expected, _prepared(world, base)),
        *(_nothing_odd, environment),
        names=names,
        may_change=frozenset({".lock", "cache", "log.jsonl"}),
    )


def _prepared(world: World, given: list[str]) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        (folder / "t.csv").write_text("text,text_pair\na,b\n")
        (folder / "file.txt").write_text("a\tb\n")
        if "run" in given:
            shutil.copytree(world.run, folder / "run")

    return prepare


def _nothing_odd(folder: Path, result: Result) -> str | None:
    """An odd value that was accepted must not have made folders with odd names."""
    names = [p.name for p in folder.iterdir()]
    odd = [name for name in names if name in ("", " ", "\t", "None", "null") or "\x1b" in name]
    return f"made {odd}" if odd else None


def _at(world: World, command: str, name: str) -> Case:
    """A command on a run in a folder of an odd name."""
    place = f"./{name}" if name.startswith("-") else name
    given = {
        "report": [place],
        "predict": [place, "a", "--text-pair", "b", "--json"],
        "export": [place, "--format", "torch", "--json"],
        "resume": [place],
        "worker": [place],
    }[command]
    # Databases want names that are Unicode.
    expected: Expected = "work" if name.isprintable() or "\n" in name else "cope"
    return Case(
        *(KIND, f"{command} on a run in {name}", [command, *given], expected),
        prepare=lambda folder: shutil.copytree(world.run, folder / name),
        check=_as_before(world, name),
    )


def _as_before(world: World, name: str) -> Check:
    def check(folder: Path, result: Result) -> str | None:
        beside = [p.name for p in folder.iterdir() if p.name != name]
        weights = "student/model.safetensors"
        same = (folder / name / weights).read_bytes() == (world.run / weights).read_bytes()
        return f"beside it: {beside}" if beside else None if same else "another student"

    return check


def _run_at(name: str) -> Check:
    def check(folder: Path, result: Result) -> str | None:
        made = folder / name
        missing = [n for n in ("study.db", "report.json", "student") if not (made / n).exists()]
        beside = [p.name for p in folder.iterdir() if p.name != name]
        return f"missing {missing}" if missing else f"beside it: {beside}" if beside else None

    return check
