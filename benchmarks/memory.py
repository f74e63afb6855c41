"""Memory of a worker over many trials: does it grow?

    python benchmarks/memory.py

A search of 200 trials in one process over a tiny teacher and space made on purpose; everything else
is real, mini-KD included. Prints its resident memory (RSS, MB) after some trials.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
from pathlib import Path
from typing import Any

import psutil
import tests_path  # noqa: F401
from command_line import a_count, in_one_line
from support.stepwise import Stepwise
from support.tiny import save_mrpc, save_teacher

from kdnas.config import validated
from kdnas.errors import KdnasError
from kdnas.runs.run_folder import Run

SPACE = {
    "num_hidden_layers": [1, 2, 3],
    "num_attention_heads": [1, 2, 4],
    "hidden_size": [8, 16, 24, 32],
    "intermediate_size": [16, 32, 48, 64],
}


@in_one_line()
def main() -> None:
    args = _arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"KDNAS_CACHE": str(folder / "cache"), "KDNAS_LOCKS": str(folder / "locks")}
        pipeline = Stepwise(Run.create(validated(_settings(folder, args))))
        if len(pipeline.space.architectures) < args.trials:
            most = len(pipeline.space.architectures)
            raise KdnasError(f"--trials {args.trials}: the space has {most} shapes; give fewer")
        _watch(pipeline, args.at)
        pipeline.search()


def _settings(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    (folder / "teacher").mkdir()
    (folder / "data").mkdir()
    return {
        "teacher": str(save_teacher(folder / "teacher")),
        "task": "mrpc",
        "data_dir": save_mrpc(folder / "data"),
        "out": folder / "run",
        "trials": args.trials,
        "force": True,
        "space": SPACE,
        "sampler": args.sampler,
        "teacher_epochs": 0.5,
        "mini_steps": 10,
        "batch_size": 16,
        "latency_length": 16,
        "threads": 1,
        "device": "cpu",
        "random_control": "off",
    }


def _watch(pipeline: Stepwise, moments: list[int]) -> None:
    """Prints the memory after some numbers of trials."""
    score, done = pipeline.mini.score, 0
    process = psutil.Process()

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal done
        result = score(*given, **named)
        done += 1
        if done in moments:
            rss = process.memory_info().rss / 1e6
            objects = len(gc.get_objects())
            print(f"RSS at trial {done}: {rss:.1f} MB, {objects:,} objects", flush=True)
        return result

    pipeline.mini.score = counted  # type: ignore[method-assign]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=a_count, default=200)
    parser.add_argument("--at", type=a_count, nargs="*", default=[1, 20, 50, 100, 150, 200])
    parser.add_argument("--sampler", default="random")
    return parser.parse_args()


if __name__ == "__main__":
    main()
