"""Makes bad inputs from a seed and gives them to kdnas; prints what came of them.

python tests/hostile/run.py --seed 0 --cases 600
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from hostile import data, environment, options, runs, texts, yamls  # noqa: E402
from hostile.case import Case, Result  # noqa: E402
from hostile.world import World, made_world, run_case  # noqa: E402

Outcome = tuple[Case, Result, str | None]
KINDS = {module.KIND: module for module in (options, yamls, data, texts, runs, environment)}


def chosen(world: World, seed: int, count: int, kinds: list[str]) -> Iterator[Case]:
    """Equally many cases of each kind: the named ones first, then random ones."""
    for i, kind in enumerate(kinds):
        share = count // len(kinds) + (i < count % len(kinds))
        yield from islice(KINDS[kind].cases(world, random.Random(f"{seed} {kind}")), share)


def sample(world: World, seed: int, count: int, kinds: list[str]) -> list[Case]:
    """A random sample of some hundred cases."""
    pool = list(chosen(world, seed, 600, kinds))
    return random.Random(seed).sample([case for case in pool if not case.shell], count)


def main() -> int:
    """Returns 1 where any case went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=600)
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    given = parser.parse_args()
    kinds, done = given.kind or list(KINDS), defaultdict[str, list[Outcome]](list)
    with made_world() as world:
        for case in chosen(world, given.seed, given.cases, kinds):
            result, wrong = run_case(world, case)
            done[case.kind].append((case, result, wrong))
            if wrong:
                tell(case, result, wrong)
    return report(done)


def tell(case: Case, result: Result, wrong: str) -> None:
    """Prints a case that went wrong."""
    said = (result.error or result.out).strip()[-400:]
    print(f"\n{case.kind}: {case.what[:100]}: {wrong}")
    print(f"  {shlex.join(map(str, case.arguments))[-200:]}")
    print(f"  code {result.code}, {result.seconds:.1f} s: {said}", flush=True)


def report(done: dict[str, list[Outcome]]) -> int:
    """Prints a row a kind."""
    head = ("kind", "cases", "refused", "accepted", "wrong", "tracebacks", "slow", "slowest")
    print("\n" + " ".join(f"{name:>11}" for name in head))
    failed = 0
    for kind, rows in done.items():
        codes = [result.code for _, result, _ in rows]
        wrong = [w for _, _, w in rows if w]
        failed += len(wrong)
        counts = (
            *(len(rows), sum(c in (2, 3) for c in codes), codes.count(0), len(wrong)),
            *(wrong.count("a traceback"), codes.count(None)),
        )
        slowest = max(result.seconds for _, result, _ in rows)
        print(" ".join(f"{value:>11}" for value in (kind, *counts, f"{slowest:.1f} s")))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
