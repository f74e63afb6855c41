"""What it is worth that a process keeps its memory, in huge pages.

    python benchmarks/kept_memory.py --threads 1 --json kept_memory.json

Alternates processes that keep what they free (kdnas/runtime/heap.py) with processes that do not, as
plain PyTorch has it. Each trains MiniLM's shape in bf16 on batches of 32 random texts, whose length
varies from half of `--lengths` to all of it, and times shapes on one text of 128 tokens in turn.
Prints medians: seconds a step, page faults a step, peak memory, and milliseconds a pass with the
speed-up over MiniLM's shape. `--json` writes the entry `kept-memory`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from statistics import median
from typing import Any

import torch
from command_line import a_count, a_result, in_one_line, write_entry
from transformers import BertConfig, BertForSequenceClassification

from kdnas.runtime.heap import is_chosen, keep_memory
from kdnas.space import Architecture

KEPT, PLAIN = "kept", "plain"
TEACHER = Architecture(6, 12, 384, 1536, "gelu")
STUDENTS = (
    Architecture(3, 12, 384, 1152, "gelu"),
    Architecture(6, 12, 192, 384, "gelu"),
    Architecture(3, 12, 240, 768, "gelu"),
)
BATCH, TOKENS, PASSES, WARM_UP = 32, 128, 30, 2

Figures = dict[str, Any]


def model_of(shape: Architecture) -> BertForSequenceClassification:
    """An untrained BERT of a shape."""
    return BertForSequenceClassification(BertConfig(**shape.params))


def training(length: int, steps: int) -> Figures:
    """`seconds` and `faults` of a step, `peak_mb` of the process."""
    model = model_of(TEACHER).to(torch.bfloat16).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    lengths = torch.linspace(length // 2, length, steps).int().tolist()

    def step(tokens: int) -> None:
        ids = torch.randint(1000, 20_000, (BATCH, tokens))
        model(input_ids=ids, labels=ids[:, 0] % 2).loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    for tokens in lengths[-WARM_UP:]:
        step(tokens)
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for tokens in lengths:
        step(tokens)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    faults = after.ru_minflt - before.ru_minflt
    return {
        "seconds": seconds / steps,
        "faults": faults / steps,
        "peak_mb": after.ru_maxrss / 1e3,
    }


def latencies() -> Figures:
    """Milliseconds of a pass by shape, timed in turn."""
    models = {shape.label: model_of(shape).eval() for shape in (TEACHER, *STUDENTS)}
    ids = torch.randint(1000, 20_000, (1, TOKENS))
    times: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for _ in range(PASSES):
            for name, model in models.items():
                start = time.perf_counter()
                model(ids)
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: median(some[WARM_UP:]) for name, some in times.items()}


def in_a_process(kind: str, job: str, args: argparse.Namespace) -> Figures:
    """What a new process measures."""
    given = ["--child", kind, job, "--threads", str(args.threads), "--steps", str(args.steps)]
    done = subprocess.run(
        [sys.executable, __file__, *given], check=True, stdout=subprocess.PIPE, text=True
    )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def _child(kind: str, job: str, args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if kind == KEPT and not keep_memory():
        raise SystemExit("this system cannot keep memory: it needs Linux with glibc")
    found = training(int(job), args.steps) if job.isdecimal() else latencies()
    print(json.dumps(found))


def _medians(found: list[Figures]) -> Figures:
    return {name: median(one[name] for one in found) for name in found[0]}


@in_one_line()
def main() -> None:
    """Prints two tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=a_count, default=1)
    parser.add_argument("--turns", type=a_count, default=3)
    parser.add_argument("--steps", type=a_count, default=6)
    parser.add_argument("--lengths", type=a_count, nargs="+", default=[64, 256])
    parser.add_argument("--json", type=a_result)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        kind, job = args.child
        _child(kind, job, args)
        return
    for name in [name for name in os.environ if is_chosen([name])]:
        del os.environ[name]  # or no process would keep its memory
    found: Figures = {}
    for job in (*map(str, args.lengths), "latencies"):
        turns = [
            {kind: in_a_process(kind, job, args) for kind in (PLAIN, KEPT)}
            for _ in range(args.turns)
        ]
        found[job] = {kind: _medians([turn[kind] for turn in turns]) for kind in (PLAIN, KEPT)}
        print(job, json.dumps(found[job]), flush=True)
    _print(found)
    if args.json:
        write_entry(args.json, "kept-memory", found)


def _print(found: Figures) -> None:
    print("| tokens | | seconds a step | page faults a step | peak memory, MB |")
    print("|---|---|---|---|---|")
    for job in (one for one in found if one.isdecimal()):
        for kind, one in found[job].items():
            cells = f"{one['seconds']:.2f} | {one['faults']:,.0f} | {one['peak_mb']:,.0f}"
            print(f"| {job} | {kind} | {cells} |")
    print("\n| shape | ms, plain | ms, kept | times as fast, plain | kept |\n|---|---|---|---|---|")
    plain, kept = found["latencies"][PLAIN], found["latencies"][KEPT]
    teacher = TEACHER.label
    for name in plain:
        ratios = (f"{one[teacher] / one[name]:.2f}" for one in (plain, kept))
        print(f"| {name} | {plain[name]:.1f} | {kept[name]:.1f} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
