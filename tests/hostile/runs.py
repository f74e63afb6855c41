"""Damaged run folders, and the commands that meet them."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from hostile.case import PASSWORD, Case, Check, Result
from hostile.world import World

KIND = "runs"
COMMANDS: dict[str, list[str]] = {
    "resume": ["resume", "run"],
    "report": ["report", "run"],
    "export": ["export", "run", "--format", "torch", "--out", "exp"],
    "distill": ["distill", "run", "--trial", "{winner}"],
    "predict": ["predict", "run", "a\tb", "--json"],
    "evaluate": ["evaluate", "run/student", "--task", "mrpc", "--data-dir", "{data}", "--json"],
    "fidelity": ["fidelity", "run", "--students", "9"],
    "worker": ["worker", "run"],
}
FILES = (
    *("config.yaml", "study.db", "trials.csv", "report.json", "report.html", "log.jsonl"),
    *("curves.jsonl", "student/model.safetensors", "student/config.json", "student/kdnas.json"),
    *("student/tokenizer.json", "student/tokenizer_config.json", "student/README.md"),
    *("teacher/model.safetensors", "teacher/config.json", "teacher/tokenizer.json"),
    *("controls/fine-tuned/model.safetensors", "controls/hand-picked/config.json"),
    *("steps/data.json", "steps/evaluate-student.json", "steps/floor.json", "pareto.html"),
    *("steps/fingerprint.json", "fidelity.json", "joined.json"),
)


def zero(file: Path) -> None:
    data = bytearray(file.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = bytes(third)
    file.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "removed": lambda file: file.unlink(missing_ok=True),
    "emptied": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "garbage": lambda file: file.write_bytes(bytes(range(256)) * 40),
    "zeroed in the middle": zero,
    "null": lambda file: file.write_text("null"),
    "a list": lambda file: file.write_text("[1]"),
    "NaN": lambda file: file.write_text('{"a": NaN}'),
    "a folder": lambda file: (file.unlink(missing_ok=True), file.mkdir()),
    "a dangling link": lambda file: (file.unlink(missing_ok=True), file.symlink_to("nowhere")),
}
CONFIGS: dict[str, str] = {
    "another teacher": "teacher: nope/nope\n",
    "another seed": "seed: 9\n",
    "another study": "study: other\n",
    "a storage that is gone": f"storage: postgresql://u:{PASSWORD}@127.0.0.1:1/db\n",
    "an unknown key": "trails: 3\n",
    "a wrong type": "trials: [1]\n",
    "a date that is none": "trials: 2001-99-99\n",
    "deep nesting": "space: " + "[" * 1500 + "]" * 1500 + "\n",
}


def cases(world: World, rng: random.Random) -> Iterator[Case]:
    """The named ones, then others without end."""
    for command in ("resume", "export", "predict", "evaluate"):
        for file in ("student/model.safetensors", "student/config.json", "student/tokenizer.json"):
            for how in ("removed", "cut", "garbage"):
                yield _damaged(world, command, file, how)
        yield _case(world, command, "NaN weights", _nan_weights)
    for how in ("removed", "emptied", "garbage", "zeroed in the middle"):
        yield _damaged(world, "resume", "study.db", how)
        yield _damaged(world, "resume", "study.db", how, ["--rebuild-study"])
    for command in ("resume", "report", "distill"):
        yield _case(world, command, "a study of another program", _foreign_study)
        yield _case(world, command, "trials of another program", _foreign_trials)
    for what, lines in CONFIGS.items():
        for command in ("resume", "report"):
            yield _case(world, command, what, _config(lines))
    while True:
        yield _damaged(
            world, rng.choice(list(COMMANDS)), rng.choice(FILES), rng.choice(list(DAMAGE))
        )


def _damaged(
    world: World, command: str, file: str, how: str, more: list[str] | None = None
) -> Case:
    def damage(run: Path) -> None:
        path = run / file
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_bytes(b"")
        DAMAGE[how](path)

    return _case(world, command, f"{file} {how}", damage, more)


def _case(
    world: World,
    command: str,
    what: str,
    damage: Callable[[Path], object],
    more: list[str] | None = None,
) -> Case:
    winner = json.loads((world.run / "report.json").read_text())["student"]["trial"]
    given = [w.format(winner=winner, data=world.data) for w in COMMANDS[command]] + (more or [])

    def prepare(folder: Path) -> None:
        shutil.copytree(world.run, folder / "run")
        damage(folder / "run")

    return Case(
        KIND, f"{' '.join(given[:1])}: {what}", given, "cope", prepare, _check(world, command)
    )


def _check(world: World, command: str) -> Check:
    def check(folder: Path, result: Result) -> str | None:
        if command in ("resume", "distill"):
            return _same_weights(world.student, folder / "run" / "student")
        if command == "export":
            return _same_weights(world.student, folder / "exp")
        if command == "predict":
            return None if len(result.out.splitlines()) == 1 else "no answer"
        if command == "report":
            return None if (folder / "run" / "report.html").exists() else "no report"
        return None

    return check


def _same_weights(before: Path, after: Path) -> str | None:
    file = after / "model.safetensors"
    if not file.is_file():
        return f"no {file.name} in {after.name}"
    same = file.read_bytes() == (before / file.name).read_bytes()
    return None if same else "other weights than before"


def _nan_weights(run: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    path = run / "student" / "model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    tensors[name] = torch.full_like(tensors[name], float("nan"))
    save_file(tensors, path, metadata={"format": "pt"})


def _foreign_study(run: Path) -> None:
    (run / "study.db").unlink()
    with sqlite3.connect(run / "study.db") as base:
        base.execute("create table notes (id integer, text text)")


def _foreign_trials(run: Path) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name="kdnas", storage=f"sqlite:///{run / 'study.db'}")
    space = optuna.distributions.FloatDistribution(0, 1)
    study.add_trial(optuna.create_trial(value=99.0, params={"x": 0.5}, distributions={"x": space}))


def _config(lines: str) -> Callable[[Path], object]:
    def edit(run: Path) -> None:
        key = lines.partition(":")[0]
        file = run / "config.yaml"
        kept = []
        skip = False
        for line in file.read_text().splitlines(keepends=True):
            skip = line.startswith(f"{key}:") or (skip and line[:1] in " -")
            kept += [] if skip else [line]
        file.write_text("".join(kept) + lines)

    return edit
