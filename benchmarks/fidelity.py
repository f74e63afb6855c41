"""Which mini-KD ranks students best, and at what cost?

    kdnas fidelity RUN --students 16
    python benchmarks/fidelity.py RUN --plan benchmarks/fidelity.yaml --json fidelity.json

The students of RUN/fidelity.json, whose final scores are known, are scored by mini-KD again under
each variant of its settings that the plan names. Printed is a Markdown table: the median seconds of
a student's mini-KD, Kendall's tau of its score with the final one (95% interval: bootstrap over
students), Spearman's rho, and tau within the better half by final score. Every score goes to the
entry `fidelity` of the JSON file at once. It is not computed again for the same student, teacher,
data and settings; those of other runs stay, and `table` is of the last one.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import tests_path  # noqa: F401
from command_line import a_result, entry_in, in_one_line, write_entry
from plans import read_parts
from support.stepwise import Stepwise

from kdnas.config import Settings, validated
from kdnas.config.groups import CHANGEABLE
from kdnas.errors import KdnasError
from kdnas.files.atomic import read_json
from kdnas.runs.run_folder import Run
from kdnas.runtime.shown import quoted
from kdnas.scoring.rank_agreement import agreements
from kdnas.space import Architecture, Candidate
from kdnas.teachers.cache import fingerprint, hash_of

Row = dict[str, Any]
# What may differ where scores are the same, beside what may change in a run.
PLACES = ("teacher", "data_dir", "out", "storage", "learn_from")
BASELINES = {"params": "parameters", "macs": "MACs", "depth": "depth"}


@in_one_line()
def main() -> None:
    args = _arguments()
    run = Run.open(args.run)
    known = read_json(args.run / "fidelity.json")
    if known is None:
        raise KdnasError(f"{args.run} has no fidelity.json; `kdnas fidelity {args.run}` writes it")
    plan = read_parts(args.plan)["variants"]
    if not plan:
        raise KdnasError(f"{args.plan} has no variants; give some, such as variants: [{{name: a}}]")
    varied = {variant["name"]: settings_of(run.settings, variant) for variant in plan}
    rows: list[Row] = entry_in(args.json, "fidelity").get("rows", [])
    base, found = Stepwise(run), list[Row]()
    of_run = digest_of(base)
    for name, settings in varied.items():
        own, changes = {"variant": name, "run": of_run}, changes_of(run.settings, settings)
        key = {**own, "settings": changes}
        rows = [r for r in rows if not own.items() <= r.items() or r["settings"] == changes]
        done = {row["student"]: row for row in rows if key.items() <= row.items()}
        missing = [one for one in known["students"] if candidate_of(one).key not in done]
        for row in scores(base, settings, missing):
            rows.append({**key, **row})
            done[row["student"]] = rows[-1]
            print(json.dumps(rows[-1]), flush=True)
            write_entry(args.json, "fidelity", {"rows": rows})
        found += [{**done[candidate_of(s).key], "trial": s["trial"]} for s in known["students"]]
    result = {"metric": known["metric"], "rows": rows, "table": table(known, list(varied), found)}
    write_entry(args.json, "fidelity", result)
    print("\n".join(markdown(result)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument(
        "--json", type=a_result, required=True, help="Scores so far, and the table."
    )
    return parser.parse_args()


def digest_of(base: Stepwise) -> str:
    """Names what decides the scores of a run's students: its teacher, data and settings."""
    own = base.settings.model_dump(mode="json", exclude={*CHANGEABLE, *PLACES})
    data = base.data
    more = [part for part in (data.further, data.spare) if part is not None]
    content = fingerprint(base.teacher, data.train, data.distillation, *more)
    return hash_of([content, own])[:12]


def settings_of(own: Settings, variant: dict[str, Any]) -> Settings:
    """A run's settings with a variant's changes.

    Raises:
        KdnasError: Its budget is no number above 0, or no run can have the settings.
    """
    factor = variant.get("budget", 1)
    if not (type(factor) in (int, float) and 0 < factor < math.inf):
        raise KdnasError(
            f"invalid budget {quoted(factor)} (variant {quoted(variant['name'])}): expected a "
            "number above 0, such as 0.5"
        )
    steps, seconds = own.mini_steps, own.mini_seconds
    budget = {
        "mini_epochs": own.mini_epochs * factor,
        "mini_steps": steps and max(1, round(steps * factor)),
        "mini_seconds": seconds and seconds * factor,
    }
    return validated({**own.model_dump(), **budget, **variant.get("settings", {})})


def changes_of(own: Settings, varied: Settings) -> dict[str, Any]:
    """What differs, in plain values."""
    before, after = own.model_dump(mode="json"), varied.model_dump(mode="json")
    return {key: value for key, value in after.items() if value != before[key]}


def scores(base: Stepwise, settings: Settings, students: list[Row]) -> Any:
    """Loss and seconds of each student's mini-KD, one after the other."""
    if not students:
        return
    pipeline = Stepwise(Run(base.run.folder, settings))
    pipeline.teacher = base.teacher
    pipeline.check()
    mini = pipeline.mini
    small = replace(candidate_of(students[0]), architecture=pipeline.space.smallest)
    mini.train(mini.start(small), small.recipe, small.vocabulary, until=0.01)  # pays for much
    for student in students:
        start, own = time.perf_counter(), candidate_of(student)
        loss = mini.train(mini.start(own), own.recipe, own.vocabulary)
        seconds = time.perf_counter() - start
        yield {
            "trial": student["trial"],
            "student": own.key,
            "loss": loss,
            "seconds": round(seconds, 2),
        }


def candidate_of(student: Row) -> Candidate:
    """A student with the recipe and vocabulary that it was scored with."""
    whole = Candidate(Architecture.from_params(student["architecture"]))
    own = {name: student[name] for name in ("recipe", "vocabulary") if name in student}
    return replace(whole, **own)


def table(known: dict[str, Any], variants: list[str], rows: list[Row]) -> list[Row]:
    """Each variant's agreement with the final scores, and that of what costs nothing."""
    students = known["students"]
    predictors = {label: [s[key] for s in students] for key, label in BASELINES.items()}
    seconds = {}
    for name in variants:
        own = {row["trial"]: row for row in rows if row["variant"] == name}
        predictors[name] = [-own[s["trial"]]["loss"] for s in students]
        seconds[name] = median(own[s["trial"]]["seconds"] for s in students)
    found = agreements(predictors, [fmean(s["final"].values()) for s in students])
    return [
        {
            "variant": name,
            "seconds": seconds.get(name),
            **asdict(found["all"][name]),
            "tau_better_half": found["better_half"][name].tau,
        }
        for name in predictors
    ]


def markdown(result: dict[str, Any]) -> list[str]:
    """The table as text."""
    count = result["table"][0]["n"]
    lines = [
        f"{count} students, against {result['metric']}",
        "",
        "| mini-KD | seconds a student | tau (95% interval) | rho | tau, better half |",
        "|---|---|---|---|---|",
    ]
    for row in result["table"]:
        interval = row["tau_interval"]
        between = f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
        cells = [_number(row[key]) for key in ("tau", "rho", "tau_better_half")]
        seconds = "-" if row["seconds"] is None else f"{row['seconds']:.1f}"
        cells[0] += between
        lines.append(f"| {row['variant']} | {seconds} | {' | '.join(cells)} |")
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
