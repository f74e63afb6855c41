"""Processes of one's own, forked from one that has imported everything already."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
# Modules that the server imports before it forks; tests add theirs.
PRELOADED = ["support.loaded"]


def _start_server() -> None:
    """Starts the server with this process's path, which it does not take over by itself."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    FORKS.set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


class Child:
    """A function in a process of its own, with this one's environment and folder.

    Args:
        work: At the top of a module.
        given: Plain values.
    """

    def __init__(self, work: Callable[..., object], *given: object) -> None:
        handle, name = tempfile.mkstemp(prefix="kdnas-child-")
        os.close(handle)
        self._file = Path(name)
        weakref.finalize(self, self._file.unlink, missing_ok=True)
        around = (dict(os.environ), str(Path.cwd()), name)
        _start_server()
        self._process = FORKS.Process(target=_run, args=(around, work, given), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its number."""
        pid = self._process.pid
        assert pid
        return pid

    @property
    def code(self) -> int | None:
        """Its exit code, minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    @property
    def output(self) -> str:
        """What it has written so far, errors among it."""
        return self._file.read_text()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends it a signal, if it still runs."""
        if self.code is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float = 200) -> int:
        """Its exit code, when it has ended."""
        self._process.join(seconds)
        assert self.code is not None, f"it still runs:\n{self.output}"
        return self.code

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Waits until something is so while it runs."""
        end = time.monotonic() + 200
        while not ready():
            assert self.code is None, self.output
            assert time.monotonic() < end, self.output
            time.sleep(0.02)


def kdnas_child(*arguments: object) -> Child:
    """The command with arguments."""
    return Child(command, *map(str, arguments))


def command(*arguments: str) -> None:
    """What `python -m kdnas` does."""
    from kdnas.cli.app import main

    sys.argv = ["kdnas", *arguments]
    main()


def _run(
    around: tuple[dict[str, str], str, str], work: Callable[..., object], given: tuple[Any, ...]
) -> None:
    environment, folder, file = around
    # It ends with its parent, but may start processes itself.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    output = os.open(file, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        work(*given)
    except KeyboardInterrupt:  # as the interpreter ends on one
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
