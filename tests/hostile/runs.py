"""Damaged run folders, and the commands that meet them."""

from __future__ import annotations

import csv
import math
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from hostile.case import PASSWORD, Case, Check, Result, by_turns
from hostile.world import World, run_command

KIND = "runs"
COMMANDS: dict[str, list[str]] = {
    "resume": ["resume", "run"],
    "report": ["report", "run"],
    "export": ["export", "run", "--format", "torch", "--out", "exp"],
    "distill": ["distill", "run", "--trial", "{winner}"],
    "predict": ["predict", "run", "a film\tb", "--text-pair", "c", "--json"],
    "evaluate": ["evaluate", "run/student", "--task", "mrpc", "--data-dir", "{data}", "--json"],
    "worker": ["worker", "run"],
    "fidelity": ["fidelity", "run", "--students", "9"],
    "by speed": ["distill", "run", "--speedup", "0.01"],
}
FILES = (
    *("config.yaml", "study.db", "trials.csv", "report.json", "report.html", "log.jsonl"),
    *("curves.jsonl", "student/model.safetensors", "student/config.json", "student/kdnas.json"),
    *("student/tokenizer.json", "student/tokenizer_config.json", "student/README.md", "student"),
    *("teacher/model.safetensors", "teacher/config.json", "teacher/tokenizer.json", "teacher"),
    *("teacher/kdnas.json", "controls/fine-tuned/model.safetensors", "controls", "steps", "work"),
    *("controls/hand-picked/config.json", "steps/data.json", "steps/evaluate-student.json"),
    *("steps/floor.json", "pareto.html", "steps/fingerprint.json", "fidelity.json", "trials"),
    *("joined.json", "trials/0/config.json", "trials/0/student.safetensors", "trials/1/kdnas.json"),
    *("steps/.floor.json.kdnas.json", "steps/latency-student.json", ".lock", ".teacher.lock"),
)
# What a refusal may write all the same: what happened, and pages that can be made anew.
OWN = frozenset({"log.jsonl", ".lock", ".teacher.lock", "curves.jsonl", "work"})


def zero(file: Path) -> None:
    data = bytearray(file.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = bytes(third)
    file.write_bytes(data)


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes() or b"\0")
    data[len(data) // 2] ^= 0x15
    file.write_bytes(data)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def nan_weights(file: Path) -> None:
    """All weights of a model are no numbers; what is no model becomes a text."""
    if file.suffix != ".safetensors":
        file.write_text("NaN")
        return
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    save_file({k: torch.full_like(v, math.nan) for k, v in tensors.items()}, file)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "removed": remove,
    "emptied": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "garbage": lambda file: file.write_bytes(bytes(range(256)) * 40),
    "zeroed in the middle": zero,
    "changed by a bit": flip,
    "NaN": nan_weights,
    "null": lambda file: file.write_text("null"),
    "a list": lambda file: file.write_text("[1]"),
    "an empty object": lambda file: file.write_text("{}"),
    "deep": lambda file: file.write_text("[" * 100_000),
    "a folder": lambda file: (remove(file), file.mkdir()),
    "a dangling link": lambda file: (remove(file), file.symlink_to("nowhere")),
    "a link to itself": lambda file: (remove(file), file.symlink_to(file.name)),
    "another program's lines": lambda file: file.write_text("number,state\n0,COMPLETE\nx\n"),
}
# For a folder: what makes sense of these.
OF_FOLDERS = ("removed", "a dangling link", "a link to itself", "emptied")
CONFIGS: dict[str, str] = {
    "another teacher": "teacher: nope/nope\n",
    "another seed": "seed: 9\n",
    "another study": "study: other\n",
    "another task": "task: cola\n",
    "another space": "space: {hidden_size: [8]}\n",
    "other data": "data_dir: nowhere\n",
    "a storage that is gone": f"storage: postgresql://u:{PASSWORD}@127.0.0.1:1/db\n",
    "a storage that is none": f"storage: postgresql:/u:{PASSWORD}@h/db\n",
    "an unknown key": "trails: 3\n",
    "a wrong type": "trials: [1]\n",
    "fewer trials": "trials: 1\n",
    "a date that is none": "trials: 2001-99-99\n",
    "deep nesting": "space: " + "[" * 1500 + "]" * 1500 + "\n",
}


def cases(world: World, rng: random.Random) -> Iterator[Case]:
    """Named and random ones by turns."""
    return by_turns([*_named(world)], lambda: _random(world, rng), rng)


def _named(world: World) -> Iterator[Case]:
    for command in ("resume", "export", "predict", "evaluate"):
        for file in ("student/model.safetensors", "student/config.json", "student/tokenizer.json"):
            yield _damaged(world, command, file, "cut")
        yield _damaged(world, command, "student/model.safetensors", "NaN")
        yield _case(world, command, "another student's weights", _others_weights)
    for how in ("removed", "emptied", "garbage", "zeroed in the middle"):
        yield _damaged(world, "resume", "study.db", how)
        yield _damaged(world, "resume", "study.db", how, ["--rebuild-study"])
    for command in ("resume", "report", "distill", "worker", "fidelity"):
        yield _case(world, command, "a study of another program", _foreign_study)
        yield _case(world, command, "trials of another program", _foreign_trials)
    for i, (what, lines) in enumerate(CONFIGS.items()):
        yield _case(world, ("resume", "report", "predict", "worker")[i % 4], what, _config(lines))
        yield _case(world, "resume", what, _config(lines))


def _random(world: World, rng: random.Random) -> Case:
    file = rng.choice(FILES)
    hows = OF_FOLDERS if (world.run / file).is_dir() else tuple(DAMAGE)
    commands = [name for name in COMMANDS if name not in ("fidelity", "by speed")] * 3
    return _damaged(world, rng.choice([*commands, "fidelity", "by speed"]), file, rng.choice(hows))


def _damaged(world: World, command: str, file: str, how: str, more: Sequence[str] = ()) -> Case:
    def damage(run: Path) -> None:
        path = run / file
        path.parent.mkdir(exist_ok=True)
        if path.is_dir() and how == "emptied":
            remove(path)
            path.mkdir()
            return
        if not path.exists():
            path.write_bytes(b"")
        DAMAGE[how](path)

    return _case(world, command, f"{file} {how}", damage, more)


def _case(
    world: World,
    command: str,
    what: str,
    damage: Callable[[Path], object],
    more: Sequence[str] = (),
) -> Case:
    given = [w.format(winner=world.winner, data=world.data) for w in COMMANDS[command]]

    def prepare(folder: Path) -> None:
        shutil.copytree(world.run, folder / "run")
        damage(folder / "run")

    check = _check(world, command)
    what = f"{command}: {what}"
    # A password that somebody wrote to config.yaml is moved away from there whatever comes.
    may = OWN | {"config.yaml", ".storage"} if "storage" in what else OWN
    return Case(KIND, what, [*given, *more], "cope", prepare, check, may_change=frozenset(may))


def _check(world: World, command: str) -> Check:
    def check(folder: Path, result: Result) -> str | None:
        run = folder / "run"
        if command in ("predict", "evaluate"):
            before = _before(world, command)
            return None if result.out == before else f"another answer than {before[:200]}"
        if command == "export":
            return _same_weights(world.student, folder / "exp")
        if command in ("resume", "worker", "distill"):
            wrong = _same_weights(world.student, run / "student") if command == "resume" else None
            return wrong or _trials_of(world, run)
        if command == "report":
            there = (run / "report.html").is_file()
            return _trials_of(world, run) if there else "no report"
        return None

    return check


@cache
def _before(world: World, command: str) -> str:
    """What a command printed of the run while it was whole."""
    given = [w.format(data=world.data) for w in COMMANDS[command]]
    given = [w.replace("run/student", str(world.student)) for w in given]
    given = [str(world.run) if w == "run" else w for w in given]
    return run_command(world, given).out.replace(str(world.run), "run")


def _trials_of(world: World, run: Path) -> str | None:
    """The trials are those that the run had, and some of another program at most."""
    if not (run / "trials.csv").is_file():
        return None
    before, after = ({r["number"]: r["loss"] for r in _rows(f)} for f in (world.run, run))
    lost = [number for number, loss in before.items() if after.get(number) != loss]
    return f"trials.csv lacks the trials {lost}" if lost else None


def _rows(run: Path) -> list[dict[str, str]]:
    text = (run / "trials.csv").read_text(errors="replace")
    return [row for row in csv.DictReader(text.splitlines()) if row.get("loss")]


def _same_weights(before: Path, after: Path) -> str | None:
    file = after / "model.safetensors"
    if not file.is_file():
        return f"no {file.name} in {after.name}"
    same = file.read_bytes() == (before / file.name).read_bytes()
    return None if same else "other weights than before"


def _others_weights(run: Path) -> None:
    shutil.copy(run / "controls/hand-picked/model.safetensors", run / "student")


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
