"""Does mini-KD rank students better when they inherit, or when they start at random?

    python benchmarks/start.py RUN --students 10 --json start.json

RUN is a run folder of `kdnas search`: its teacher, data and settings are used. Students drawn from
its space get a mini-KD score from either start, and a final score: full KD from the inherited start
and the task's main metric. Printed are Kendall's tau and Spearman's rho of either mini-KD score,
and of parameters and depth, with the final score.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr

from kdnas.distill.lesson import Lesson
from kdnas.distill.mini import MiniKD
from kdnas.distill.outputs import Wanted, hidden_states
from kdnas.files import read_json, write_json
from kdnas.measure import count_params
from kdnas.pipeline import Pipeline
from kdnas.run import Run
from kdnas.space import Architecture

STARTS = {"inherited": True, "random": False}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--students", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="Scores so far; what is there is not repeated.")
    args = parser.parse_args()
    pipeline = Pipeline(Run.open(args.run))
    everything = Wanted(hidden_states(range(1, pipeline.teacher.depth + 1)))
    Lesson.prepare(pipeline.teacher, pipeline.data.train, everything, pipeline.runtime)
    space = pipeline.space.architectures
    chosen = np.random.default_rng(args.seed).choice(len(space), args.students, replace=False)
    rows: list[dict[str, Any]] = (read_json(args.json) if args.json else None) or []
    known = {row["student"] for row in rows}
    for architecture in (space[i] for i in chosen):
        if architecture.label not in known:
            rows.append(score(pipeline, architecture))
            print(json.dumps(rows[-1]), flush=True)
            if args.json:
                write_json(args.json, rows)
    final = [row["final"] for row in rows]
    for name in (*STARTS, "params", "depth"):
        values = [row[name] for row in rows]
        tau, rho = kendalltau(values, final).statistic, spearmanr(values, final).statistic
        print(f"{name:<10} tau {tau:.3f}  rho {rho:.3f}  over {len(rows)} students")


def score(pipeline: Pipeline, architecture: Architecture) -> dict[str, Any]:
    """Both mini-KD scores (1 - loss) and the final score of one student."""
    row: dict[str, Any] = {"student": architecture.label}
    mini = pipeline.mini
    for name, inherit in STARTS.items():
        settings = pipeline.settings.model_copy(update={"inherit": inherit})
        kd = MiniKD(mini.teacher, mini.proxy, settings, pipeline.runtime)
        start = time.perf_counter()
        row[name] = 1 - kd.run(kd.start(architecture))
        row[f"{name}_seconds"] = round(time.perf_counter() - start, 1)
    work = pipeline.run.folder / "work" / f"start-{architecture.label.replace(' ', '-')}"
    distilled = pipeline.full.run(architecture, None, work, architecture.label)
    row["final"] = pipeline.score(distilled.student)[pipeline.data.spec.main_score]
    row["params"], row["depth"] = count_params(distilled.student), architecture.num_hidden_layers
    return row


if __name__ == "__main__":
    main()
