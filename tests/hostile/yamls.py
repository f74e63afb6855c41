"""YAML files: of options, recipes, tasks, spaces and runs."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from hostile.case import PASSWORD, Case, Check, Result, by_turns, to_bytes
from hostile.world import World
from kdnas.config import Settings

KIND = "yaml"
TASK = "task: mine\ntasks:\n  mine:\n    text: [a]\n    label: b\n    labels: [x, y]\n"
STAGES = (
    "stages:\n  - {name: one, data: task, losses: {task: 1, logits: 1}, epochs: 1, lr: 1.0e-4}\n"
)
SPACE = "space:\n  hidden_size: [16, 32]\n  num_hidden_layers: [1, 2]\n"
OPTIONS = "seed: 1\nmax_length: 32\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(8)
)
# Whole files that hold no options.
WHOLE: Mapping[str, str | bytes] = {
    **{"false": "false\n", "zero": "0\n", "an empty list": "[]\n", "an empty text": "''\n"},
    **{"a text": "just a text\n", "a list": "- a: 1\n", "a date": "2001-01-01\n", "NaN": ".nan\n"},
    "duplicate keys": "trials: 1\ntrials: 2\n",
    "duplicate keys below": "space:\n  hidden_size: [16]\n  hidden_size: [32]\n",
    "keys that are one with underscores": "mini-lr: 1.0e-3\nmini_lr: 1.0e-4\n",
    "an alias bomb": BOMB,
    "an alias bomb in a known key": BOMB.replace("i: &i", "space: &i"),
    "a list that holds itself": "space: &a [*a]\n",
    "an alias of nothing": "space: *nowhere\n",
    "merged keys of a list": "space: {<<: [1, 2]}\n",
    "an open bracket": "space: [1, 2\n",
    "a tab": "trials:\n\t- 1\n",
    "UTF-16": "trials: 1\n".encode("utf-16"),
    "UTF-16 without a mark": "trials: 1\n".encode("utf-16-le"),
    "UTF-32": "trials: 1\n".encode("utf-32"),
    "a NUL": b"trials: 1\0\n",
    "bytes": bytes(range(128, 256)) * 20,
    "a large file": b"# a\n" * 300_000,
    "two documents": "trials: 1\n---\ntrials: 2\n",
    "1,500 levels": "space: " + "[" * 1500 + "]" * 1500 + "\n",
    "1,500 levels of mappings": "".join(f"{' ' * i}a:\n" for i in range(1500)),
    "100,000 open brackets": "space: " + "[" * 100_000,
    "a number as a key": "1: 2\n",
    "null as a key": "~: 2\n",
    "a list as a key": "? [a, b]\n: 2\n",
    "a mapping as a key": "? {a: b}\n: 2\n",
    "an unknown key": "trails: 3\n",
    "an endless key": f"{'k' * 3000}: 1\n",
    "control characters in a key": '"\\e[31mred": 1\n',
    "an unknown tag": "seed: !nope 1\n",
}
# Values that few keys take; what each key makes of them is for kdnas to say.
VALUES = (
    *("2001-99-99", "2001-01-01", "12:30:45", "!!int abc", "!!float abc", "!!bool maybe"),
    *("!!python/object/apply:os.system ['touch ran']", "!!python/name:os.system ''"),
    *("!!binary aGk=", "!!set {a, b}", "!!omap [a: 1]", "!!timestamp 2001-99-99", "!!null x"),
    *("9" * 5000, "-" + "9" * 5000, "0x" + "f" * 5000, "1e999", "1e-999", ".nan", ".inf", "-.inf"),
    *("190:20:30", "0o17", "0b12", "017", "1_000", "+1", "1.", "--1", "1e5", "'1'"),
    *("yes", "no", "on", "off", "true", "null", "~", "''", "' '", "[]", "{}", "[[]]", "[null]"),
    *("{a: 1}", "{1: 2}", "[1, {b: 2}]", "[[[[1]]]]", '"\\e[31m"', '"\\ud800"', '"\\0"'),
    *("'" + "x" * 3000 + "'", "🦊", "'a\n\n  b'", "|\n  a\n  b\n", "'\u202e'", "-1", "0"),
)
BAD_STAGES: Mapping[str, str] = {
    "an unknown loss": STAGES.replace("logits: 1", "logitz: 1"),
    "a negative weight": STAGES.replace("logits: 1", "logits: -1"),
    "a NaN weight": STAGES.replace("logits: 1", "logits: .nan"),
    "an infinite rate": STAGES.replace("1.0e-4", ".inf"),
    "no losses": STAGES.replace("{task: 1, logits: 1}", "{}"),
    "losses of no weight": STAGES.replace("{task: 1, logits: 1}", "{task: 0}"),
    "losses as a list": STAGES.replace("{task: 1, logits: 1}", "[task]"),
    "a stage without data": STAGES.replace("data: task, ", ""),
    "a stage twice": STAGES + STAGES.split("\n", 1)[1],
    "stages as a mapping": "stages: {one: 1}\n",
    "an unknown option of a loss": STAGES.replace("lr:", "temprature: 3, lr:"),
    "a corpus that is not named": STAGES.replace("data: task", "data: corpus"),
    "a general stage on a task": STAGES.replace("data: task", "data: task, teacher: general"),
    "a name with a slash": STAGES.replace("name: one", "name: ../one"),
    "a rate of nothing": STAGES.replace("1.0e-4", "0"),
    "no epochs": STAGES.replace("epochs: 1", "epochs: 0"),
    "a weight of three": STAGES.replace("logits: 1", "logits: [1, 2, 3]"),
    "a learning rate beside stages": STAGES + "lr: 2.0e-3\n",
}
BAD_TASKS: Mapping[str, str] = {
    "a task without text": TASK.replace("    text: [a]\n", ""),
    "three texts": TASK.replace("[a]", "[a, b, c]"),
    "an unknown type": TASK + "    type: poetry\n",
    "an unknown metric": TASK + "    metrics: [bleu]\n",
    "a metric of a regression": TASK + "    metrics: [pearson]\n",
    "labels of a regression": TASK + "    type: regression\n",
    "labels that are one": TASK.replace("[x, y]", "[x, X]"),
    "a single label": TASK.replace("[x, y]", "[x]"),
    "bare yes and no as labels": TASK.replace("[x, y]", "[yes, no]"),
    "labels as a mapping": TASK.replace("[x, y]", "{0: x, 1: y}"),
    "an empty label": TASK.replace("[x, y]", "[x, '']"),
    "a label that is a list": TASK.replace("[x, y]", "[x, [y]]"),
    "a positive that is none": TASK + "    positive: z\n",
    "a file elsewhere": TASK + "    files: {train: ../x}\n",
    "an unknown split": TASK + "    files: {trian: x}\n",
    "a mark that is a class": TASK + "    unlabelled: x\n",
    "the label as text": TASK.replace("label: b", "label: a"),
    "an unknown key of a task": TASK + "    lables: [x, y]\n",
    "a task that is not defined": TASK.replace("task: mine", "task: yours"),
    "tasks as a list": "task: mine\ntasks: [mine]\n",
    "a task as a text": "task: mine\ntasks: {mine: sst2}\n",
    "no data": TASK,
}
BAD_SPACES: Mapping[str, str] = {
    "a space of no field": SPACE.replace("hidden_size", "hidden_sise"),
    "an empty space": SPACE.replace("[16, 32]", "[]"),
    "a space of words": SPACE.replace("[16, 32]", "[big]"),
    "a space of floats": SPACE.replace("[16, 32]", "[16.5]"),
    "a space of negatives": SPACE.replace("[16, 32]", "[-16]"),
    "a space of nothing": SPACE.replace("[16, 32]", "[0]"),
    "a space of giants": SPACE.replace("[16, 32]", "[1000000000000]"),
    "a space larger than the teacher": SPACE.replace("[1, 2]", "[12]"),
    "a space as a list": "space: [16]\n",
    "a number as choices": SPACE.replace("[16, 32]", "16"),
    "an unknown activation": SPACE + "  hidden_act: [nope]\n",
}
SECRETS: Mapping[str, str] = {
    "a list as storage": f"storage: [postgresql://u:{PASSWORD}@h/db]\n",
    "a mapping as storage": f"storage: {{postgresql://u: {PASSWORD}}}\n",
    "a storage without slashes": f"storage: postgresql:u:{PASSWORD}@h/db\n",
    "a storage on a port that is none": f"storage: postgresql://u:{PASSWORD}@h:port/db\n",
    "a storage that is no YAML": f"storage: 'postgresql://u:{PASSWORD}@h/db\n",
    "a storage beside an unknown key": f"storage: postgresql://u:{PASSWORD}@h/db\ntrails: 1\n",
    "a storage under a wrong key": f"storrage: postgresql://u:{PASSWORD}@h/db\n",
    "a storage twice": f"storage: postgresql://u:{PASSWORD}@h/db\nstorage: sqlite:///x\n",
    "a storage as a key": f"postgresql://u:{PASSWORD}@h/db: 1\n",
}


def cases(world: World, rng: random.Random) -> Iterator[Case]:
    """Named and random ones by turns."""
    return by_turns([*_named(world)], lambda: _random(world, rng), rng)


def _named(world: World) -> Iterator[Case]:
    for group in (WHOLE, BAD_STAGES, BAD_TASKS, BAD_SPACES, SECRETS):
        for what, content in group.items():
            yield _config(world, what, content)
    for what in ("false", "an alias bomb", "UTF-16", "1,500 levels", "bytes", "a tab"):
        given = ["search", *_without(world.flags, "--task"), "--out", "r", "--task", "bad.yaml"]
        yield Case(KIND, f"{what} as a task", given, prepare=_write(WHOLE[what]))
        yield _of_run(world, what, WHOLE[what])
    given = ["search", *world.flags, "--out", "r", "--config"]
    yield Case(KIND, "no such file", [*given, "nowhere.yaml"], names=("nowhere.yaml",))
    yield Case(KIND, "a folder", [*given, "bad"], prepare=lambda f: (f / "bad").mkdir())
    yield Case(KIND, "a device", [*given, "/dev/null/x"])


def _random(world: World, rng: random.Random) -> Case:
    """A value where it does not belong: of an option, or deep in a recipe, a task or a space."""
    value = rng.choice(VALUES)
    how = rng.choice(["option", "option", "stage", "task", "space", "run", "bytes"])
    if how in ("option", "run"):
        fields = [n for n in Settings.model_fields if n not in ("out", "tasks")]
        name = rng.choice(fields)
        text = rng.choice(["{}: {}\n", "{}: [{}]\n", "{}: {{x: {}}}\n"]).format(name, value)
        what = f"{name} {value[:30]}"
        return (_of_run if how == "run" else _config)(world, what, text, cope=True)
    template = {"stage": STAGES, "task": TASK, "space": SPACE}.get(how, OPTIONS + STAGES + SPACE)
    if how == "bytes":
        data = bytearray(template.encode())
        at = rng.randrange(len(data))
        data[at : at + rng.choice([0, 1, 3])] = rng.choice(
            [
                b"\t",
                b"\0",
                b"[",
                b"'",
                b'"',
                b"&a *a",
                b"\xff",
                b": ",
                b"\n",
                b"!!",
                b"\xef\xbb\xbf",
            ]
        )
        return _config(world, f"bytes at {at}", bytes(data), cope=True)
    pieces = {
        "stage": ("one", "task,", "{task: 1, logits: 1}", "1.0e-4", "epochs: 1"),
        "task": ("[a]", "label: b", "[x, y]", "x,"),
        "space": ("[16, 32]", "16", "[1, 2]"),
    }[how]
    piece = rng.choice(pieces)
    head, tail = (piece.partition(":")[0] + ": ", "") if ": " in piece[:8] else ("", piece[-1:])
    new = f"{head}{value}{',' if tail == ',' else ''}"
    return _config(
        world, f"{piece} becomes {value[:30]}", template.replace(piece, new, 1), cope=True
    )


def _config(world: World, what: str, content: str | bytes, *, cope: bool = False) -> Case:
    """A search that stops before it trains: its teacher must not be trained, and has no head."""
    text = content if isinstance(content, str) else content.decode("latin-1")
    names = ("--task", "--teacher", "--data-dir", "--threads")  # the file's own hold
    flags = [n for n in names if f"{n[2:].replace('-', '_')}:" in text.splitlines()[0]]
    flags += ["--epochs", "--task-epochs"] if "stages:" in text else []
    flags += ["--task"] if "tasks:" in text else []
    flags += ["--speedup"] if "speedup:" in text else []
    given = ["search", *_without(world.flags, *flags), "--trials", "1", "--out", "r"]
    if "trials:" in text:
        given = _without(given, "--trials")
    # Data that hold nothing end what is accepted before anything is trained.
    if cope:
        given = [*_without(given, "--data-dir"), "--data-dir", "nothing"]
    named = ("bad.yaml",) if what in WHOLE and not cope else ()
    return Case(
        *(KIND, what, [*given, "--config", "bad.yaml"], "refuse", _write(content)), names=named
    )


def _of_run(world: World, what: str, content: str | bytes, *, cope: bool = False) -> Case:
    """A run whose config.yaml somebody has spoilt."""

    def prepare(folder: Path) -> None:
        shutil.copytree(world.run, folder / "run")
        _write(content)(folder)
        config = folder / "run" / "config.yaml"
        if cope and isinstance(content, str):
            key = content.partition(":")[0]
            kept = [x for x in config.read_text().splitlines() if not x.startswith(f"{key}:")]
            config.write_bytes(to_bytes("\n".join(kept) + "\n" + content))
        else:
            config.write_bytes((folder / "bad.yaml").read_bytes())

    return Case(
        *(KIND, f"RUN/config.yaml: {what}", ["report", "run"], "cope" if cope else "refuse"),
        prepare=prepare,
        check=_same_student(world),
    )


def _same_student(world: World) -> Check:
    def check(folder: Path, result: Result) -> str | None:
        file = "student/model.safetensors"
        same = (folder / "run" / file).read_bytes() == (world.run / file).read_bytes()
        return None if same else "another student"

    return check


def _without(given: list[str], *flags: str) -> list[str]:
    """Arguments without some flags and their values."""
    found = list(given)
    for flag in flags:
        if flag in found:
            at = found.index(flag)
            del found[at : at + 2]
    return found


def _write(content: str | bytes) -> Callable[[Path], object]:
    data = to_bytes(content) if isinstance(content, str) else content
    return lambda folder: (folder / "bad.yaml").write_bytes(data)
