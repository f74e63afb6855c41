"""Where a training step's time goes: the predecessor's loop, a plain student, kdnas.

python benchmarks/step_profile.py --student 3x384
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import minikd
import numpy as np
from command_line import a_file, in_one_line
from predecessor import Predecessor
from setting import Setting, make_setting, read_sentences
from torch.profiler import ProfilerActivity, profile

from kdnas.config import Settings
from kdnas.space import Architecture
from kdnas.teachers.load import teacher_source

LENGTH = 50
STEPS = 12
KINDS = {
    "matrix products": ("mm", "addmm", "linear"),
    "attention": ("bmm", "baddbmm", "_softmax", "scaled_dot_product", "flash_attention"),
    "copies, casts, gathers": ("copy_", "index_select", "cat", "fill_", "zero_", "_to_copy"),
    "optimiser": ("adamw", "addcdiv", "addcmul", "lerp", "sqrt", "vector_norm", "foreach"),
    "activations, normalisations, sums": ("gelu", "relu", "layer_norm", "add", "mul", "sum", "sub"),
}


def kind_of(name: str) -> str:
    """What an operator is for."""
    short = name.removeprefix("aten::").removeprefix("_")
    for kind in ("attention", "optimiser", "copies, casts, gathers"):
        if any(part in name for part in KINDS[kind]):
            return kind
    if short in KINDS["matrix products"]:
        return "matrix products"
    parts = KINDS["activations, normalisations, sums"]
    return "activations, normalisations, sums" if any(p in name for p in parts) else "the rest"


def shares(work: Callable[[], object]) -> tuple[float, dict[str, float]]:
    """Milliseconds a step, and each kind's share of the operators' own time."""
    work()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        work()
    times: dict[str, float] = {}
    for event in profiled.key_averages():
        kind = kind_of(event.key)
        times[kind] = times.get(kind, 0.0) + event.self_cpu_time_total
    total = sum(times.values())
    return total / 1000 / STEPS, {kind: value / total for kind, value in times.items()}


def jobs(setting: Setting, architecture: Architecture) -> dict[str, Callable[[], object]]:
    """The three loops, each for so many steps."""
    source, batch = teacher_source(None), setting.settings.batch_size
    old = Predecessor(source, architecture, LENGTH, setting.teacher.pad_id)
    indices = np.arange(batch * STEPS)
    return {
        "predecessor": lambda: old.train(setting.training, indices, batch),
        "plain": lambda: minikd.plain(setting, architecture, STEPS),
        "kdnas": lambda: minikd.kdnas(setting, architecture, STEPS),
    }


@in_one_line()
def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--student", default="3x384")
    parser.add_argument("--text", type=a_file)
    arguments = parser.parse_args()
    setting = make_setting(read_sentences(arguments.text, 600), LENGTH, Settings())
    work = jobs(setting, setting.architecture(arguments.student))
    columns = {name: shares(job) for name, job in work.items()}
    print(f"| {arguments.student} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    print(f"| ms a step | {' | '.join(f'{ms:.0f}' for ms, _ in columns.values())} |")
    for kind in (*KINDS, "the rest"):
        cells = (f"{share.get(kind, 0):.0%}" for _, share in columns.values())
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
