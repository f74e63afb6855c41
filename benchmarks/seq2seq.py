"""Students of a translation teacher beside plain training and other students.

    python benchmarks/seq2seq_teacher.py --data-dir DATA --out runs/multi30k-teacher
    python benchmarks/seq2seq.py --teacher runs/multi30k-teacher --data-dir DATA \
        --out runs/seq2seq --seeds 3 --json docs/results.json

For each speed-up one search; its winner, the same student on references alone, and the hand-picked
shape nearest in speed are trained with every seed, and so is the winner on the teacher's texts
alone (recipe `sequence-level`). Scores are of the validation split, speed is that of `generate()`.
All is kept in run folders: the command can be stopped and repeated. `--json` writes the entry
`seq2seq`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdnas import distill, load_run, resume, search
from kdnas.config import read_yaml
from kdnas.config.groups import AGAINST_A_SHAPE, PLAIN_RECIPE, is_of_a_search
from kdnas.errors import MissedLimitError
from kdnas.files.atomic import read_json, write_json
from kdnas.report.model import DISTILLED, SEARCHED, EvaluatedModel, Report

SPEEDS = (2.0, 4.0)
FINE_TUNED = "fine-tuned without KD"
ROWS = {
    SEARCHED: "student by KD",
    FINE_TUNED: "references alone",
    DISTILLED: "sequence-level alone",
    "hand-picked": "hand-picked by KD",
}


def main() -> None:
    """Makes what is missing, prints the table, writes the entry."""
    args = _arguments()
    found = dict[str, Any]()
    for speed in args.speeds:
        try:
            found[f"{speed:g}x"] = _at(speed, args)
        except MissedLimitError as error:  # other speeds have their figures
            print(f"{speed:g}x is left out: {error}")
    print("\n".join(_table(found)))
    if args.json:
        whole = read_json(args.json) or {}
        command = "python benchmarks/seq2seq.py --teacher TEACHER --data-dir DATA --out OUT"
        more = f" --seeds {args.seeds} --trials {args.trials} --json {args.json}"
        whole["seq2seq"] = {"task": args.task, **found, "command": command + more}
        write_json(args.json, whole)


def _at(speed: float, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of one speed-up: by name of a model its score, size and speed."""
    common: dict[str, Any] = {"data_dir": args.data_dir, "final_seeds": args.seeds}
    common |= {"max_train_rows": args.rows, "threads": args.threads, "device": args.device}
    common |= {"force": args.rows is not None}
    common = {name: value for name, value in common.items() if value is not None}
    given = (args.teacher, args.task)
    more = {**common, "speedup": speed, "trials": args.trials, "config": args.config}
    report = finished(args.out / f"{speed:g}x", lambda out: search(*given, out=out, **more))
    own = next(m for name, m in _models(report).items() if name == SEARCHED)
    texts = {
        **of_one_recipe(args.config),
        **common,
        "architecture": own.architecture.label,
        "recipe": "sequence-level",
    }
    folder = args.out / f"{speed:g}x-sequence-level"
    alone = finished(
        folder, lambda out: distill(teacher=args.teacher, task=args.task, out=out, **texts)
    )
    models = {**_models(report), DISTILLED: _models(alone)[DISTILLED]}
    figures = {
        ROWS[name]: _figures(m, report.main_score) for name, m in models.items() if name in ROWS
    }
    return {"teacher": _figures(report.teacher, report.main_score), **figures}


def of_one_recipe(files: Sequence[Path]) -> dict[str, Any]:
    """The options in files that a student of a given shape and another recipe has, too."""
    found = {key: value for file in files for key, value in read_yaml(file).items()}
    other = {*AGAINST_A_SHAPE, *PLAIN_RECIPE, "recipe", "stages"}
    return {k: v for k, v in found.items() if k not in other and not is_of_a_search(k)}


def finished(folder: Path, make: Any) -> Report:
    """The report of a run, which is finished first where it began, made where it did not."""
    if not (folder / "config.yaml").exists():
        make(folder)
    elif load_run(folder).report is None:
        resume(folder)
    report = load_run(folder).report
    assert report is not None, "the run is finished"
    return report


def _models(report: Report) -> dict[str, EvaluatedModel]:
    """All students of a report by what they were before one of them shipped."""
    own = SEARCHED if report.search else DISTILLED
    named: dict[str, EvaluatedModel] = {c.name.partition(",")[0]: c for c in report.controls}
    shipped = report.selection.shipped if report.selection else own
    return {shipped.partition(",")[0]: report.student, **named}


def _figures(model: EvaluatedModel, metric: str) -> dict[str, Any]:
    """Mean over seeds and its deviation, size and speed."""
    seeds = model.seeds
    found: dict[str, Any] = {
        metric: round(seeds.mean[metric] if seeds else model.scores[metric], 2),
        "params": model.params,
        "speedup": round(model.speedup, 2),
    }
    found |= {"architecture": model.architecture.label}
    if seeds:
        found |= {"deviation": round(seeds.deviation[metric], 2), "seeds": len(seeds.scores)}
    return found


def _table(found: dict[str, dict[str, Any]]) -> list[str]:
    """Markdown; behind a mean over seeds stands its standard deviation."""
    if not found:
        return []
    metric = next(iter(next(iter(found.values()))["teacher"]))
    lines = [
        f"| wanted | model | shape | {metric} | parameters | speed |",
        "|---|---|---|---|---|---|",
    ]
    for speed, models in found.items():
        for name, figures in models.items():
            spread = f" ± {figures['deviation']}" if "deviation" in figures else ""
            size = f"{figures['params'] / 1e6:.1f}M"
            cells = [speed, name, figures["architecture"], f"{figures[metric]}{spread}", size]
            lines.append(f"| {' | '.join([*cells, str(figures['speedup']) + 'x'])} |")
    return lines


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--task", default="multi30k")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--speeds", type=float, nargs="*", default=SPEEDS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--rows", type=int, help="Training rows at most.")
    parser.add_argument("--config", type=Path, nargs="*", default=(), help="Options as YAML.")
    parser.add_argument("--device")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path, help="Write the figures into this file.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
