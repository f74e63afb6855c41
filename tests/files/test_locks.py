"""Locks wait, say so, and give up."""

from __future__ import annotations

import errno
import os
import re
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from kdnas.errors import KdnasError
from kdnas.files import locks
from kdnas.files.locks import file_lock

DOES = "another process fine-tunes the teacher"


def test_a_lock_that_stays_taken_ends_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.lock"
    with file_lock(path, DOES), pytest.raises(KdnasError) as caught, file_lock(path, DOES, 0.1):
        pass
    said = f"waited 0.1 s: {DOES} and holds {path}; end that process, or run this command again"
    assert str(caught.value).startswith(said)
    with file_lock(path, DOES, timeout=0):
        pass


def test_a_caller_may_refuse_in_its_own_words(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with (
        file_lock(path, DOES),
        pytest.raises(KdnasError, match="^join it$"),
        file_lock(path, DOES, 0, refusal="join it"),
    ):
        pass


def test_a_long_wait_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "SAY_AFTER", 0.1)
    lock = FileLock(tmp_path / "a.lock", thread_local=False)
    lock.acquire()
    threading.Timer(0.5, lock.release).start()
    with file_lock(tmp_path / "a.lock", DOES, timeout=20):
        assert f"waiting: {DOES}" in capsys.readouterr().out


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_in_one_line(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    path = tmp_path / "a.lock"
    said = f"cannot lock {path}: its file system has no file locks; choose a folder on another one"
    with pytest.raises(KdnasError, match=f"^{re.escape(said)}$"), file_lock(path, DOES, 0):
        pass
    number = errno.EIO
    with pytest.raises(OSError, match="Input/output"), file_lock(path, DOES, 0):
        pass


def test_no_lock_of_the_package_waits_for_ever() -> None:
    package = Path(locks.__file__).parents[1]
    texts = [file.read_text(encoding="utf-8") for file in package.rglob("*.py")]
    users = [text for text in texts if "FileLock(" in text]
    assert users and not any("with FileLock(" in text for text in users)
    acquired = [line for text in users for line in text.splitlines() if "lock.acquire(" in line]
    assert acquired and all("timeout=" in line for line in acquired)
