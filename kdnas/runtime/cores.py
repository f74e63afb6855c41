"""How many threads this process may and should use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from kdnas.errors import KdnasError
from kdnas.runtime.formatting import several
from kdnas.runtime.shown import quoted

# Of the container that this process may run in: `QUOTA PERIOD` in microseconds, or `max PERIOD`.
CGROUP = Path("/sys/fs/cgroup")
QUOTA = CGROUP / "cpu.max"
SAMPLE_SECONDS = 0.3
# A core that is idle for less than this share has other work.
IDLE_SHARE = 0.5


def usable_cores() -> int:
    """Cores on which this process may run."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = QUOTA.read_text().split()
        return max(1, min(there or 1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no limit
        return there or 1


def free_cores(seconds: float = SAMPLE_SECONDS) -> int:
    """Cores that have no other work now, at least one; looks at them for some seconds.

    In a container with a part of a machine, cores that nobody uses are free for it, whatever the
    others do.
    """
    busy = psutil.cpu_percent(interval=seconds, percpu=True)
    if hasattr(os, "sched_getaffinity"):
        allowed = os.sched_getaffinity(0)
        busy = [share for core, share in enumerate(busy) if core in allowed] or busy
    idle = sum(share <= 100 * IDLE_SHARE for share in busy)
    return max(1, min(usable_cores(), idle))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Computes with so many threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def free_memory() -> int:
    """Bytes that this process may still take without swapping."""
    free = psutil.virtual_memory().available
    try:
        limit = int((CGROUP / "memory.max").read_text())
        lines = (CGROUP / "memory.stat").read_text().splitlines()
        taken = int(next(line.split()[1] for line in lines if line.startswith("anon ")))
        return min(free, max(0, limit - taken))  # what files take in memory is given back
    except (OSError, ValueError, StopIteration):  # no limit
        return int(free)


def resolve_threads(wanted: int | str | None) -> tuple[int | None, str | None]:
    """Threads to compute with, None for torch's choice; and what to say of them, if anything.

    Args:
        wanted: A number, `auto` for the cores without other work, or None.

    Raises:
        KdnasError: It is none of these.
    """
    cores = usable_cores()
    if wanted == "auto":
        free = free_cores()
        busy = f"{cores - free} of {cores} cores have other work: computing with {free}"
        return free, busy if free < cores else None
    if isinstance(wanted, int) and wanted > cores:
        those = "it" if cores == 1 else "those"
        there = f"this machine has {several(cores, 'core')}; computing with {those}"
        return cores, f"--threads {wanted}: {there}"
    if wanted is None:
        return None, None
    if not str(wanted).isdecimal() or not int(wanted):
        raise KdnasError(f"invalid --threads {quoted(wanted)}: expected 1 or more, or auto")
    return int(wanted), None
