"""Ctrl-C at random moments of a quick search: does it end, how soon, and is its study free?

python benchmarks/ctrl_c.py --times 80
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import tempfile
import time
from pathlib import Path

import tests_path  # noqa: F401
from command_line import a_count, in_one_line
from support.processes import kdnas_child
from support.tiny import save_mrpc, save_teacher

QUICK = {
    "task": "mrpc",
    "teacher-epochs": 0.5,
    "mini-epochs": 0.5,
    "epochs": 0.5,
    "task-epochs": 0.5,
    "batch-size": 16,
    "latency-length": 16,
    "threads": 1,
    "trials": 50,
}


def interrupted(folder: Path, flags: list[str], rng: random.Random) -> tuple[int, float]:
    """One search: its exit code, and seconds from Ctrl-C to its end."""
    child = kdnas_child("search", *flags, "--out", folder)
    if rng.random() > 0.3:
        child.wait_until((folder / "trials").exists)
    time.sleep(rng.uniform(0, 1.5))
    child.kill(signal.SIGINT)
    start = time.monotonic()
    code = child.wait(120)
    seconds = time.monotonic() - start
    if (folder / "study.db").exists():  # raises where somebody holds a lock
        with sqlite3.connect(folder / "study.db", timeout=0) as study:
            study.execute("BEGIN IMMEDIATE")
    return code, seconds


@in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=a_count, default=80)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, codes, slowest = random.Random(args.seed), [], 0.0
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ |= {"KDNAS_CACHE": str(home / "cache"), "KDNAS_LOCKS": str(home / "locks")}
        (home / "glue").mkdir()
        places = {"teacher": save_teacher(home / "teacher"), "data-dir": save_mrpc(home / "glue")}
        flags = [part for k, v in {**QUICK, **places}.items() for part in (f"--{k}", str(v))]
        flags.append("--force")
        for number in range(args.times):
            code, seconds = interrupted(home / str(number), flags, rng)
            codes.append(code)
            slowest = max(slowest, seconds)
    ended = sum(code in (130, -signal.SIGINT) for code in codes)
    print(f"{ended} of {args.times} ended as interrupted, the slowest {slowest:.1f} s after Ctrl-C")


if __name__ == "__main__":
    main()
