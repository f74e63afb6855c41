"""Latency is measured while no other kdnas process of this user computes on the machine.

Processes that compute share a lock, and release it between two steps while somebody waits to
measure; a process that measures holds it alone. The kernel frees the lock of a killed process.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path

import torch
from fasteners import InterProcessReaderWriterLock

from kdnas.runtime.console import say
from kdnas.runtime.working_time import waiting

ALONE = "alone: no other kdnas process of this user computed on the machine meanwhile"
BESIDE = "beside whatever else the machine did"

ANNOUNCE_SECONDS = 10.0
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

    Yields a function to call between two steps: it waits while another process measures, once the
    device's queue is empty.
    """
    global _depth  # noqa: PLW0603
    outermost = not _depth and not _problem(lock_folder())
    _depth += 1
    try:
        with _shared(device) if outermost else nullcontext(lambda: None) as let_pass:
            yield let_pass
    finally:
        _depth -= 1


@contextmanager
def measuring(quiet: bool = True) -> Iterator[None]:
    """Measures while no other process computes; without `quiet`, at once.

    Raises:
        RuntimeError: This process is itself computing.
    """
    if not quiet or (not _depth and _problem(lock_folder())):
        yield
        return
    if _depth:
        raise RuntimeError("cannot measure latency in the middle of a computation")
    gate, work = _lock("gate"), _lock("work")
    # Nobody starts to compute once the gate is held, so that the wait for the others ends.
    with (
        _held(gate.acquire_write_lock, gate.release_write_lock, TO_MEASURE),
        _held(work.acquire_write_lock, work.release_write_lock, TO_MEASURE),
    ):
        yield


@contextmanager
def _shared(device: torch.device) -> Iterator[Callable[[], None]]:
    """Holds the lock with all others that compute."""
    gate, work = _lock("gate"), _lock("work")

    def enter() -> None:
        with _held(gate.acquire_read_lock, gate.release_read_lock, TO_COMPUTE):
            _acquire(work.acquire_read_lock, TO_COMPUTE)

    def let_pass() -> None:
        if gate.acquire_read_lock(blocking=False):
            gate.release_read_lock()
            return
        finish_queue(device)
        work.release_read_lock()
        enter()

    enter()
    try:
        yield let_pass
    finally:
        with suppress(RuntimeError):  # of a failed device; what failed is reported elsewhere
            finish_queue(device)
        if work.lockfile is not None:
            work.release_read_lock()


def finish_queue(device: torch.device) -> None:
    """Waits until a device has done what it was given."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


def _lock(name: str) -> InterProcessReaderWriterLock:
    lock_folder().mkdir(mode=0o700, parents=True, exist_ok=True)  # temporary folders are swept
    return InterProcessReaderWriterLock(lock_folder() / f"{name}.lock")


@contextmanager
def _held(acquire: Callable[..., bool], release: Callable[[], None], what: str) -> Iterator[None]:
    _acquire(acquire, what)
    try:
        yield
    finally:
        release()


def _acquire(acquire: Callable[..., bool], what: str) -> None:
    """Waits for a lock, and says so once that takes long."""
    with waiting():
        if not acquire(timeout=ANNOUNCE_SECONDS):
            _announce(what)
            acquire()


@cache
def _problem(folder: Path) -> str:
    """Why processes cannot meet in a folder; empty where they can. Said once."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with InterProcessReaderWriterLock(folder / f"probe-{os.getpid()}.lock").read_lock():
            pass
        (folder / f"probe-{os.getpid()}.lock").unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        problem = f"no locks in {folder}: {getattr(error, 'strerror', None) or error}"
        say(f"latencies are measured beside other processes: {problem}")
        return problem
    return ""


@cache
def _announce(what: str) -> None:
    """Says once in a process what it waits for."""
    say(f"waiting for other kdnas processes of this user on the machine: {what}")
