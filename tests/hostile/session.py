"""A session of bad inputs: which are chosen, and what is printed of them."""

from __future__ import annotations

import argparse
import random
import shlex
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from hostile import data, environment, options, runs, task_types, texts, yamls
from hostile.case import Case, Result
from hostile.world import World, made_world, run_case

Outcome = tuple[Case, Result, str | None]
MODULES = (options, yamls, data, task_types, texts, runs, environment)
KINDS = {module.KIND: module for module in MODULES}


def chosen(world: World, seed: int, count: int, kinds: list[str]) -> Iterator[tuple[str, Case]]:
    """Equally many cases of each kind, with their names: the named ones first, then random ones."""
    for i, kind in enumerate(kinds):
        share = count // len(kinds) + (i < count % len(kinds))
        rng = random.Random(f"{seed} {kind}")
        for number, case in enumerate(islice(KINDS[kind].cases(world, rng), share)):
            yield f"{kind}-{number}", case


def sample(world: World, seed: int, count: int, kind: str) -> list[Case]:
    """A random sample of a kind's first hundred cases, without those that start processes."""
    pool = [case for _, case in chosen(world, seed, 100, [kind]) if not case.shell]
    return random.Random(seed).sample(pool, count)


def main() -> int:
    """Returns 1 where any case went wrong."""
    parser = argparse.ArgumentParser(
        description="Gives bad inputs, made from a seed, to kdnas; prints what came of them."
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other cases")
    parser.add_argument("--cases", type=int, default=600)
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--only", action="append", help="a case by its name, such as data-17")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument("--verbose", action="store_true", help="every case, as it ends")
    given = parser.parse_args()
    kinds, done = given.kind or list(KINDS), defaultdict[str, list[Outcome]](list)
    with made_world() as world, ThreadPoolExecutor(given.jobs) as pool:
        named = list(chosen(world, given.seed, given.cases, kinds))
        named = [(name, case) for name, case in named if not given.only or name in given.only]
        outcomes = pool.map(lambda one: run_case(world, one[1]), named)
        for (name, case), (result, wrong) in zip(named, outcomes, strict=True):
            done[case.kind].append((case, result, wrong))
            if wrong or given.verbose:
                tell(name, case, result, wrong or "right")
    return report(done)


def tell(name: str, case: Case, result: Result, wrong: str) -> None:
    """Prints a case and what it did."""
    around = " ".join(f"{k}={v!r}" for k, v in case.environment.items())
    said = (result.error or result.out).strip()[-400:]
    print(f"\n{name}, {case.what[:100]!a}: {wrong}")
    print(f"  {around} kdnas {shlex.join(map(str, case.arguments))[-400:]!a} {case.shell}")
    print(f"  code {result.code}, {result.seconds:.1f} s: {said!a}", flush=True)


def report(done: dict[str, list[Outcome]]) -> int:
    """Prints a row a kind."""
    head = ("kind", "cases", "refused", "accepted", "wrong", "tracebacks", "slow", "slowest")
    print("\n" + " ".join(f"{name:>11}" for name in head))
    failed = 0
    for kind, rows in done.items():
        codes = [result.code for _, result, _ in rows]
        wrong = [w for _, _, w in rows if w]
        failed += len(wrong)
        right = sum(result.code == 0 and not w for _, result, w in rows)
        slow = sum(w.startswith("it took") for w in wrong)
        counts = (len(rows), sum(c in (2, 3) for c in codes), right, len(wrong))
        slowest = max(result.seconds for _, result, _ in rows)
        row = (kind, *counts, wrong.count("a traceback"), slow, f"{slowest:.1f} s")
        print(" ".join(f"{value:>11}" for value in row))
    return int(failed > 0)
