"""Memory that a process keeps: what it costs to use a second time, and where nothing changes."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from kdnas.runtime.heap import is_chosen

GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
MAY_BE_HUGE = HUGE.exists() and "[never]" not in HUGE.read_text()
# Prints whether memory is kept; how many pages the second of two like rounds of blocks takes; how
# many bytes the system has back after a third one; and how many pages the next one takes.
ROUNDS = """
import ctypes, resource
{limit}
import psutil
from kdnas.runtime.heap import giving_back, keep_memory
kept = keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def use():
    blocks = [libc.malloc(ctypes.c_size_t(40_000_000)) for _ in range(4)]
    for block in blocks:
        ctypes.memset(ctypes.c_void_p(block), 1, 40_000_000)
    for block in blocks:
        libc.free(block)
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def resident():
    return psutil.Process().memory_info().rss
use()
before = pages()
use()
taken, held = pages() - before, resident()
giving_back(use)()
back = held - resident()
before = pages()
use()
print(kept, taken, back, pages() - before)
"""
LIMIT = "resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30, resource.RLIM_INFINITY))"


def rounds(limit: str = "", env: dict[str, str] | None = None) -> tuple[str, int, int, int]:
    """What a process of its own prints."""
    own = {"PYTHONPATH": ":".join(sys.path), **(env or {})}
    command = [sys.executable, "-c", ROUNDS.format(limit=limit)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=own)
    kept, taken, back, after = done.stdout.split()
    return kept, int(taken), int(back), int(after)


@GLIBC
@pytest.mark.parametrize("limit", ["", LIMIT])
def test_memory_that_was_freed_is_there_at_once_until_it_is_given_back(limit: str) -> None:
    kept, taken, back, _ = rounds(limit)
    assert kept == "True" and taken < 100  # 160 MB are 39,063 pages
    assert back > 100_000_000


@GLIBC
@pytest.mark.skipif(not MAY_BE_HUGE, reason="the system has no huge pages on demand")
def test_memory_is_in_huge_pages_again_after_it_was_given_back() -> None:
    kept, *_, after = rounds()
    assert kept == "True" and after < 1000  # 160 MB are 77 huge pages, or 39,063 small ones


@GLIBC
def test_whoever_chooses_how_memory_is_allocated_keeps_that() -> None:
    kept, taken, *_ = rounds(env={"MALLOC_MMAP_THRESHOLD_": "1000000"})
    assert kept == "False" and taken > 50  # of 39,063 pages; in huge ones, 80


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("MALLOC_ARENA_MAX", True),
        ("GLIBC_TUNABLES", True),
        ("LD_PRELOAD", True),
        ("PATH", False),
    ],
)
def test_variables_that_choose(name: str, chosen: bool) -> None:
    assert is_chosen(["HOME", name]) == chosen
