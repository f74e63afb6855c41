"""What the cases need, a tiny teacher, its data and a finished run; and how a case is run."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

from support import processes
from support.processes import Child
from support.tiny import save_mrpc, save_teacher

from hostile import judge
from hostile.case import Case, Result

# After so many times its limit a command is ended.
MOST = 3.0
_starting = Lock()
QUICK = {
    **{"teacher_epochs": 0.5, "mini_epochs": 0.5, "epochs": 0.5, "task_epochs": 0.5},
    **{"batch_size": 16, "latency_length": 16, "latency_repeats": 5, "threads": 1, "device": "cpu"},
    **{"precision": "fp32", "random_control": "off", "force": True, "task": "mrpc"},
    "speedup": "none",  # none of the tiny students need be fast
}


@dataclass(frozen=True)
class World:
    """Folders that all cases share and none may change."""

    home: Path
    limit: float = judge.LIMIT  # seconds of a case on a quiet machine

    @property
    def teacher(self) -> Path:
        return self.home / "teacher"

    @property
    def data(self) -> Path:
        """MRPC."""
        return self.home / "data"

    @property
    def run(self) -> Path:
        """Finished, two trials."""
        return self.home / "run"

    @property
    def alone(self) -> Path:
        """A copy of its student that no run is known of."""
        return self.home / "alone"

    @property
    def student(self) -> Path:
        return self.run / "student"

    @cached_property
    def winner(self) -> int:
        """The trial that the student is of."""
        import json

        report = json.loads((self.run / "report.json").read_text())
        return int(report["student"]["trial"])

    @property
    def flags(self) -> list[str]:
        """Flags of a search that takes seconds."""
        given = {**QUICK, "teacher": self.teacher, "data_dir": self.data}
        words = {f"--{k.replace('_', '-')}": v for k, v in given.items()}
        return [w for k, v in words.items() for w in ([k] if v is True else [k, str(v)])]

    def shared(self) -> judge.State:
        """The state of what no case may change."""
        parts = (self.teacher, self.data, self.run, self.alone)
        return {f"{p.name}/{k}": v for p in parts for k, v in judge.state(p).items()}


@contextmanager
def made_world(limit: float = judge.LIMIT) -> Iterator[World]:
    """Makes it, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="kdnas-hostile-") as name:
        world = World(Path(name).resolve(), limit)
        home = world.home
        os.environ |= {"KDNAS_CACHE": f"{home}/cache", "KDNAS_LOCKS": f"{home}/locks"}
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ.pop("KDNAS_DATA_DIR", None)
        world.data.mkdir()
        save_teacher(world.teacher)
        save_mrpc(world.data)
        if "hostile.world" not in processes.PRELOADED:
            processes.PRELOADED.append("hostile.world")
        given = ["search", *world.flags, "--trials", "2", "--out", str(world.run)]
        done = _forked(home, given, limit=300)
        assert done.code == 0, done.error
        shutil.copytree(world.student, world.alone)
        yield world


def run_case(world: World, case: Case) -> tuple[Result, str | None]:
    """Runs a case; returns what it did, and what is wrong with that, if anything."""
    folder = Path(tempfile.mkdtemp(prefix="case-", dir=world.home))
    shared = world.shared()
    try:
        if case.prepare:
            case.prepare(folder)
        before = judge.state(folder)
        run = _in_shell if case.shell else _forked
        result = run(folder, case.arguments, _environment(case), case.shell, MOST * world.limit)
        wrong = judge.wrong(case, folder, before, result, world.limit)
        if wrong is None and world.shared() != shared:
            wrong = "it changed a folder that it was not told of"
        return result, wrong
    finally:
        for path in (p for p in folder.rglob("*") if p.is_dir() and not p.is_symlink()):
            path.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)


def run_command(world: World, arguments: Sequence[object]) -> Result:
    """A command that must succeed, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="before-", dir=world.home))
    done = _forked(folder, arguments)
    assert done.code == 0, done.error
    return done


def _environment(case: Case) -> dict[str, str]:
    """The variables of a case."""
    given = {k: v for k, v in case.environment.items() if v is not None}
    return {k: v for k, v in os.environ.items() if k not in case.environment} | given


def _forked(
    folder: Path,
    arguments: Sequence[object],
    environment: Mapping[str, str] | None = None,
    _: str = "",
    limit: float = MOST * judge.LIMIT,
) -> Result:
    """In a process that is forked from one that has imported everything."""
    streams = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
    start = time.monotonic()
    child = _child(folder, environment or os.environ, *streams, *arguments)
    child._process.join(limit)
    code, seconds = child.code, time.monotonic() - start
    if code is None:
        child.kill()
        child._process.join()
    said = [s.read_text(encoding="utf-8", errors="replace") if s.exists() else "" for s in streams]
    for stream in streams:
        stream.unlink(missing_ok=True)
    crash = child.output if code not in (0, *judge.REFUSED) else ""
    return Result(code, said[0], said[1] + crash, seconds)


def _child(folder: Path, environment: Mapping[str, str], *given: object) -> Child:
    """It takes over the folder and the variables that this process has when it is started."""
    with _starting:
        place, variables = Path.cwd(), dict(os.environ)
        processes._start_server()
        try:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            return Child(apart, *map(str, given))  # type: ignore[misc]
        finally:
            os.chdir(place)
            os.environ.clear()
            os.environ.update(variables)


def apart(stdout: str, stderr: str, *arguments: str) -> None:
    """The command, its two streams in files."""
    for stream, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    tempfile.tempdir = None  # as the variables say
    processes.command(*arguments)


def _in_shell(
    folder: Path,
    arguments: Sequence[object],
    environment: Mapping[str, str],
    shell: str,
    limit: float,
) -> Result:
    """As a person starts it; `{}` in the line stands for the command."""
    words = [sys.executable, "-m", "kdnas", *arguments]
    line = shell.replace("{}", shlex.join(map(str, words)))
    path = str(Path(__file__).parents[2])
    start = time.monotonic()
    try:
        done = subprocess.run(
            ["bash", "-c", os.fsencode(line)],
            cwd=folder,
            capture_output=True,
            env={**environment, "PYTHONPATH": path},
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Result(None, "", "", limit)
    said = [s.decode("utf-8", errors="replace") for s in (done.stdout, done.stderr)]
    return Result(done.returncode, *said, time.monotonic() - start)
