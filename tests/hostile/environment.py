"""The environment: variables, folders, streams, limits."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from hostile.case import Case, Check, Result
from hostile.world import World

KIND = "environment"
VARIABLES: dict[str, Sequence[str | None]] = {
    "HOME": (None, "/nowhere", "/dev/null", "/proc"),
    "KDNAS_CACHE": ("/dev/null", "/proc/nope", "relative", "~nobody/x", "/nowhere/below"),
    "KDNAS_LOCKS": ("/dev/null", "/proc/nope"),
    "KDNAS_DATA_DIR": ("/nowhere", "", "/dev/null"),
    "TMPDIR": ("/nowhere", ""),
    "LC_ALL": ("C", "POSIX", "xx_XX.nope"),
    "LANG": ("C", None),
    "TERM": ("dumb", "", "nope", None),
    "COLUMNS": ("1", "abc", "0", "-5", "100000"),
    "NO_COLOR": ("1",),
    "FORCE_COLOR": ("1",),
    "OMP_NUM_THREADS": ("abc", "0", "-1", "1000000"),
    "CUDA_VISIBLE_DEVICES": ("nonsense", "-1", "99"),
    "HF_HOME": ("/dev/null", "/nowhere"),
    "PYTHONWARNINGS": ("error", "always", "nonsense"),
    "TRANSFORMERS_VERBOSITY": ("nonsense",),
    "WORLD_SIZE": ("abc", "2"),
    "LOCAL_RANK": ("abc",),
    "ACCELERATE_USE_FSDP": ("true",),
    "TZ": ("nowhere",),
    "USER": (None,),
}
# How a command is started, in bash; `{}` stands for the command.
SHELLS = {
    "standard output closed": "{} >&-",
    "standard error closed": "{} 2>&-",
    "standard input closed": "{} <&-",
    "everything closed": "{} <&- >&- 2>&-",
    "a reader that goes": "{} | head -c 1 >/dev/null; exit ${PIPESTATUS[0]}",
    "a full disk as standard output": "{} >/dev/full",
    "ASCII": "PYTHONIOENCODING=ascii {}",
    "a removed folder": 'mkdir gone; cd gone; rmdir "$PWD"; {}',
    "no room for files": "ulimit -f 4; {}",
    "few open files": "ulimit -n 40; {}",
    "no permission to write": "mkdir shut; chmod 555 shut; cd shut; {}",
}


def cases(world: World, rng: random.Random) -> Iterator[Case]:
    """The named ones, then others without end."""
    for what, shell in SHELLS.items():
        given = ["predict", str(world.alone), "--file", "texts.txt", "--json"]
        if "folder" in what or "permission" in what:
            given[3] = str(world.home / "texts.txt")
        yield Case(KIND, f"predict: {what}", given, "cope", _pairs(world), shell=shell)
    for name, values in VARIABLES.items():
        for value in values:
            yield _predict(world, {name: value})
    while True:
        names = rng.sample(sorted(VARIABLES), rng.choice([1, 2, 3]))
        chosen = {name: rng.choice(list(VARIABLES[name])) for name in names}
        yield (_space if rng.random() < 0.4 else _predict)(world, chosen)


def _predict(world: World, variables: dict[str, str | None]) -> Case:
    given = ["predict", str(world.alone), "--file", "texts.txt", "--json"]
    return Case(KIND, f"predict: {variables}", given, "cope", _pairs(world), _answers(), variables)


def _space(world: World, variables: dict[str, str | None]) -> Case:
    given = ["space", "--teacher", str(world.teacher), "--json"]
    return Case(
        KIND, f"space: {variables}", given, "cope", check=_space_of(), environment=variables
    )


def _pairs(world: World) -> object:
    def prepare(folder: Path) -> None:
        for place in (folder, world.home):
            (place / "texts.txt").write_text("a good film\ndéjà vu\n", encoding="utf-8")

    return prepare


def _answers() -> Check:
    def check(folder: Path, result: Result) -> str | None:
        rows = [json.loads(line) for line in result.out.splitlines()]
        return None if len(rows) == 2 else f"{len(rows)} answers instead of 2"

    return check


def _space_of() -> Check:
    def check(folder: Path, result: Result) -> str | None:
        return None if json.loads(result.out) else "no space"

    return check
