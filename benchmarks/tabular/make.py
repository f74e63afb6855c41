"""Evaluates every student of a space, into a table that searches can be replayed on.

    python benchmarks/tabular/make.py --run runs/table --csv benchmarks/tabular/minilm.csv

Each student is timed beside its teacher and trained by mini-KD, and scored after a ninth, after a
third and at the end. `--config benchmarks/tabular/joint.yaml` makes the table of every shape with
every recipe: each has a short run of its own recipe, its loss is 1 less the agreement with the
teacher, and a shape is timed once. Rows are kept in RUN/rows.jsonl as they come, so that the
command can be stopped and repeated; `--part 0/2` and `--part 1/2` share the work.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kdnas.config import load_settings
from kdnas.files.atomic import append_line
from kdnas.files.lines import json_lines
from kdnas.runs.run_folder import Run
from kdnas.scoring.costs import NUMBERS
from kdnas.space import Candidate
from kdnas.space.families import FIELDS

sys.path.append(str(Path(__file__).parents[1]))
import tests_path  # noqa: F401
from command_line import a_count, a_part, in_one_line
from support.stepwise import Stepwise

RUNGS = {"loss_ninth": 1 / 9, "loss_third": 1 / 3, "loss": 1.0}


@in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="Folder to work in.")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("space.yaml"))
    parser.add_argument(
        "--part", type=a_part, default="0/1", help="I/N: every N-th student, from the I-th on."
    )
    parser.add_argument("--threads", type=a_count)
    parser.add_argument("--csv", type=Path, help="Write the table here, as far as it is.")
    args = parser.parse_args()
    part, parts = args.part
    given = {"out": args.run.resolve(), "threads": args.threads}
    settings = load_settings([args.config], {k: v for k, v in given.items() if v})
    make_table(Stepwise(Run.create(settings)), args.run, args.csv, part, parts)


def make_table(
    pipeline: Stepwise,
    folder: Path,
    csv: Path | None,
    part: int = 0,
    parts: int = 1,
    most: int | None = None,
) -> None:
    """Evaluates the students, or so many, that `folder`/rows.jsonl lacks; writes the table."""
    rows_file = folder / "rows.jsonl"
    todo = _order(pipeline)[:most][part::parts]
    for number, candidate in enumerate(todo):
        done = {Candidate.from_params(row): row for row in _rows(rows_file)}
        if candidate in done:
            continue
        same = (row for one, row in done.items() if one.architecture == candidate.architecture)
        row = evaluate(pipeline, candidate, folder / f"part-{part}.pt", next(same, None))
        append_line(rows_file, json.dumps(row))
        print(f"{number + 1}/{len(todo)}  {candidate.label}  {row['loss']:.4f}", flush=True)
    if csv:
        frame = pd.DataFrame(_rows(rows_file))
        named = [*FIELDS, *({"recipe"} & {*frame.columns})]
        frame.sort_values(named).round(5).to_csv(csv, index=False)


def evaluate(
    pipeline: Stepwise, candidate: Candidate, checkpoint: Path, like: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One row; `like` is one of the same shape, whose costs it has."""
    start = time.perf_counter()
    checkpoint.unlink(missing_ok=True)
    mini, recipe = pipeline.mini, candidate.recipe
    state = mini.start(candidate)
    measured = like or pipeline.meter.of_model(state.model).numbers
    costs = {name: measured[name] for name in NUMBERS}
    losses = {
        name: mini.train(state, recipe, until=share, checkpoint=checkpoint)
        for name, share in RUNGS.items()
    }
    seconds = time.perf_counter() - start
    own = {"recipe": recipe} if len(pipeline.space.recipes) > 1 else {}
    return {**candidate.architecture.params, **own, **costs, **losses, "seconds": seconds}


def _order(pipeline: Stepwise) -> list[Candidate]:
    """At random, but the teacher's activation first: half of the space is then soon whole."""
    every = pipeline.space.candidates
    drawn = [every[i] for i in np.random.default_rng(0).permutation(len(every))]
    own = pipeline.space.teacher.hidden_act
    return sorted(drawn, key=lambda one: one.architecture.hidden_act != own)


def _rows(file: Path) -> list[dict[str, Any]]:
    """What is done, but for a line that a kill cut short."""
    return [*json_lines(file)]


if __name__ == "__main__":
    main()
