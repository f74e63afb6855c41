"""Students of about one speed, trained in full: what a score must rank when a limit is given.

    python benchmarks/near_a_speed.py --task mrpc --data-dir DATA --speedup 4 --out runs/near
    python benchmarks/fidelity.py runs/near --plan benchmarks/near_a_speed.yaml --json near.json

Students that differ in size are easy to rank; a search with a limit chooses among those that just
keep it. Shapes are drawn at random from the derived space until so many are between the speed-up
and `--within` times it; among them is what a person would pick. Each is trained by the recipe of
the run and scored on held-out training rows. RUN/fidelity.json then has what `kdnas fidelity`
writes, so that `benchmarks/fidelity.py` scores the same students by other means. The command can be
stopped and repeated; one that asks for other students, or has other data, is refused.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tests_path  # noqa: F401
from command_line import a_count, in_one_line
from quality import result_of
from support.stepwise import Stepwise

from kdnas.config import load_settings
from kdnas.errors import KdnasError
from kdnas.files.atomic import read_json, write_json
from kdnas.runs.run_folder import Run
from kdnas.space import Candidate
from kdnas.space.known_shapes import hand_picked
from kdnas.tasks import load_spec
from kdnas.tasks.defaults import with_type_defaults
from kdnas.workflow.preparing.inputs import check_same_data, with_latency_input

Row = dict[str, Any]
# The options that decide which students are drawn.
OF_CHOICE = ("speedup", "within", "students")


@in_one_line()
def main() -> None:
    """Chooses the shapes, trains those that are missing."""
    args = _arguments()
    flags = {
        "teacher": args.teacher,
        "task": args.task,
        "data_dir": args.data_dir,
        "out": args.out,
        "threads": args.threads,
        "max_train_rows": args.rows,
        "max_length": args.max_length,
        "teacher_epochs": args.teacher_epochs,
        "teacher_lr": args.teacher_lr,
        "force": args.force or None,
    }
    settings = load_settings((), {k: v for k, v in flags.items() if v is not None})
    settings = with_latency_input(with_type_defaults(settings, load_spec(args.task)))
    pipeline = Stepwise(Run.create(settings))
    pipeline.run.save()
    check_same_data(pipeline.context, pipeline.data)
    file = args.out / "fidelity.json"
    asked = {name: getattr(args, name) for name in OF_CHOICE}
    known = kept(file, asked) or {
        "metric": f"{pipeline.data.spec.main_score} on held-out training rows",
        "asked": asked,
        "students": chosen(pipeline, args),
    }
    write_json(file, known)
    for seed in range(args.seeds):
        for row in known["students"]:
            if str(seed) not in row["final"]:
                train(pipeline, row, seed)
                write_json(file, known)
                print(json.dumps({"label": row["label"], **row["final"]}), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--teacher", help="Folder or hub id; default: the embedded MiniLM.")
    parser.add_argument("--task", required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--speedup", type=float, default=4.0)
    parser.add_argument("--within", type=float, default=1.2, help="The fastest, times --speedup.")
    parser.add_argument("--students", type=a_count, default=14)
    parser.add_argument("--seeds", type=a_count, default=1)
    parser.add_argument("--threads", type=a_count)
    parser.add_argument("--rows", type=a_count, help="Training rows; default: all.")
    parser.add_argument("--max-length", type=a_count, default=128)
    parser.add_argument("--teacher-epochs", type=float, default=3.0)
    parser.add_argument("--teacher-lr", type=float, default=1e-4)
    parser.add_argument("--force", action="store_true", help="Go on with a weak teacher.")
    return parser.parse_args()


def kept(file: Path, asked: Mapping[str, float]) -> dict[str, Any]:
    """What a file has of earlier commands; empty where it is not there.

    Students from before the file said what was `asked` count as drawn for this.

    Raises:
        KdnasError: Its students were drawn for something else.
    """
    found: dict[str, Any] = read_json(file) or {}
    for name, value in asked.items():
        if (before := found.get("asked", asked)[name]) != value:
            raise KdnasError(
                f"{file} has students of --{name} {before:g}, not {value:g}; give another --out"
            )
    return found


def chosen(pipeline: Stepwise, args: argparse.Namespace) -> list[Row]:
    """The widest shape of half the teacher's depth that keeps the speed-up, and random ones."""
    space, meter = pipeline.space, pipeline.meter
    by_hand = [Candidate(shape) for shape in hand_picked(space, space.teacher)]
    order = np.random.default_rng(0).permutation(len(space.candidates))
    found: list[Row] = []
    for candidate in (*reversed(by_hand), *(space.candidates[i] for i in order)):
        costs = meter.of_candidate(candidate)
        near = args.speedup <= costs.speedup <= args.within * args.speedup
        if not near or (found and candidate in by_hand):
            continue
        shape = candidate.architecture
        found.append(
            {
                "trial": len(found),
                "label": candidate.label,
                "architecture": shape.params,
                "depth": shape.num_hidden_layers,
                "params": costs.params,
                "macs": costs.macs,
                "speedup": round(costs.speedup, 3),
                "final": {},
                "reported": {},
                "agreement": {},
            }
        )
        print(f"{len(found)}  {candidate.label}  {costs.speedup:.2f}x", flush=True)
        if len(found) == args.students:
            break
    if not found:
        raise KdnasError(
            f"no student is {args.speedup:g} to {args.within * args.speedup:g} times as fast"
        )
    return found


def train(pipeline: Stepwise, row: Row, seed: int) -> None:
    """One student's scores on held-out rows, and on the split that is reported."""
    plan = {"students": {"own": row["architecture"]}}
    variant = {"name": row["label"], "student": "own", "settings": {}}
    made = result_of(pipeline, plan, variant, seed)
    row["final"][str(seed)] = next(iter(made["selection"].values()))
    row["reported"][str(seed)] = next(iter(made["scores"].values()))
    row.setdefault("agreement", {})[str(seed)] = made["agreement"]


if __name__ == "__main__":
    main()
