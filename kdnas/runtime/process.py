"""Names of processes by which others on the same machine can tell whether they still run."""

from __future__ import annotations

import multiprocessing
import os
import socket
from functools import cache
from pathlib import Path

import psutil

# Boot times are rounded to seconds and may be read a moment apart.
TOLERANCE = 200


def process_name() -> str:
    """This process as HOST:MACHINE:PID:START."""
    return f"{_place()}:{os.getpid()}:{_start(os.getpid())}"


def is_here(name: str) -> bool:
    """Whether a named process is of this machine and PID namespace, so that `lives` can tell.

    Containers may share a host name or a boot, but not their process ids.
    """
    return name.rsplit(":", 2)[0] == _place()


def lives(name: str) -> bool:
    """Whether a named process of this machine still runs; a zombie does not."""
    _, pid, start = name.rsplit(":", 2)
    now = _start(int(pid))
    return now is not None and abs(now - int(start)) <= TOLERANCE


def is_beside(name: str) -> bool:
    """Whether a named process was forked by the same command as this one, to work beside it."""
    parent = multiprocessing.parent_process()
    if parent is None or not (is_here(name) and lives(name)):
        return False
    try:
        return psutil.Process(int(name.split(":")[-2])).ppid() == parent.pid
    except psutil.NoSuchProcess:  # it ended meanwhile
        return False


def _place() -> str:
    return f"{socket.gethostname()}:{_boot()}-{_pid_namespace()}"


@cache
def _boot() -> str:
    """Tells one boot of a machine from another."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:13]
    except OSError:
        return f"{psutil.boot_time():.0f}"


def _pid_namespace() -> int:
    """The namespace in which this process's id counts; 0 where there are none."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116
    except OSError:
        return 0


def _start(pid: int) -> int | None:
    """Hundredths of a second from boot to a process's start; None where it has ended.

    Process ids are used again. Since boot, because times of day change with the clock.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return round(100 * (process.create_time() - psutil.boot_time()))
    except psutil.NoSuchProcess:
        return None
