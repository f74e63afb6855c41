"""What the cases need: a tiny teacher and its data, a finished run; and a judge of results."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support import processes
from support.processes import Child
from support.tiny import save_mrpc, save_teacher

from hostile.case import PASSWORD, Case, Result

LIMIT = 20.0
LONGEST = 500  # characters of a message
QUICK = {
    **{"teacher_epochs": 0.5, "mini_epochs": 0.5, "epochs": 0.5, "task_epochs": 0.5},
    **{"batch_size": 16, "latency_length": 16, "threads": 1, "device": "cpu"},
    **{"precision": "fp32", "random_control": "off", "force": True, "task": "mrpc"},
}
WARNING = re.compile(r"\b[A-Z]\w*Warning\b|UserWarning|\[W\d+")


@dataclass(frozen=True)
class World:
    """Folders that all cases share and none may change."""

    home: Path
    teacher: Path
    data: Path  # MRPC
    run: Path  # finished, two trials
    limit: float = LIMIT  # seconds of a case

    @property
    def alone(self) -> Path:
        """A copy of its student that no run is known of."""
        return self.home / "alone"

    @property
    def student(self) -> Path:
        return self.run / "student"

    @property
    def flags(self) -> list[str]:
        """Flags of a search that takes seconds."""
        given = {**QUICK, "teacher": self.teacher, "data_dir": self.data}
        words = {f"--{k.replace('_', '-')}": v for k, v in given.items()}
        return [w for k, v in words.items() for w in ([k] if v is True else [k, str(v)])]


@contextmanager
def made_world(limit: float = LIMIT) -> Iterator[World]:
    """Makes it, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="kdnas-hostile-") as name:
        home = Path(name)
        os.environ |= {"KDNAS_CACHE": f"{home}/cache", "KDNAS_LOCKS": f"{home}/locks"}
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ.pop("KDNAS_DATA_DIR", None)
        (home / "data").mkdir()
        teacher, data = save_teacher(home / "teacher"), save_mrpc(home / "data")
        world = World(home, teacher, data, home / "run", limit)
        if "hostile.world" not in processes.PRELOADED:
            processes.PRELOADED.append("hostile.world")
        done = _forked(
            home, ["search", *world.flags, "--trials", "2", "--out", str(world.run)], 300
        )
        assert done.code == 0, done.error
        shutil.copytree(world.student, world.alone)
        yield world


def run_case(world: World, case: Case) -> tuple[Result, str | None]:
    """Runs a case; returns what it did, and what is wrong with that, if anything."""
    folder = Path(tempfile.mkdtemp(prefix="case-", dir=world.home))
    before = checksum(world.run)
    try:
        if case.prepare:
            case.prepare(folder)
        with _environment(case):
            result = _run(world, folder, case)
        wrong = judge(case, folder, result)
        if wrong is None and checksum(world.run) != before:
            wrong = "it changed a folder that it was not told of"
        return result, wrong
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(world: World, folder: Path, case: Case) -> Result:
    if case.shell:
        return _in_shell(folder, case, world.limit)
    return _forked(folder, case.arguments, world.limit)


def judge(case: Case, folder: Path, result: Result) -> str | None:
    """What is wrong with a result, in words; None where nothing is."""
    said = result.out + result.error
    warning = WARNING.search(said)
    faults = {
        f"it took {result.seconds:.0f} s, too long": result.code is None,
        "a traceback": "Traceback (most recent call last)" in said,
        f"it ended with code {result.code}": result.code not in (None, 0, 1, 2, 3, 130, 143),
        f"a library's warning: {warning and warning[0]}": warning is not None,
        "a password is shown or kept": PASSWORD in said or _holds(folder, PASSWORD),
        "raw escape codes": "\x1b" in said,
        "files of a half-done write are left": any(folder.rglob("*.partial*")),
    }
    return next((fault for fault, is_so in faults.items() if is_so), None) or _outcome(
        case, folder, result
    )


def _outcome(case: Case, folder: Path, result: Result) -> str | None:
    if result.code == 0:
        if case.expected == "refuse":
            return "accepted"
        return case.check(folder, result) if case.check else None
    if case.expected == "work":
        return f"refused: {result.error.strip()[-300:]}"
    lines = [line for line in result.error.splitlines() if line.startswith("kdnas: ")]
    if len(lines) != 1:
        return f"{len(lines)} lines with a message instead of one"
    if len(lines[0]) > LONGEST:
        return f"a message of {len(lines[0])} characters"
    return "a message without its end" if lines[0].rstrip().endswith(":") else None


def checksum(folder: Path) -> int:
    """Of names, sizes and times of all files below a folder."""
    found = sorted(
        (str(p), p.stat().st_size, p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file() and not p.name.startswith(".") and not p.name.endswith(("-wal", "-shm"))
    )
    return zlib.crc32(json.dumps(found).encode())


def _holds(folder: Path, word: str) -> bool:
    """Whether a file that kdnas wrote below a folder holds a word; what a case wrote may."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.name in ("config.yaml", "log.jsonl")]
    return any(word.encode() in p.read_bytes() for p in files if p.stat().st_size < 1e6)


@contextmanager
def _environment(case: Case) -> Iterator[None]:
    before = dict(os.environ)
    for name, value in case.environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _forked(folder: Path, arguments: object, limit: float) -> Result:
    """In a process that is forked from one that has imported everything."""
    streams = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
    before, start = Path.cwd(), time.monotonic()
    try:
        os.chdir(folder)
        child = Child(apart, *map(str, (*streams, *arguments)))  # type: ignore[misc]
    finally:
        os.chdir(before)
    child._process.join(limit)
    code, seconds = child.code, time.monotonic() - start
    if code is None:
        child.kill()
        child._process.join()
    said = [s.read_text(encoding="utf-8", errors="replace") if s.exists() else "" for s in streams]
    for stream in streams:
        stream.unlink(missing_ok=True)
    crash = child.output if code not in (0, 2, 3, 130, 143) else ""
    return Result(code, said[0], said[1] + crash, seconds)


def apart(stdout: str, stderr: str, *arguments: str) -> None:
    """The command, its two streams in files."""
    for stream, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    processes.command(*arguments)


def _in_shell(folder: Path, case: Case, limit: float) -> Result:
    """As a person starts it; `{}` in the case's line stands for the command."""
    words = [sys.executable, "-m", "kdnas", *case.arguments]
    line = case.shell.replace("{}", shlex.join(map(str, words)))
    path = str(Path(__file__).parents[2])
    start = time.monotonic()
    try:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=folder,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": path},
            timeout=3 * limit,  # importing is not the case's fault
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Result(None, "", "", 3 * limit)
    said = [s.decode("utf-8", errors="replace") for s in (done.stdout, done.stderr)]
    return Result(done.returncode, *said, time.monotonic() - start)
