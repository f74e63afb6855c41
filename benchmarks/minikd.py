"""Mini-KD's speed, side by side: the predecessor's loop, kdnas, and the bare student.

- predecessor: teacher at every step, masked-LM heads, fp32, padded to the maximum length;
- kdnas: the training that a search gives each candidate;
- limit: the bare student on kdnas's own batches, packed and in bf16 like it: forward, a trivial
  loss, backward, optimiser step;
- plain: a Hugging Face student as most people would train it: padded to 16s, autocast, all weights.

The methods take turns, and the figures are medians over the turns. Example:

    python benchmarks/minikd.py --json minikd.json

`--json` writes the entry `mini-kd`.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import torch
from command_line import a_count, a_file, a_result, in_one_line, write_entry
from predecessor import Predecessor
from setting import Setting, make_setting, read_sentences, seconds_of

from kdnas.config import Settings
from kdnas.distillation.batches import collate
from kdnas.distillation.forward import forward
from kdnas.distillation.losses import LOSSES
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.outputs import OutputRequest, hidden_states
from kdnas.distillation.precision import working_precision
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signals import NoSignal
from kdnas.distillation.training import predict, train
from kdnas.measure.quiet import finish_queue
from kdnas.space import Architecture
from kdnas.teachers.load import teacher_source

METHODS = ("predecessor", "kdnas", "limit", "plain")
RATIOS = ("predecessor", "limit", "plain")
WARM_UP_STEPS = 3


def kdnas(
    setting: Setting, architecture: Architecture, steps: int | None, epochs: float = 1
) -> float:
    """Seconds of a mini-KD training of so many epochs, or at most so many steps."""
    state, objective = setting.start(architecture)
    result = train(
        state.model,
        objective,
        setting.training,
        setting.proxy.store.subset(setting.proxy.training),
        setting.mini.schedule(epochs, steps),
        setting.runtime,
        pad_id=setting.teacher.pad_id,
    )
    finish_queue(setting.runtime.device)
    return result.seconds


def limit(setting: Setting, architecture: Architecture, steps: int | None) -> float:
    """Seconds of the bare student on the same batches."""
    student = setting.start(architecture)[0].model
    student.get_input_embeddings().requires_grad_(False)
    data, runtime = setting.training, setting.runtime
    plan = setting.mini.schedule(1, None).plan(data.lengths, 0)[:steps]
    with working_precision(student, runtime) as weights:
        optimizer = torch.optim.AdamW(weights.trained, lr=1e-4, fused=True)
        start = time.perf_counter()
        for indices in plan:
            batch = collate(data, indices, setting.teacher.pad_id).to(runtime.device)
            with runtime.autocast():
                depth = student.config.num_hidden_layers
                last = OutputRequest(hidden_states((depth,)))
                states = forward(student, batch, last).hidden(depth)
                loss = states.float().square().mean()
            torch.autograd.backward(loss)
            weights.take_gradients()
            optimizer.step()
            optimizer.zero_grad()
            weights.publish()
        finish_queue(runtime.device)
        return time.perf_counter() - start


def plain(setting: Setting, architecture: Architecture, steps: int | None) -> float:
    """Seconds of a Hugging Face student with padding and autocast, every weight trained."""
    student = setting.start(architecture)[0].model.base_model.train()
    data, runtime = setting.training, setting.runtime
    plan = setting.mini.schedule(1, None).plan(data.lengths, 0)[:steps]
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4, fused=True)
    start = time.perf_counter()
    for indices in plan:
        batch = collate(data, indices, setting.teacher.pad_id).to(runtime.device)
        with runtime.autocast():
            loss = student(**batch.inputs).last_hidden_state.float().square().mean()
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
    finish_queue(runtime.device)
    return time.perf_counter() - start


def predecessor(setting: Setting, architecture: Architecture, arguments: Any) -> float:
    """Examples a second of the predecessor's loop."""
    source = teacher_source(arguments.teacher)
    device = setting.runtime.device
    old = Predecessor(source, architecture, arguments.length, setting.teacher.pad_id, device)
    count = arguments.batch * arguments.predecessor_steps
    indices = np.arange(len(setting.training))[:count]
    old.train(setting.training, indices[: arguments.batch], arguments.batch)
    finish_queue(device)
    start = time.perf_counter()
    old.train(setting.training, indices, arguments.batch)
    finish_queue(device)
    seconds = time.perf_counter() - start
    return len(indices) / seconds


def examples_a_second(
    method: str, setting: Setting, architecture: Architecture, arguments: Any
) -> float:
    """Of one turn of one method, after a short warm-up."""
    if method == "predecessor":
        return predecessor(setting, architecture, arguments)
    run = {"kdnas": kdnas, "limit": limit, "plain": plain}[method]
    run(setting, architecture, WARM_UP_STEPS)
    return len(setting.training) / run(setting, architecture, None)


class PeakMemory:
    """The most resident memory of this process while the context lasts, in MB over its start."""

    def __enter__(self) -> PeakMemory:
        self.process, self.running = psutil.Process(), True
        self.first = self.most = self.process.memory_info().rss
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while self.running:
            self.most = max(self.most, self.process.memory_info().rss)
            time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self.running = False
        self.thread.join()
        self.megabytes = (self.most - self.first) / 1e6


def measure(architecture: Architecture, setting: Setting, arguments: Any) -> dict[str, Any]:
    """All methods on one student, in turn."""
    speeds: dict[str, list[float]] = {method: [] for method in METHODS}
    memory: dict[str, float] = {}
    for _ in range(arguments.repeats):
        for method in METHODS:
            with PeakMemory() as peak:
                speed = examples_a_second(method, setting, architecture, arguments)
            speeds[method].append(speed)
            memory[method] = max(peak.megabytes, memory.get(method, 0.0))
    row: dict[str, Any] = {"student": architecture.label}
    row |= {method: statistics.median(values) for method, values in speeds.items()}
    row |= {f"vs_{method}": row["kdnas"] / row[method] for method in RATIOS}
    row["turns"] = speeds
    row["peak_memory_mb"] = memory
    return row


def stages(setting: Setting) -> dict[str, float]:
    """Examples a second of everything else that trains or runs a model, on the same core."""
    data, runtime, pad = setting.training, setting.runtime, setting.teacher.pad_id
    schedule = Schedule(1, 1e-6, setting.settings.batch_size)
    source = setting.proxy.store.subset(setting.proxy.training)
    state, hidden = setting.start(setting.architecture("3x384"))
    task = WeightedLosses(
        {
            "task": (1.0, LOSSES["task"]()),
            "logits": (1.0, LOSSES["logits"]()),
            "hidden": (1.0, hidden.named["hidden"]),
        }
    )

    def fit(model: Any, objective: WeightedLosses, signal: Any) -> None:
        train(model, objective, data, signal, schedule, runtime, pad_id=pad)

    labels = WeightedLosses({"task": (1.0, LOSSES["task"]())})
    jobs: dict[str, Callable[[], object]] = {
        "teacher fine-tuning": lambda: fit(setting.teacher.model, labels, NoSignal()),
        "full KD, hidden states (3x384)": lambda: fit(state.model, hidden, source),
        "full KD, task stage (3x384)": lambda: fit(state.model, task, source),
        "evaluation, teacher": lambda: predict(setting.teacher.model, data, runtime, pad_id=pad),
        "evaluation, 3x384": lambda: predict(state.model, data, runtime, pad_id=pad),
    }
    return {name: len(data) / seconds_of(job) for name, job in jobs.items()}


def geometric_mean(values: list[float]) -> float:
    """Of positive numbers."""
    return float(np.exp(np.mean(np.log(values))))


def print_report(report: dict[str, Any]) -> None:
    """The tables, in Markdown."""
    print("| student |", " | ".join((*METHODS, *(f"kdnas : {m}" for m in RATIOS))), "|")
    print("|---|---|---|---|---|---|---|---|")
    for row in report["rows"]:
        speeds = " | ".join(f"{row[m]:.{0 if row[m] > 99 else 1}f}" for m in METHODS)
        ratios = " | ".join(f"{row[f'vs_{method}']:.2f}" for method in RATIOS)
        print(f"| {row['student']} | {speeds} | {ratios} |")
    means = " | ".join(f"{report[f'geomean_vs_{method}']:.2f}" for method in RATIOS)
    print(f"| geometric mean | | | | | {means} |")
    memory = {
        m: max(row["peak_memory_mb"][m] for row in report["rows"]) for m in ("predecessor", "kdnas")
    }
    print(f"\npeak memory over the process's start, MB: {memory}")
    print("store:", report["store"])
    print("other stages, examples/s:", {k: round(v) for k, v in report["stages"].items()})


@in_one_line()
def main() -> None:
    """Prints the tables and, with --json, writes them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--teacher", help="Folder or hub id; default: the installed MiniLM.")
    parser.add_argument(
        "--text", type=a_file, help="Sentences, one a line; default: see setting.py."
    )
    parser.add_argument("--students", nargs="+", default=["3x384", "6x192", "2x128", "teacher"])
    parser.add_argument("--examples", type=a_count, default=1200)
    parser.add_argument("--length", type=a_count, default=50, help="Tokens a sentence at most.")
    parser.add_argument("--batch", type=a_count, default=32)
    parser.add_argument("--threads", type=a_count)
    parser.add_argument("--repeats", type=a_count, default=3)
    parser.add_argument("--predecessor-steps", type=a_count, default=4)
    parser.add_argument("--json", type=a_result)
    arguments = parser.parse_args()
    settings = Settings(batch_size=arguments.batch, threads=arguments.threads)
    texts = read_sentences(arguments.text, arguments.examples)
    setting = make_setting(texts, arguments.length, settings, arguments.teacher)
    students = [*map(setting.architecture, arguments.students)]
    lengths = setting.proxy.data.lengths
    report: dict[str, Any] = {
        "environment": setting.runtime.describe(),
        "examples": len(lengths),
        "mean_tokens": float(lengths.mean()),
        "batch": arguments.batch,
        "repeats": arguments.repeats,
        "store": {
            "megabytes": sum(f.stat().st_size for f in setting.proxy.store.folder.iterdir()) / 1e6,
            "seconds": setting.store_seconds,
            "examples_a_second": len(lengths) / setting.store_seconds,
        },
        "rows": [measure(student, setting, arguments) for student in students],
    }
    for method in RATIOS:
        ratios = [row[f"vs_{method}"] for row in report["rows"]]
        report[f"geomean_vs_{method}"] = geometric_mean(ratios)
    report["stages"] = stages(setting)
    print_report(report)
    if arguments.json:
        write_entry(arguments.json, "mini-kd", report)


if __name__ == "__main__":
    main()
