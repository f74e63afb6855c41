"""Latency is measured while no other process of kdnas computes on this machine.

Who computes holds a lock that many may share, and lets go of it between two steps when somebody
wants to measure; who measures holds it alone. Both are locks of the kernel's on files that all
processes of a user share, so that a killed process holds nobody up.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

from kdnas.runtime.console import say

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

ALONE = "alone: no other kdnas process of this user computed on the machine meanwhile"
BESIDE = "beside whatever else the machine did"

# After so long a wait is told, and so is what it is for.
TELL_SECONDS = 10.0
TO_MEASURE = "latency is measured while none of them computes (--no-latency-quiet does not wait)"
TO_COMPUTE = "one of them measures latency, and nobody computes meanwhile"

# How many parts of this process are computing; only the outermost holds the lock.
_depth = 0


def lock_folder() -> Path:
    """Where this user's processes on this machine meet: KDNAS_LOCKS, else a temporary folder."""
    named = os.environ.get("KDNAS_LOCKS")
    user = getattr(os, "getuid", int)()
    return Path(named) if named else Path(tempfile.gettempdir()) / f"kdnas-{user}"


def how_measured(quiet: bool) -> str:
    """What a report says of its latencies."""
    if not quiet:
        return f"{BESIDE} (--no-latency-quiet)"
    problem = _problem(lock_folder())
    return f"{BESIDE} ({problem})" if problem else ALONE


@contextmanager
def computing(device: torch.device) -> Iterator[Callable[[], None]]:
    """Keeps others from measuring while this process computes.

    Yields a function to call between two steps: it waits while another process measures.

    Args:
        device: Where it computes; its queue is empty before another process measures.
    """
    global _depth  # noqa: PLW0603
    if _problem(lock_folder()):
        yield _go_on
        return
    _depth += 1
    try:
        if _depth > 1:
            yield _go_on
        else:
            with _Turnstile(device) as turnstile:
                yield turnstile.let_pass
    finally:
        _depth -= 1


@contextmanager
def measuring(quiet: bool = True) -> Iterator[None]:
    """Measures while no other process computes; without `quiet`, at once.

    Raises:
        RuntimeError: This process is itself computing.
    """
    if quiet and _depth:
        raise RuntimeError("nothing can be measured in the middle of a computation")
    with ExitStack() as stack:
        if quiet and not _problem(lock_folder()):
            gate, work = _open(stack, "gate"), _open(stack, "work")
            with _told(TO_MEASURE):
                _lock(gate, "LOCK_EX")  # from here on nobody starts, so that the wait ends
                _lock(work, "LOCK_EX")
        yield


class _Turnstile:
    """The shared side of the lock."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stack = ExitStack()

    def __enter__(self) -> _Turnstile:
        self._gate, self._work = _open(self._stack, "gate"), _open(self._stack, "work")
        self._enter()
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(RuntimeError):  # of a failed device: what failed is reported elsewhere
            self._drain()
        self._stack.close()

    def let_pass(self) -> None:
        """Waits while somebody measures or wants to."""
        try:
            _lock(self._gate, "LOCK_SH", "LOCK_NB")
            _lock(self._gate, "LOCK_UN")
        except BlockingIOError:
            self._drain()
            _lock(self._work, "LOCK_UN")
            self._enter()

    def _enter(self) -> None:
        with _told(TO_COMPUTE):
            _lock(self._gate, "LOCK_SH")
            _lock(self._work, "LOCK_SH")
            _lock(self._gate, "LOCK_UN")

    def _drain(self) -> None:
        if self._device.type != "cpu":
            getattr(torch, self._device.type).synchronize()


def _go_on() -> None:
    """Nothing to wait for."""


@cache
def _problem(folder: Path) -> str:
    """Why processes cannot meet in a folder; empty where they can. Said once."""
    if fcntl is None:
        problem = "this system has no file locks"
    else:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in ("gate", "work"):
                (folder / f"{name}.lock").touch()
            return ""
        except OSError as error:
            problem = f"no locks in {folder}: {error.strerror}"
    say(f"latencies are measured beside other processes: {problem}")
    return problem


def _open(stack: ExitStack, name: str) -> int:
    folder = lock_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # temporary folders are swept
    file = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, file)
    return file


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Says what is waited for where that takes long."""
    timer = threading.Timer(TELL_SECONDS, _tell, (what,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@cache
def _tell(what: str) -> None:
    """Says once in a process what it waits for."""
    say(f"waiting for other kdnas processes of this user on the machine: {what}")


def _lock(file: int, *how: str) -> None:
    assert fcntl is not None
    fcntl.flock(file, sum(getattr(fcntl, name) for name in how))
