"""A disk that is full: one clear line, exit code 2, nothing lost, and the run goes on."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest
from many import MakeRun, check_complete, study_of
from optuna.trial import TrialState
from support.processes import Child, command
from support.stepwise import Stepwise
from support.tiny import SHAPE

from kdnas.distillation import checkpoint
from kdnas.distillation.checkpoint import Checkpoint
from kdnas.space import Architecture

DISK_BYTES = 6_000_000
FILLER = "filler"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk; where none may be mounted, a folder whose files are held small instead."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = False
    with suppress(OSError):
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def on_full_disk(disk: Path, where: str, calls: int, *arguments: str) -> None:
    """A command; something else fills the disk just before it calls something for the n-th time."""
    checkpoint.SECONDS = -1.0  # a checkpoint after every step
    module, _, path = where.partition(":")
    *owners, name = path.split(".")
    owner = reduce(getattr, owners, import_module(module))
    real, left = getattr(owner, name), [calls]

    def filled(*given: object, **named: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            _fill(disk)
        return real(*given, **named)

    setattr(owner, name, filled)
    command(*arguments)


def _fill(disk: Path) -> None:
    if not disk.is_mount():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        return
    with (disk / FILLER).open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


def ends_in_a_line(disk: Path, where: str, calls: int, *arguments: object) -> str:
    """Runs it, makes room again, and returns the line."""
    child = Child(on_full_disk, disk, where, calls, *map(str, arguments))
    assert child.wait() == 2, child.output
    assert "Traceback" not in child.output
    (disk / FILLER).unlink(missing_ok=True)
    line = child.output.splitlines()[-1]
    full = line.startswith("kdnas: no space left to write ") and "MB are free there" in line
    assert full or (not disk.is_mount() and "larger than this process may write" in line)
    return line


@pytest.mark.slow
def test_while_the_store_is_written(
    make_run: MakeRun, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDNAS_CACHE", str(disk / "cache"))
    run = make_run(trials=2)
    where = "kdnas.teachers.store:_Writer.add"
    line = ends_in_a_line(disk, where, 1, "worker", run.folder)
    assert "/cache/signal/" in line and "it takes 0." in line
    assert not list(disk.glob("cache/signal/*/*")) and (run.folder / "teacher").exists()
    Stepwise(run).search()
    check_complete(run, 2)


@pytest.mark.slow
def test_while_a_checkpoint_is_written(
    make_run: MakeRun, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    run = make_run(trials=1, out=disk / "run", storage=storage, task_epochs=1)
    where = "kdnas.distillation.checkpoint:Checkpoint.save"
    Stepwise(run).search()
    line = ends_in_a_line(disk, where, 4, "distill", run.folder, "--trial", 0)
    (kept,) = (run.folder / "work").rglob("*.pt")
    assert str(kept) in line and "it takes " in line
    assert not list(run.folder.rglob("*.partial"))
    loaded: list[bool] = []
    load = Checkpoint.load
    monkeypatch.setattr(Checkpoint, "load", lambda self: loaded.append(load(self)) or loaded[-1])
    (trial,) = check_complete(run, 1)
    student = run.folder / "students" / "trial-0" / "student"
    Stepwise(run).distil(Architecture.from_params(trial.params), 0, student)
    assert loaded[0] and not list((run.folder / "work").rglob("*.pt"))


@pytest.mark.slow
def test_while_a_candidate_is_kept_its_score_is_told(
    make_run: MakeRun, disk: Path, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    space = {"hidden_size": [SHAPE["hidden_size"]]}
    run = make_run(trials=3, out=disk / "run", storage=storage, space=space)
    where = "kdnas.students.state:StudentState.save"
    line = ends_in_a_line(disk, where, 2, "worker", run.folder)
    assert str(run.folder / "trials" / "1") in line
    assert [t.state for t in study_of(run).trials] == [TrialState.COMPLETE] * 2
    Stepwise(run).search()
    assert len(check_complete(run, 3)) == 3


@pytest.mark.slow
def test_while_the_log_is_written_the_candidate_is_queued_again_or_told(
    make_run: MakeRun, disk: Path, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    run = make_run(trials=2, out=disk / "run", storage=storage)
    # Of the first candidate untrained, then trained: its trial is logged next.
    line = ends_in_a_line(disk, "kdnas.scoring.mini_kd:MiniKD._heldout", 2, "worker", run.folder)
    assert str(run.folder) in line
    Stepwise(run).search()
    check_complete(run, 2)
