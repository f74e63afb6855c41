"""Names of processes by which others on the machine can tell whether they still live."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

import psutil


def process_name() -> str:
    """This process, as host:pid:start."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start(os.getpid())}"


def is_here(name: str) -> bool:
    """Whether a named process is one of this machine's."""
    return name.rsplit(":", 2)[0] == socket.gethostname()


def lives(name: str) -> bool:
    """Whether a named process of this machine still runs; one that nobody buried does not."""
    _, pid, start = name.rsplit(":", 2)
    return _start(int(pid)) == start


def _start(pid: int) -> str | None:
    """When a process began, since numbers are used again; None where it has ended.

    By the kernel's ticks since it booted where it tells them: times of day change with the clock.
    """
    try:
        # After the command in brackets, which may hold anything: state, 18 more, start.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else f"{fields[19]}-{_boot()}"
    except (ProcessLookupError, FileNotFoundError):
        if Path("/proc/self/stat").exists():
            return None
    try:
        process = psutil.Process(pid)
        ended = process.status() == psutil.STATUS_ZOMBIE
        return None if ended else f"{process.create_time():.0f}"
    except psutil.NoSuchProcess:
        return None


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return ""
