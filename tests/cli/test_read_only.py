"""Commands on a run folder that cannot be written: read, planned, or refused in words."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Said
from support.read_only import read_only

from kdnas.errors import KdnasError
from kdnas.files.atomic import append_line, replace_file, replace_folder, write_text
from kdnas.files.locks import file_lock

WHY = os.strerror(errno.EACCES if os.geteuid() else errno.EROFS)


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Iterator[Path]:
    """A finished run on a read-only disk."""
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    with read_only(run):
        yield run


def test_what_would_write_there_says_what_to_give(run: Path, command: Said, tmp_path: Path) -> None:
    told = f"kdnas: cannot write to {run}: {WHY}"
    assert command("report", run) == (2, f"{told}; give --out FILE\n")
    assert command("export", run) == (2, f"{told}; choose another --out\n")
    assert command("resume", run, "--trials", 3) == (2, f"{told}\n")
    assert command("report", run, "--out", tmp_path / "page.html") == (0, "")


def test_plans_need_no_lock_there(run: Path, command: Said) -> None:
    assert command("resume", run, "--dry-run") == (0, "")
    assert "plan: " in command.all
    assert command("distill", run, "--trial", 1, "--dry-run") == (0, "")
    code, error = command("fidelity", run, "--dry-run")
    assert code == 2 and "--students is 16" in error  # more than it has trials


def test_files_folders_and_locks_are_refused_alike(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with read_only(folder):
        refused = pytest.raises(KdnasError, match=f"^cannot write to {folder}: {WHY}$")
        with refused:
            write_text(folder / "a", "text")
        with refused:
            append_line(folder / "a", "line")
        with refused, replace_folder(folder / "a"):
            pass
        with refused, file_lock(folder / ".lock", "nobody"):
            pass
    source = tmp_path / "source"
    with pytest.raises(PermissionError), replace_file(folder / "a"):
        raise PermissionError(errno.EACCES, WHY, str(source))  # of what was read
