"""Does bf16 rank students as fp32 does? Mini-KD of the same students in both, Kendall's tau.

python benchmarks/precision.py --students 14

`--json` writes the entry `precision`: `tau`, None of one student, and losses and seconds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from command_line import a_count, a_file, a_result, above_0, in_one_line, write_entry
from setting import make_setting, read_sentences

from kdnas.config import validated
from kdnas.errors import KdnasError
from kdnas.scoring.rank_agreement import agreement
from kdnas.space import Architecture, Candidate, SearchSpace


def spread(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Random students of a space.

    Raises:
        KdnasError: It has fewer.
    """
    if count > (most := len(space.architectures)):
        raise KdnasError(f"invalid --students {count}: the space has {most:,}; give fewer")
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(space.architectures), count, replace=False)
    return [space.architectures[i] for i in chosen]


@in_one_line()
def main() -> None:
    """Prints the losses and Kendall's tau and, with --json, writes them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--teacher")
    parser.add_argument("--text", type=a_file)
    parser.add_argument("--students", type=a_count, default=14)
    parser.add_argument("--examples", type=a_count, default=1200)
    parser.add_argument("--epochs", type=above_0, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=a_result)
    arguments = parser.parse_args()
    texts = read_sentences(arguments.text, arguments.examples)
    losses: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for precision in ("fp32", "bf16"):
        settings = validated({"precision": precision, "mini_epochs": arguments.epochs})
        setting = make_setting(texts, 128, settings, arguments.teacher)
        config = setting.teacher.model.config
        space = SearchSpace.from_teacher(config, setting.teacher.name, {})
        students = spread(space, arguments.students, arguments.seed)
        mini = setting.mini
        start = time.perf_counter()
        losses[precision] = [mini.train(mini.start(Candidate(student))) for student in students]
        seconds[precision] = time.perf_counter() - start
        for student, loss in zip(students, losses[precision], strict=True):
            print(precision, student.label, f"{loss:.4f}")
    tau = agreement(losses["fp32"], losses["bf16"], resamples=1).tau
    worst = float(np.abs(np.subtract(losses["fp32"], losses["bf16"])).max())
    shown = "-" if tau is None else f"{tau:.3f}"
    print(f"Kendall's tau {shown} over {len(students)} students; largest difference {worst:.4f}")
    print(f"seconds: {seconds}")
    if arguments.json:
        report = {"tau": tau, "losses": losses, "students": [s.label for s in students]}
        write_entry(arguments.json, "precision", {**report, "seconds": seconds})


if __name__ == "__main__":
    main()
