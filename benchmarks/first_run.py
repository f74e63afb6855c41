"""What a newcomer's first search shows: the embedded example with several seeds.

    python benchmarks/first_run.py --out runs/first-run --seeds 5 --json docs/results.json

Each seed is one `kdnas search` with no other option, in a run folder of its own; the command can
be stopped and repeated, and one with other options is refused. Scores are of the validation split.
`--json` writes the entry `first-run`: the mean gain over the hand-picked student and over labels
alone, each with its standard error, speed-ups and seconds (the run's clock, over all times that it
was gone on with). It takes the place of the file's: its
seeds are one experiment.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from command_line import a_count, a_result, in_one_line, write_entry
from seq2seq import finished

from kdnas.report.model import Report
from kdnas.runs.clock import seconds_before
from kdnas.workflow.api import new_run

NO_KD, BY_HAND = "fine-tuned", "hand-picked"


@in_one_line()
def main() -> None:
    """Runs what is missing; prints a table, writes the entry."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=a_count, default=5)
    parser.add_argument("--threads", type=a_count)
    parser.add_argument("--json", type=a_result)
    args = parser.parse_args()
    more = {} if args.threads is None else {"threads": args.threads}
    rows = []
    for seed in range(args.seeds):
        run = new_run(None, {"seed": seed, "out": args.out / str(seed), **more})
        report = finished(run).report
        assert report is not None, "the run is finished"
        rows.append({"seed": seed, **figures(report), "seconds": round(seconds_before(run))})
    print("\n".join(table(rows)))
    if args.json:
        write_entry(args.json, "first-run", {"runs": rows, **gains(rows)})


def figures(report: Report) -> dict[str, Any]:
    """What a run's report says of teacher, student and controls.

    A control that ships is the student: it then gains nothing on itself.
    """
    metric = report.main_score
    named = {control.name: control.scores[metric] for control in report.controls}
    student = report.student.scores[metric]
    controls = {
        key: next((score for name, score in named.items() if name.startswith(key)), student)
        for key in (NO_KD, BY_HAND)
    }
    return {
        "teacher": report.teacher.scores[metric],
        "student": student,
        "architecture": report.student.architecture.label,
        "speedup": round(report.speedup, 2),
        **controls,
        "shipped": report.selection.shipped if report.selection else None,
    }


def gains(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The student above its controls: mean over seeds, and standard error."""
    found: dict[str, Any] = {}
    for control in (BY_HAND, NO_KD):
        each = [row["student"] - row[control] for row in rows]
        found[f"gain over {control}"] = round(fmean(each), 4)
        if len(each) > 1:
            found[f"standard error over {control}"] = round(stdev(each) / len(each) ** 0.5, 4)
    return found


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown, a line a seed."""
    lines = ["| seed | student | speed-up | teacher | student | hand-picked | no KD | seconds |"]
    lines.append("|---" * 8 + "|")
    for row in rows:
        scores = (row[name] for name in ("teacher", "student", BY_HAND, NO_KD))
        shown = [f"{score:.4f}" for score in scores]
        cells = [str(row["seed"]), row["architecture"], f"{row['speedup']:.2f}x", *shown]
        lines.append(f"| {' | '.join(cells)} | {row['seconds']} |")
    return lines + [f"{name}: {value:+.4f}" for name, value in gains(rows).items()]


if __name__ == "__main__":
    main()
