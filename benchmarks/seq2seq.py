"""Students of a translation teacher beside plain training and other students.

    python benchmarks/seq2seq_teacher.py --data-dir DATA --out runs/multi30k-teacher
    python benchmarks/seq2seq.py --teacher runs/multi30k-teacher --data-dir DATA \
        --out runs/seq2seq --seeds 3 --json docs/results.json

For each speed-up one search; its winner, the same student on references alone, and the hand-picked
shape nearest in speed are trained with every seed, and so is the winner on the teacher's texts
alone (recipe `sequence-level`). Without a search, `--shapes 2=6+2x256,3+3x256 4=6+1x192,2+2x192`
gives the student and the hand-picked one of each speed-up. Scores are of the validation split;
`--test` adds those of the test split, as each checkpoint writes by itself. Speed is that of
`generate()`. All is kept in run folders: the command can be stopped and repeated; one with other
options is refused. `--json` writes the entry `seq2seq`; what it has of other speed-ups stays.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command_line import a_count, a_result, in_one_line, this_command
from quality import OF_A_SEARCH

from kdnas import LoadedRun, evaluate, load_run
from kdnas.config import read_yaml
from kdnas.config.groups import AGAINST_A_SHAPE, PLAIN_RECIPE, is_of_a_search
from kdnas.errors import MissedLimitError
from kdnas.files.atomic import read_json, write_json
from kdnas.report.model import DISTILLED, ON_LABELS, SEARCHED, EvaluatedModel
from kdnas.runs.run_folder import Run
from kdnas.workflow.api import complete, new_run

Figures = dict[str, Any]

SPEEDS = (2.0, 4.0)
TEACHER, STUDENT, REFERENCES = "teacher", "student by KD", "references alone"
TEXTS, BY_HAND = "sequence-level alone", "hand-picked by KD"
KEYS = {STUDENT: "", REFERENCES: "references_only", TEXTS: "sequence_level_only"}
KEYS |= {BY_HAND: "hand_picked"}
# Of runs whose control nobody reads.
ALONE: Figures = {"controls": False}


@dataclass(frozen=True)
class Trained:
    """A model of a run: what its report says of it, and its checkpoint if it was kept."""

    model: EvaluatedModel
    metric: str  # the task's main one
    checkpoint: Path | None


@in_one_line()
def main() -> None:
    """Makes what is missing, prints the table, writes the entry."""
    args = _arguments()
    found = dict[str, dict[str, Figures]]()
    for speed in args.shapes or args.speeds:
        try:
            models = _given(speed, args) if args.shapes else _searched(speed, args)
        except MissedLimitError as error:  # other speeds have their figures
            print(f"{speed:g}x is left out: {error}")
            continue
        found[f"{speed:g}x"] = {name: _figures(model, args) for name, model in models.items()}
    print("\n".join(_table(found)))
    if args.json and found:
        whole = read_json(args.json) or {}
        made = entry(found)
        for speed in found:
            # Other speeds of the entry may have another teacher.
            teacher = {key: score for key, score in made.items() if key.startswith("teacher_")}
            made[speed] |= {**teacher, "task": args.task, "command": this_command()}
        made["split"] = "validation"
        whole["seq2seq"] = {**(whole.get("seq2seq") or {}), **made}
        write_json(args.json, whole)


def _searched(speed: float, args: argparse.Namespace) -> dict[str, Trained]:
    """The models of a search at a speed-up, and its winner on the teacher's texts alone."""
    options = {**_common(args), "speedup": speed, "trials": args.trials}
    run = finished(new_run(args.config, {**options, "out": args.out / f"{speed:g}x"}))
    found = _of_run(run, SEARCHED)
    names = {SEARCHED: STUDENT, ON_LABELS: REFERENCES, "hand-picked": BY_HAND}
    models = {names[name]: model for name, model in found.items() if name in names}
    label = models[STUDENT].model.architecture.label
    return {TEACHER: _teacher(run, args), **models, TEXTS: _on_texts(speed, label, args)}


def _given(speed: float, args: argparse.Namespace) -> dict[str, Trained]:
    """The models of a speed-up whose shapes are given: the student's and the hand-picked one's."""
    own, by_hand = args.shapes[speed]
    folders = [args.out / f"{speed:g}x{ending}" for ending in ("", "-by-hand")]
    run, other = (
        _distilled(folder, {**_common(args), **options, "architecture": shape}, args.config)
        for folder, shape, options in zip(folders, (own, by_hand), ({}, ALONE), strict=True)
    )
    found = _of_run(run, DISTILLED)
    return {
        TEACHER: _teacher(run, args),
        STUDENT: found[DISTILLED],
        REFERENCES: found[ON_LABELS],
        BY_HAND: _of_run(other, DISTILLED)[DISTILLED],
        TEXTS: _on_texts(speed, own, args),
    }


def _on_texts(speed: float, shape: str, args: argparse.Namespace) -> Trained:
    """A student of the same shape that learns the teacher's texts and nothing else."""
    options = {**of_one_recipe(args.config), **_common(args), "architecture": shape}
    options |= ALONE
    folder = args.out / f"{speed:g}x-sequence-level"
    run = _distilled(folder, {**options, "recipe": "sequence-level"})
    return _of_run(run, DISTILLED)[DISTILLED]


def _common(args: argparse.Namespace) -> dict[str, Any]:
    """The options of every run."""
    found = {"teacher": args.teacher, "task": args.task, "data_dir": args.data_dir}
    found |= {"final_seeds": args.seeds, "max_train_rows": args.rows}
    found |= {"threads": args.threads, "device": args.device, "force": True if args.rows else None}
    return {name: value for name, value in found.items() if value is not None}


def _distilled(folder: Path, options: dict[str, Any], files: Sequence[Path] = ()) -> LoadedRun:
    return finished(new_run(files, {**options, "out": folder}, searches=False))


def of_one_recipe(files: Sequence[Path]) -> dict[str, Any]:
    """The options in files that a student of a given shape and another recipe has, too."""
    found = {key: value for file in files for key, value in read_yaml(file).items()}
    other = {*AGAINST_A_SHAPE, *PLAIN_RECIPE, "recipe", "stages"}
    return {k: v for k, v in found.items() if k not in other and not is_of_a_search(k)}


def finished(run: Run) -> LoadedRun:
    """A run with its report, made where it has none by these options.

    `new_run` refuses a folder with a run by others, but for those that may change.
    """
    known = Run.open(run.folder).settings
    changed = any(getattr(run.settings, name) != getattr(known, name) for name in OF_A_SEARCH)
    if changed or not (run.folder / "report.json").exists():
        complete(run)
    return load_run(run.folder)


def _of_run(run: LoadedRun, own: str) -> dict[str, Trained]:
    """The models of a run by what they were (`own`: its student) before one of them shipped."""
    report = run.report
    assert report is not None, "the run is finished"
    shipped = report.selection.shipped if report.selection else own
    models = {shipped: report.student, **{c.name: c for c in report.controls}}
    return {
        name.partition(",")[0]: Trained(
            model, report.main_score, run.student if name == shipped else None
        )
        for name, model in models.items()
    }


def _teacher(run: LoadedRun, args: argparse.Namespace) -> Trained:
    assert run.report is not None, "the run is finished"
    return Trained(run.report.teacher, run.report.main_score, Path(args.teacher))


def _figures(trained: Trained, args: argparse.Namespace) -> Figures:
    """Mean over seeds and its deviation, interval, size and speed."""
    model, metric = trained.model, trained.metric
    seeds = model.seeds
    found: Figures = {
        metric: round(seeds.mean[metric] if seeds else model.scores[metric], 2),
        "params": model.params,
        "speedup": round(model.speedup, 2),
        "architecture": model.architecture.label,
    }
    if interval := model.intervals.get(metric):
        found |= {"interval": [round(bound, 2) for bound in interval]}
    if seeds:
        found |= {"deviation": round(seeds.deviation[metric], 2), "seeds": len(seeds.scores)}
    if args.test and trained.checkpoint:
        options = {k: v for k, v in _common(args).items() if k in ("data_dir", "threads", "device")}
        (scored,) = evaluate(trained.checkpoint, args.task, split="test", **options)[
            "tasks"
        ].values()
        found |= {"test": round(scored["scores"][metric], 2)}
        found |= {"test_interval": [round(bound, 2) for bound in scored["intervals"][metric]]}
    return found


def entry(found: dict[str, dict[str, Figures]]) -> dict[str, Any]:
    """The entry: of each speed-up the scores by name; the student's is that of the metric."""
    made = dict[str, Any]()
    for speed, models in found.items():
        metric = next(iter(models[TEACHER]))
        made[f"teacher_{metric}"] = models[TEACHER][metric]
        made[speed] = {KEYS[n] or metric: m[metric] for n, m in models.items() if n != TEACHER}
        made[speed] |= {key: models[STUDENT][key] for key in ("architecture", "speedup")}
        made[speed] |= {"models": models}
    return made


def _table(found: dict[str, dict[str, Figures]]) -> list[str]:
    """Markdown; behind a mean over seeds stands its standard deviation."""
    if not found:
        return []
    metric = next(iter(next(iter(found.values()))[TEACHER]))
    lines = [
        f"| wanted | model | shape | {metric} | test | parameters | speed |",
        "|---|---|---|---|---|---|---|",
    ]
    for speed, models in found.items():
        for name, figures in models.items():
            spread = f" ± {figures['deviation']}" if "deviation" in figures else ""
            cells = [speed, name, figures["architecture"], f"{figures[metric]}{spread}"]
            cells += [str(figures.get("test", "")), f"{figures['params'] / 1e6:.1f}M"]
            lines.append(f"| {' | '.join([*cells, str(figures['speedup']) + 'x'])} |")
    return lines


def _speed_and_shapes(text: str) -> tuple[float, tuple[str, str]]:
    """`2=6+2x256,3+3x256`: a speed-up, the student's shape and the hand-picked one's."""
    speed, _, shapes = text.partition("=")
    own, _, by_hand = shapes.partition(",")
    if not (own and by_hand):
        raise argparse.ArgumentTypeError(f"{text}: expected SPEED=SHAPE,HAND-PICKED SHAPE")
    return float(speed), (own, by_hand)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--task", default="multi30k")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--speeds", type=float, nargs="*", default=SPEEDS)
    parser.add_argument("--shapes", type=_speed_and_shapes, nargs="*", metavar="SPEED=OWN,BY-HAND")
    parser.add_argument("--test", action="store_true", help="Score the test split, too.")
    parser.add_argument("--seeds", type=a_count, default=3)
    parser.add_argument("--trials", type=a_count, default=20)
    parser.add_argument("--rows", type=a_count, help="Training rows at most.")
    parser.add_argument("--config", type=Path, nargs="*", default=(), help="Options as YAML.")
    parser.add_argument("--device")
    parser.add_argument("--threads", type=a_count)
    parser.add_argument("--json", type=a_result, help="Write the figures into this file.")
    args = parser.parse_args()
    args.shapes = dict(args.shapes or ())
    return args


if __name__ == "__main__":
    main()
