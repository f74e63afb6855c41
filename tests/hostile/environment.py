"""The environment: variables, folders, streams, limits."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from hostile.case import PASSWORD, Case, Check, Result
from hostile.world import World

KIND = "environment"
ODD = ("", " ", "abc", "\x1b[31m", "9" * 400, "🦊", "a\nb", "-1", "nan", "/dev/null", "../..")
VARIABLES: Mapping[str, Sequence[str | None]] = {
    "HOME": (None, "", "/nowhere", "/dev/null", "/proc"),
    "KDNAS_CACHE": ("/dev/null", "/proc/nope", "relative", "~nobody/x", "", "/dev/full", "\udcff"),
    "KDNAS_CACHE_LIMIT": ("abc", "", "-1GB", "0GB", "1e9GB", "none", "1", "nan", "9" * 400 + "GB"),
    "KDNAS_LOCKS": ("/dev/null", "/proc/nope", "", "x" * 300),
    "KDNAS_DATA_DIR": ("/nowhere", "", "/dev/null", "~nobody/x", "a" * 5000),
    "KDNAS_STORAGE_PASSWORD": (PASSWORD, "", "@:/"),
    "KDNAS_NOPE": ("x",),
    "TMPDIR": ("/nowhere", "", "/dev/null", "relative", "/proc"),
    "LC_ALL": ("C", "POSIX", "xx_XX.nope", "tr_TR.UTF-8"),
    "LANG": ("C", None),
    "PYTHONUTF8": ("0",),
    "TERM": ("dumb", "", "nope", None),
    "COLUMNS": ("1", "abc", "0", "-5", "100000", ""),
    "LINES": ("0", "abc"),
    "NO_COLOR": ("1",),
    "FORCE_COLOR": ("1",),
    "CLICOLOR_FORCE": ("1",),
    "OMP_NUM_THREADS": ("abc", "0", "-1", "1000000", "", "1,2", "9" * 30),
    "MKL_NUM_THREADS": ("abc", "0"),
    "OMP_WAIT_POLICY": ("nope",),
    "CUDA_VISIBLE_DEVICES": ("nonsense", "-1", "99", "0,0"),
    "HF_HOME": ("/dev/null", "/nowhere"),
    "HF_HUB_OFFLINE": ("abc",),
    "PYTHONWARNINGS": ("error", "always", "nonsense"),
    "TRANSFORMERS_VERBOSITY": ("nonsense", "debug"),
    "TOKENIZERS_PARALLELISM": ("abc", "true"),
    "WORLD_SIZE": ("abc", "2", "", "-1"),
    "LOCAL_RANK": ("abc", ""),
    "RANK": ("abc",),
    "ACCELERATE_USE_FSDP": ("true",),
    "ACCELERATE_MIXED_PRECISION": ("fp16", "nope"),
    "TZ": ("nowhere", ":"),
    "USER": (None,),
    "LOGNAME": (None,),
    "SOURCE_DATE_EPOCH": ("abc",),
}
# How a command is started, in bash; `{}` stands for the command.
SHELLS = {
    "standard output closed": "{} >&-",
    "standard error closed": "{} 2>&-",
    "standard input closed": "{} <&-",
    "everything closed": "{} <&- >&- 2>&-",
    "a reader that goes": "{} | head -c 1 >/dev/null; exit ${PIPESTATUS[0]}",
    "no reader": "{} | true; exit ${PIPESTATUS[0]}",
    "a full disk as standard output": "{} >/dev/full",
    "a full disk as standard error": "{} 2>/dev/full",
    "ASCII": "PYTHONIOENCODING=ascii LC_ALL=C {}",
    "Latin-1": "PYTHONIOENCODING=latin-1 {}",
    "a removed folder": 'mkdir gone; cd gone; rmdir "$PWD"; {}',
    "few open files": "ulimit -n 40; {}",
    "a folder that cannot be written": "mkdir shut; chmod 555 shut; cd shut; {}",
}
# Commands that write: with a limit on the size of files, as on a full disk.
FULL = {
    "export": ["export", "{folder}/run", "--format", "torch", "--out", "{folder}/o"],
    "resume": ["resume", "{folder}/run", "--trials", "3"],
    "report": ["report", "{folder}/run"],
}
COMMANDS: Mapping[str, Sequence[str]] = {
    "predict": ["predict", "{alone}", "--file", "texts.txt", "--json"],
    "space": ["space", "--teacher", "{teacher}", "--json"],
    "report": ["report", "run", "--json"],
    "export": ["export", "run", "--format", "torch", "--json"],
    "worker": ["worker", "run", "--json"],
    "evaluate": ["evaluate", "{alone}", "--task", "mrpc", "--data-dir", "{data}", "--json"],
    "cache list": ["cache", "list", "--json"],
}


def cases(world: World, rng: random.Random) -> Iterator[Case]:
    """A real process each for what ties streams; then variables, named and random by turns."""
    shells = list(SHELLS.items())
    for i, (what, shell) in enumerate(shells):
        yield _shell(world, what, shell, "report" if i % 2 and "folder" not in what else "predict")
    for i, (name, words) in enumerate(FULL.items()):
        shell = f"ulimit -f {(4, 40, 400)[i]}; {{}}"
        yield _limited(world, f"{name} with room for {(4, 40, 400)[i]} kB", words, shell)
    named = [(name, value) for name, values in VARIABLES.items() for value in values]
    rng.shuffle(named)
    for name, value in named:
        yield _case(world, {name: value}, rng.choice(list(COMMANDS)))
        if rng.random() < 0.3:
            yield _random(world, rng)
    while True:
        yield _random(world, rng)


def _random(world: World, rng: random.Random) -> Case:
    names = rng.sample(sorted(VARIABLES), rng.choice([1, 2, 3]))
    odd = {name: rng.choice([*VARIABLES[name], *ODD]) for name in names}
    return _case(world, odd, rng.choice(list(COMMANDS)))


def _case(world: World, variables: Mapping[str, str | None], command: str) -> Case:
    places = {"alone": world.alone, "teacher": world.teacher, "data": world.data}
    given = [word.format(**places) for word in COMMANDS[command]]
    told = {name: value and value.replace("\0", "") for name, value in variables.items()}
    return Case(
        *(KIND, f"{command}: {told}"[:200], given, "cope", _files(world, "run" in given)),
        *(_right(world, command), told),
        may_change=frozenset({".lock", "log.jsonl", "relative", "cache"}),
    )


def _shell(world: World, what: str, shell: str, command: str) -> Case:
    where = "../" if "folder" in what and "removed" not in what else ""
    given = ["predict", str(world.alone), "--file", f"{where}texts.txt", "--json"]
    if command == "report":
        given = ["report", "run"]
    silent = any(word in what for word in ("output", "everything", "reader"))
    check = _right(world, command) if command == "predict" and not silent else None
    may = frozenset({"gone", "shut", ".lock"})
    prepare = _files(world, command == "report")
    return Case(
        KIND, f"{command}: {what}", given, "cope", prepare, check, shell=shell, may_change=may
    )


def _limited(world: World, what: str, words: Sequence[str], shell: str) -> Case:
    given = [word.replace("{folder}/", "") for word in words]

    def check(folder: Path, result: Result) -> str | None:
        file = "student/model.safetensors"
        whole = (folder / "run" / file).read_bytes() == (world.run / file).read_bytes()
        return None if whole else "another student than before"

    # What is known of the run stays; what was begun may be there.
    may = frozenset(
        {"log.jsonl", "o", "work", "steps", "trials", "study.db", ".lock", "config.yaml"}
    )
    prepare = _files(world, True)
    return Case(KIND, what, given, "cope", prepare, check, shell=shell, may_change=may)


def _files(world: World, run: bool) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        (folder / "texts.txt").write_text("a good film\ndéjà vu\n", encoding="utf-8")
        if run:
            shutil.copytree(world.run, folder / "run")

    return prepare


def _right(world: World, command: str) -> Check:
    def check(folder: Path, result: Result) -> str | None:
        if command == "predict":
            rows = [json.loads(line) for line in result.out.split("\n") if line]
            return None if [r["text"] for r in rows] == ["a good film", "déjà vu"] else "other rows"
        found = json.loads(result.out)
        if command == "evaluate":
            scores = found["tasks"]["mrpc"]["scores"]
            report = json.loads((world.run / "report.json").read_text())
            mine = report["student"]["scores"]
            same = all(abs(scores[k] - mine[k]) < 1e-6 for k in mine.keys() & scores.keys())
            return None if same and scores else f"scores {scores} instead of {mine}"
        return None if found else "nothing"

    return check
