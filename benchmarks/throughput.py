"""How many examples of candidates a search trains on in a second, beside the predecessor's loop.

    python benchmarks/throughput.py --json throughput.json

By turns, for each student:

- predecessor: one student in its loop, with all threads, in a process with plain PyTorch's memory;
- one: one mini-KD with all threads;
- search: mini-KDs side by side, as a search runs them (`--jobs`), all examples over wall time;
- limit: the bare student on packed rows with all threads, or in CUDA graphs, at the fastest of
  some batch sizes, and compiled where that is faster and `--compile` is given.

The entry `throughput` has `geomean_vs_predecessor`, the geometric mean of search : predecessor, and
`share_of_limit`, that of one : limit; on a GPU `examples_per_second`, the geometric mean of search.
A file without other entries has these at its top, too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from command_line import a_count, a_file, a_result, above_0, in_one_line, this_command
from minikd import WARM_UP_STEPS, geometric_mean, kdnas, predecessor
from setting import Setting, make_setting, read_sentences, seconds_of

from kdnas.config import Settings
from kdnas.distillation.batches import Batch, collate, padded, plan_epoch
from kdnas.distillation.captured import CapturedSteps, captures, stream_of_its_own
from kdnas.distillation.forward import forward
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.outputs import ModelOutputs, OutputRequest, hidden_states
from kdnas.distillation.precision import working_precision
from kdnas.files.atomic import read_json, write_json
from kdnas.measure.quiet import finish_queue
from kdnas.runtime.cores import usable_cores
from kdnas.runtime.device import start_runtime
from kdnas.runtime.side_by_side import Ask, can_fork, side_by_side
from kdnas.space import Architecture

METHODS = ("predecessor", "one", "search", "limit")
HEADLINES = ("geomean_vs_predecessor", "share_of_limit", "examples_per_second")
FIELDS = Settings.model_fields
ON_CPU = {
    "examples": 900,
    "epochs": 1,
    "batch": FIELDS["batch_size"].default,
    "limit_batches": [32, 128],
}
# There the start of a training is most of a short one: as many epochs as a search trains.
ON_GPU = {
    "examples": 24_000,
    "epochs": FIELDS["mini_epochs"].default,
    "batch": 1024,
    "limit_batches": [256, 1024],
}


def together(setting: Setting, architecture: Architecture, jobs: int) -> float:
    """Examples a second of one mini-KD a process."""
    start = multiprocessing.get_context("fork").Barrier(jobs)
    times: list[tuple[float, float]] = []

    def work(ask: Ask) -> None:
        kdnas(setting, architecture, WARM_UP_STEPS)
        start.wait()
        begun = time.perf_counter()  # of one clock for all processes
        kdnas(setting, architecture, None)
        ask((begun, time.perf_counter()))

    side_by_side(jobs, work, times.append, lambda: None)
    wall = max(end for _, end in times) - min(begun for begun, _ in times)
    return jobs * len(setting.training) / wall


def bare(setting: Setting, architecture: Architecture, batch: int, *, compiled: bool) -> float:
    """Examples a second of the student alone: forward, a trivial loss, backward, optimiser step."""
    student, objective = setting.start(architecture)[0].model, WeightedLosses({})
    student.get_input_embeddings().requires_grad_(False)
    data, runtime = setting.training, setting.runtime
    if compiled:
        student.forward = torch.compile(student.forward, dynamic=True)  # type: ignore[method-assign]
    even = captures(student, objective, runtime)
    plan = plan_epoch(data.lengths, batch, 0, 0, even=even)
    longest = padded(int(data.lengths.max())) if even else 0
    with stream_of_its_own(runtime.device), working_precision(student, runtime) as weights:
        optimizer = torch.optim.AdamW(weights.trained, lr=1e-4, fused=True, capturable=even)

        def work(rows: Batch, _: ModelOutputs) -> tuple[torch.Tensor, torch.Tensor]:
            with runtime.autocast():
                depth = student.config.num_hidden_layers
                states = forward(student, rows, OutputRequest(hidden_states((depth,))))
                loss = states.hidden(depth).float().square().mean()
            torch.autograd.backward(loss)
            weights.take_gradients()
            optimizer.step()
            optimizer.zero_grad()
            weights.publish()
            return loss.detach(), loss.detach()

        replayed = CapturedSteps(work, student.zero_grad) if even else work

        def step(indices: Any) -> None:
            rows = collate(data, indices, setting.teacher.pad_id, even=longest)
            replayed(rows.to(runtime.device), ModelOutputs())

        for indices in plan[:WARM_UP_STEPS]:
            step(indices)

        def steps() -> None:
            for indices in plan:
                step(indices)
            finish_queue(runtime.device)

        return len(data) / seconds_of(steps)


def predecessor_alone(student: str) -> float:
    """Examples a second of the predecessor's loop, in a process of its own.

    There this environment leaves memory as it is (kdnas/runtime/heap.py).
    """
    command = [sys.executable, __file__, *sys.argv[1:], "--predecessor-alone", student]
    as_it_is = {"MALLOC_ARENA_MAX": "64"}
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | as_it_is
    )
    return float(done.stdout.splitlines()[-1])


def measured(setting: Setting, student: str, args: argparse.Namespace) -> dict[str, Any]:
    """All methods on one student, by turns."""
    architecture = setting.architecture(student)
    speeds: dict[str, list[float]] = {method: [] for method in METHODS}
    limits: dict[str, list[float]] = {}
    for _ in range(args.repeats):
        speeds["predecessor"].append(predecessor_alone(student))
        kdnas(setting, architecture, WARM_UP_STEPS)
        seconds = kdnas(setting, architecture, None, args.epochs)
        speeds["one"].append(len(setting.training) * args.epochs / seconds)
        many = together(setting, architecture, args.jobs) if args.jobs > 1 else speeds["one"][-1]
        speeds["search"].append(many)
        for batch in args.limit_batches:
            for compiled in (False, True) if args.compile else (False,):
                name = f"{batch}{' compiled' * compiled}"
                speed = bare(setting, architecture, batch, compiled=compiled)
                limits.setdefault(name, []).append(speed)
    best = max(limits, key=lambda name: statistics.median(limits[name]))
    speeds["limit"] = limits[best]
    row: dict[str, Any] = {m: statistics.median(values) for m, values in speeds.items()}
    row |= {"student": architecture.label, "limit_at": best, "turns": speeds}
    return row


@in_one_line()
def main() -> None:
    """Prints the table and, with --json, writes the figures."""
    args = _arguments()
    on_gpu = start_runtime(device=args.device).device.type != "cpu"
    usual = ON_GPU if on_gpu else ON_CPU
    for name, value in usual.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    settings = Settings(batch_size=args.batch, device=args.device)
    texts = read_sentences(args.text, args.examples)
    setting = make_setting(texts, args.length, settings, args.teacher)
    for student in args.students:
        setting.architecture(student)  # refuses what is none before anything is measured
    if args.predecessor_alone:
        print(predecessor(setting, setting.architecture(args.predecessor_alone), args))
        return
    setting.start(setting.architecture("teacher"))  # measures what the teacher can spare
    if not can_fork(setting.runtime.device):
        args.jobs = 1
    print("| student |", " | ".join(METHODS), "| search : predecessor | one : limit |")
    print("|---" * (len(METHODS) + 3) + "|")
    rows = []
    for student in args.students:
        row = measured(setting, student, args)
        rows.append(row)
        cells = " | ".join(f"{row[m]:,.0f}" for m in METHODS)
        ratios = row["search"] / row["predecessor"], row["one"] / row["limit"]
        print(f"| {row['student']} | {cells} | {ratios[0]:.1f} | {ratios[1]:.2f} |", flush=True)
    found: dict[str, Any] = {
        "environment": setting.runtime.describe(),
        "jobs": args.jobs,
        "batch": args.batch,
        "geomean_vs_predecessor": geometric_mean([r["search"] / r["predecessor"] for r in rows]),
        "share_of_limit": geometric_mean([r["one"] / r["limit"] for r in rows]),
        "rows": rows,
    }
    if setting.runtime.device.type != "cpu":
        found["examples_per_second"] = geometric_mean([r["search"] for r in rows])
    for key in HEADLINES:
        if key in found:
            print(f"{key}: {found[key]:.2f}")
    if args.json:
        found["command"] = this_command()
        write_json(args.json, merged(read_json(args.json) or {}, found))


def merged(whole: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """A file's entries with that of these figures.

    Scripts read the headlines at the top of a file that this benchmark began.
    """
    own = not whole.keys() - {"throughput"} or HEADLINES[0] in whole
    top = {key: found[key] for key in HEADLINES if own and key in found}
    others = {key: value for key, value in whole.items() if key not in {*HEADLINES, *found}}
    return {**top, **others, "throughput": found}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--teacher", help="Folder or hub id; default: the installed MiniLM.")
    parser.add_argument(
        "--text", type=a_file, help="Sentences, one a line; default: see setting.py."
    )
    parser.add_argument("--students", nargs="+", default=["3x384", "6x192", "2x128", "6x384"])
    parser.add_argument("--examples", type=a_count)
    parser.add_argument("--epochs", type=above_0, help="Of one, and of search on a GPU.")
    parser.add_argument("--length", type=a_count, default=50, help="Tokens a sentence at most.")
    parser.add_argument("--batch", type=a_count)
    parser.add_argument("--jobs", type=a_count, default=usable_cores())
    parser.add_argument("--device")
    parser.add_argument("--repeats", type=a_count, default=3)
    parser.add_argument("--predecessor-steps", type=a_count, default=4)
    parser.add_argument("--limit-batches", type=a_count, nargs="+")
    parser.add_argument("--compile", action="store_true", help="Compile the bare student, too.")
    parser.add_argument("--json", type=a_result)
    parser.add_argument("--predecessor-alone", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
