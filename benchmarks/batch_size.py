"""Larger batches in mini-KD: how much faster, how much worse a loss, and do they rank alike?

    python benchmarks/batch_size.py --json batch_size.json

Every student is trained on as many examples in batches of each size, with a learning rate scaled by
a power of the size; what ranks right is a training several times as long in the usual batches. The
sizes take turns for each student. `--json` writes the entry `batch-size`; `tau` is None of one
student.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from command_line import a_count, a_file, a_result, above_0, in_one_line, write_entry
from setting import Setting, make_setting, read_sentences, seconds_of

from kdnas.config import Settings, validated
from kdnas.scoring.mini_kd import MiniKD
from kdnas.scoring.rank_agreement import agreement
from kdnas.space import Architecture, Candidate

USUAL = Settings.model_fields["batch_size"].default


def trained(
    setting: Setting, architecture: Architecture, settings: Settings
) -> tuple[float, float]:
    """A student's score, and the seconds of its training."""
    mini = MiniKD(setting.teacher, setting.proxy, settings, setting.runtime)
    mini.initialisers = setting.mini.initialisers  # what matters in the teacher, measured once
    state = mini.start(Candidate(architecture))
    loss = 0.0

    def work() -> None:
        nonlocal loss
        loss = mini.train(state)

    seconds = seconds_of(work)
    return 1 - loss, seconds


@in_one_line()
def main() -> None:
    """Prints a table and, with --json, writes the figures."""
    args = _arguments()
    base = Settings(threads=args.threads)
    texts = read_sentences(args.text, args.examples)
    setting = make_setting(texts, args.length, base, args.teacher)
    shapes = [setting.architecture(shape) for shape in args.students]
    kinds = {
        f"{size}, rate x {size / USUAL:.0f}^{power}": (size, power) for size, power in _grid(args)
    }
    found: dict[str, Any] = {name: {"scores": [], "seconds": []} for name in kinds}
    right = []
    long = validated({"threads": args.threads, "mini_epochs": base.mini_epochs * args.longer})
    for shape in shapes:
        right.append(trained(setting, shape, long)[0])
        for name, (size, power) in kinds.items():
            rate = base.mini_lr * (size / USUAL) ** power
            own = base.model_copy(update={"batch_size": size, "mini_lr": rate})
            score, seconds = trained(setting, shape, own)
            found[name]["scores"].append(score)
            found[name]["seconds"].append(seconds)
        print(shape.label, f"{right[-1]:.4f}", *(f"{f['scores'][-1]:.4f}" for f in found.values()))
    usual = found[next(iter(kinds))]
    print("| batch | speed | loss higher by | tau with the long training |\n|---|---|---|---|")
    for name, part in found.items():
        speed = np.exp(np.mean(np.log(usual["seconds"]) - np.log(part["seconds"])))
        worse = float(np.mean(usual["scores"]) - np.mean(part["scores"]))
        part |= {"speed": float(speed), "worse": worse}
        part["tau"] = agreement(part["scores"], right, resamples=1).tau
        tau = "-" if part["tau"] is None else f"{part['tau']:.3f}"
        print(f"| {name} | {speed:.2f} | {worse:+.4f} | {tau} |")
    if args.json:
        write_entry(args.json, "batch-size", {"students": args.students, "long": right, **found})


def _grid(args: argparse.Namespace) -> list[tuple[int, float]]:
    return [(USUAL, 0.0), *((size, power) for size in args.batches for power in args.powers)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--teacher", help="Folder or hub id; default: the installed MiniLM.")
    parser.add_argument(
        "--text", type=a_file, help="Sentences, one a line; default: see setting.py."
    )
    parser.add_argument(
        "--students",
        nargs="+",
        default=["1x96", "2x128", "3x96", "2x192", "4x144", "3x240", "6x192", "2x384", "5x288"],
    )
    parser.add_argument("--examples", type=a_count, default=1200)
    parser.add_argument("--length", type=a_count, default=50)
    parser.add_argument("--batches", type=a_count, nargs="+", default=[64, 128])
    parser.add_argument("--powers", type=float, nargs="+", default=[0.5, 1.0])
    parser.add_argument(
        "--longer", type=above_0, default=4.0, help="Epochs of the long training, times."
    )
    parser.add_argument(
        "--threads", type=a_count, default=1, help="As a candidate side by side has."
    )
    parser.add_argument("--json", type=a_result)
    return parser.parse_args()


if __name__ == "__main__":
    main()
