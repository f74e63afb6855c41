"""YAML files: of options, recipes, tasks and spaces."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from hostile.case import PASSWORD, Case
from hostile.world import World
from kdnas.config import Settings

KIND = "yaml"
TASK = "name: mine\ntext: [a]\nlabel: b\nlabels: [x, y]\n"
STAGES = (
    "stages:\n  - {name: one, data: task, losses: {task: 1, logits: 1}, epochs: 0.5, lr: 1.0e-4}\n"
)
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(8)
)
FILES: dict[str, str | bytes] = {
    "false": "false\n",
    "zero": "0\n",
    "list": "[]\n",
    "text": "just a text\n",
    "duplicate keys": "trials: 1\ntrials: 2\n",
    "duplicate keys below": "space:\n  hidden_size: [16]\n  hidden_size: [32]\n",
    "keys that are one with underscores": "mini-lr: 1.0e-3\nmini_lr: 1.0e-4\n",
    "an alias bomb": BOMB,
    "an alias bomb in a known key": BOMB.replace("i: &i", "trials: &i"),
    "a date that is none": "trials: 2001-99-99\n",
    "a date": "trials: 2001-01-01\n",
    "no int": "trials: !!int abc\n",
    "no float": "lr: !!float abc\n",
    "a Python object": "trials: !!python/object/apply:os.system ['touch ran']\n",
    "a Python name": "teacher: !!python/name:os.system\n",
    "5,000 digits": f"trials: {'9' * 5000}\n",
    "base 60": "trials: 190:20:30\n",
    "1,500 levels": "space: " + "[" * 1500 + "]" * 1500 + "\n",
    "1,500 levels of mappings": "".join(f"{' ' * i}a:\n" for i in range(1500)),
    "an open bracket": "space: [1, 2\n",
    "a tab": "trials:\n\t- 1\n",
    "UTF-16": "trials: 1\n".encode("utf-16"),
    "a NUL": b"trials: 1\0\n",
    "bytes": bytes(range(128, 256)) * 20,
    "two documents": "trials: 1\n---\ntrials: 2\n",
    "an unknown key": "trails: 3\n",
    "a number as data_dir": "data_dir: 10\n",
    "a list as task": "task: [a]\n",
    "a mapping as teacher": "teacher: {a: 1}\n",
    "yes as threads": "threads: yes\n",
    "no as sampler": "sampler: no\n",
    "null as trials": "trials: null\n",
    "a list as storage": f"storage: [postgresql://u:{PASSWORD}@h/db]\n",
    "a mapping as storage": f"storage: {{postgresql://u: {PASSWORD}}}\n",
    "an unknown loss": STAGES.replace("logits: 1", "logitz: 1"),
    "a negative weight": STAGES.replace("logits: 1", "logits: -1"),
    "a NaN weight": STAGES.replace("logits: 1", "logits: .nan"),
    "an infinite rate": STAGES.replace("1.0e-4", ".inf"),
    "no losses": STAGES.replace("{task: 1, logits: 1}", "{}"),
    "a stage without data": STAGES.replace("data: task, ", ""),
    "a stage twice": STAGES + STAGES.split("\n", 1)[1],
    "stages as a mapping": "stages: {one: 1}\n",
    "an unknown option of a loss": STAGES.replace("lr:", "temprature: 3, lr:"),
    "a space of no field": "space: {hidden_sise: [16]}\n",
    "an empty space": "space: {hidden_size: []}\n",
    "a space of words": "space: {hidden_size: [big]}\n",
    "a space larger than the teacher": "space: {num_hidden_layers: [12]}\n",
    "a task without text": "task: mine\ntasks: {mine: {label: b}}\n",
    "a task of an unknown type": "task: mine\ntasks: {mine: {text: [a], type: poetry}}\n",
    "an unknown metric": "task: mine\ntasks: {mine: {text: [a], metrics: [bleu]}}\n",
    "labels that are one": "task: mine\ntasks: {mine: {text: [a], labels: [x, X]}}\n",
    "bare yes and no as labels": "task: mine\ntasks: {mine: {text: [a], labels: [yes, no]}}\n",
    "a file elsewhere": "task: mine\ntasks: {mine: {text: [a], files: {train: ../x}}}\n",
}
VALUES = (
    "{a: 1}",
    "[1, {b: 2}]",
    "2001-01-01",
    "!!binary aGk=",
    "!!set {a, b}",
    "'\\e[31m'",
    ".nan",
)
ENTRIES = (
    "!!omap [a: 1]",
    "~",
    "''",
    "0b12",
    "1e999",
    "-.inf",
    '"\\ud800"',
    "'" + "x" * 3000 + "'",
)


def cases(world: World, rng: random.Random) -> Iterator[Case]:
    """The named ones, then others without end."""
    for what, content in FILES.items():
        yield _config(world, what, content)
    for what in (
        "false",
        "an alias bomb",
        "UTF-16",
        "1,500 levels",
        "a date that is none",
        "bytes",
    ):
        given = ["search", *world.flags, "--out", "r", "--task", "bad.yaml"]
        yield Case(KIND, f"{what} as a task", given, prepare=_write(FILES[what]))
    given = ["search", *world.flags, "--out", "r", "--config", "nowhere.yaml"]
    yield Case(KIND, "no such file", given)
    yield Case(
        KIND, "a folder", [*given[:-1], "bad.yaml"], prepare=lambda f: (f / "bad.yaml").mkdir()
    )
    fields = [
        n for n in Settings.model_fields if n not in ("out", "study", "tasks", "space", "storage")
    ]
    while True:
        name, value = rng.choice(fields), rng.choice(VALUES)
        if rng.random() < 0.3:
            name, value = rng.choice(fields), rng.choice(ENTRIES)
        where = rng.choice(["{n}: {v}\n", "a: 1\n{n}: {v}\n", "{n}: [{v}]\n", "{n}: {{x: {v}}}\n"])
        yield _config(world, f"{name} {value[:30]}", where.format(n=name, v=value), cope=True)


def _config(world: World, what: str, content: str | bytes, *, cope: bool = False) -> Case:
    flags = world.flags
    for name in ("--task", "--teacher", "--data-dir", "--threads"):  # the file's own hold
        if isinstance(content, str) and f"{name[2:].replace('-', '_')}:" in content:
            i = flags.index(name)
            del flags[i : i + 2]
    given = ["search", *flags, "--trials", "1", "--out", "r", "--config", "bad.yaml"]
    if isinstance(content, str) and "trials:" in content:
        del given[given.index("--trials") : given.index("--trials") + 2]
    if "stages" in what or (isinstance(content, str) and content.startswith("stages")):
        for name in ("--epochs", "--task-epochs"):
            del given[given.index(name) : given.index(name) + 2]
    return Case(KIND, what, given, "cope" if cope else "refuse", prepare=_write(content))


def _write(content: str | bytes) -> Callable[[Path], object]:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return lambda folder: (folder / "bad.yaml").write_bytes(data)
