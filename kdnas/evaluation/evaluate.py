"""kdnas evaluate: a checkpoint's official scores on one task or many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev
from textwrap import wrap
from typing import Any

from numpy.typing import NDArray
from transformers import PreTrainedModel

from kdnas.config import Settings, load_settings, read_yaml
from kdnas.distillation.training import predict
from kdnas.errors import KdnasError
from kdnas.evaluation.data import Subject, find_tasks, prepare, read_tests, read_train
from kdnas.evaluation.foresee import foresee
from kdnas.evaluation.scores import baseline, scores_and_intervals
from kdnas.evaluation.tuning import WIDTH, Outcome, Point, Tuner, metrics_line, plan
from kdnas.files.atomic import make_writable, read_json, write_json, write_text
from kdnas.files.locks import file_lock
from kdnas.runs.run_folder import resolve
from kdnas.runs.student import finished_student
from kdnas.runtime.console import following, say, step
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.runtime.formatting import several, table_lines
from kdnas.students.pruning import is_sliced, sliced
from kdnas.tasks import DEFAULT_TASK, TASK_TYPES, EncodedExamples, TaskSpec
from kdnas.tasks.metrics import task_score
from kdnas.tasks.types import threshold_of
from kdnas.teachers.load import load_config, load_teacher

RESULTS = "evaluation.json"
# What a speed of a pruned checkpoint is of.
SLICED = (
    "in the sliced form, which kdnas makes of the checkpoint; in plain transformers its "
    "model.safetensors is dense, and as slow as the teacher"
)
MOST_CLASSES = 20  # that the terminal lists


def evaluate(
    model: str | Path,
    task: str | None = None,
    *,
    data_dir: Path | str | None = None,
    fine_tune: bool | None = None,
    grid: bool = False,
    lrs: str | Sequence[float] | None = None,
    batch_sizes: str | Sequence[int] | None = None,
    epochs: float | None = None,
    seeds: int = 1,
    out: Path | str | None = None,
    predictions: Path | str | None = None,
    config: Sequence[Path] | None = None,
    dry_run: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """A checkpoint's scores by the tasks' official metrics, in fp32.

    A checkpoint with a head for the task is scored as it is; another is fine-tuned first.

    Args:
        model: Hub id or folder of an encoder or classifier, or a finished run.
        task: A task, several (`mrpc,rte`), `all` (GLUE), or a YAML file that defines one;
            default: a run's own.
        data_dir: Folder of local data; default: a run's own, else the hub.
        fine_tune: Whether to; None: where there are several tasks or it lacks the task's head.
        grid: Tries GRID_LRS with GRID_BATCH_SIZES; the best by validation score counts.
        lrs: Learning rates to try instead; default: one, 5e-5.
        batch_sizes: Batch sizes to try instead; default: one, 32.
        epochs: Of each fine-tuning; default: 3.
        seeds: Seeds at the best point.
        out: Keeps what was fine-tuned, so that a stopped evaluation goes on from there; default:
            runs/MODEL-evaluation.
        predictions: Folder for predictions on the test splits.
        config: YAML files with settings.
        dry_run: Only plans the fine-tunings.
        options: Other settings: `max_length`, `max_train_rows`, `seed`, `precision`, `threads`,
            `device`.

    Returns:
        `tasks`: for each its mean `scores`, their `spread` over seeds, its `score` (the mean of
            its metrics), how it came about, and the `baseline`: the best constant answer to these
            rows. Where nothing was trained, also 95% `intervals`, the `details` of each class, and
            `seconds_per_1000` rows, from token ids to answers, and whether the model was `sliced`,
            as pruned ones are;
        `mean`: of the tasks' scores; `predictions`: files. Of a dry run: its `lines` for people,
        the `steps` with their `seconds`, the `rows` of each task and the `disk` needed.

    Raises:
        KdnasError: The checkpoint, the data or an option cannot be used.
    """
    given = {"task": task, "data_dir": data_dir, **options}
    flags = {k: v for k, v in given.items() if v is not None}
    settings = load_settings(config, flags, _of_run(Path(model)))
    tuning = {"grid": grid, "lrs": lrs, "batch-sizes": batch_sizes, "epochs": epochs}
    for flag in [flag for flag, value in tuning.items() if value and fine_tune is False]:
        raise KdnasError(f"--no-fine-tune and --{flag} contradict each other: give one of them")
    points = plan(settings, grid, lrs, batch_sizes, epochs, seeds)
    settings, name = resolve(settings), str(model)
    if (Path(name) / "config.yaml").exists():
        name = str(finished_student(Path(name)))
    load_config(name)  # fails early where there is no such checkpoint
    specs = find_tasks(settings, fine_tune, predictions is not None)
    fine_tune = True if len(specs) > 1 and fine_tune is None else fine_tune
    runtime = start_runtime(
        device=settings.device, precision=settings.precision, threads=settings.threads
    )
    place = Path(name).resolve()
    short = f"{place.parent.name}-{place.name}" if place.name == "student" else place.name
    folder = Path(out or Path("runs") / f"{short}-evaluation")
    answers = None if predictions is None else Path(predictions)
    subjects = [prepare(name, spec, settings, fine_tune) for spec in specs]
    trains = {one.spec.name: read_train(one, settings) for one in subjects if one.tuned}
    if not dry_run:
        with claimed(folder, name) if trains or out is not None else nullcontext():
            pass  # refuses a folder before anything is measured
        if answers:
            make_writable(answers)
    planned = foresee(subjects, trains, points, seeds, runtime, folder)
    if dry_run:
        return planned.described
    benchmark, *others = {spec.benchmark for spec in specs}
    mean_name = f"{benchmark} mean" if benchmark and not others else "mean"
    result: dict[str, Any] = {"model": name, "tasks": {}, "predictions": []}
    if trains:
        for line in planned.lines:
            say(line)
    with following(planned.plan) if trains else nullcontext():
        for subject in subjects:
            stays = subject.tuned or out is not None
            train = trains.get(subject.spec.name)
            with claimed(folder, name) if stays else nullcontext():
                job = (settings, points, seeds, runtime, folder, answers, result)
                _evaluate_task(subject, train, *job)
                result["mean"] = fmean(task["score"] for task in result["tasks"].values())
                result["mean_name"] = mean_name
                if stays:
                    write_json(folder / RESULTS, {**result, "model": _identity(name)})
    return result


@contextmanager
def claimed(folder: Path, model: str) -> Iterator[None]:
    """Holds a folder for one process and model; KdnasError where it is taken or not writable."""
    make_writable(folder)
    what = f"another process evaluates into {folder}"
    with file_lock(folder / ".lock", what, 0, refusal=f"{what}; choose another --out"):
        stored = read_json(folder / RESULTS)
        if isinstance(stored, dict) and stored["model"] != _identity(model):
            raise KdnasError(
                f"{folder} holds the evaluation of {stored['model']!r}; choose another --out"
            )
        if not isinstance(stored, dict):
            files = (path.name for path in folder.iterdir())
            if any(not name.startswith((".lock", ".writable")) for name in files):
                raise KdnasError(
                    f"{folder} is not empty and holds no evaluation; choose another --out"
                )
            write_json(folder / RESULTS, {"model": _identity(model), "tasks": {}})
        yield


def _evaluate_task(
    subject: Subject,
    train: EncodedExamples | None,
    settings: Settings,
    grid: Sequence[Point],
    seeds: int,
    runtime: Runtime,
    folder: Path,
    predictions: Path | None,
    result: dict[str, Any],
) -> None:
    """Adds the scores and the predictions of one task to the result."""
    name = subject.spec.name
    tests = read_tests(subject, settings) if predictions else []
    if train is not None:
        tuner = Tuner(subject, train, runtime, folder / name)
        with step(name):
            say(f"{name}: fine-tuning {subject.model}; results go to {folder}")
            outcomes = tuner.tune(grid, seeds)
        diverged = [one.point.label for one in tuner.done if not one.scores]
        found = {**_over_seeds(outcomes), "grid_points": len(grid), "diverged": diverged}
        model = tuner.best_model() if tests else None
    else:
        teacher = load_teacher(subject.model, subject.spec, options=subject.options)
        if not teacher.has_head:
            raise KdnasError(
                f"{subject.model!r} lacks weights of the head that its config describes; "
                "--fine-tune trains one"
            )
        model = sliced(teacher.model)
        found = {**_scored(subject, model, runtime), "sliced": is_sliced(model)}
    rows = {split: data.row_count for split, data in subject.splits.items()}
    constant = baseline(subject.spec, list(subject.splits.values()), subject.splits)
    how = {
        "tuned": subject.tuned,
        "rows": rows,
        "held_out": subject.held_out,
        "baseline": constant and {name: constant[name] for name in ("name", "scores")},
    }
    result["tasks"][name] = {**found, **how}
    for spec, split, data in tests:
        assert predictions and model
        logits = predict(model, data, runtime.exact, pad_id=subject.pad_id)
        file = write_predictions(
            predictions, spec, split, logits.numpy(), data, threshold_of(model.config)
        )
        result["predictions"].append(str(file))


def _scored(subject: Subject, model: PreTrainedModel, runtime: Runtime) -> dict[str, Any]:
    """Scores, their 95% intervals, and what lies below the main one."""
    spec, pad_id = subject.spec, subject.pad_id
    found = scores_and_intervals(model, subject.splits, spec, runtime.exact, pad_id)
    rows, as_rows = next(iter(found["rows"].values())), spec.task_type.as_rows
    predicted, truth = as_rows(rows["predicted"]), as_rows(rows["truth"])
    return {
        "scores": found["scores"],
        "intervals": found["intervals"],
        "score": task_score(spec, found["scores"]),
        "seconds_per_1000": found["seconds_per_1000"],
        "details": spec.task_type.details(predicted, truth, spec.labels or ()),
    }


def _over_seeds(seeds: Sequence[Outcome]) -> dict[str, Any]:
    """Means and, of several seeds, standard deviations."""
    by_metric = {name: [one.scores[name] for one in seeds] for name in seeds[0].scores}
    totals = [one.total for one in seeds]
    found: dict[str, Any] = {
        "scores": {name: fmean(values) for name, values in by_metric.items()},
        "score": fmean(totals),
        "best": asdict(seeds[0].point),
        "seeds": {one.point.seed: one.scores for one in seeds},
    }
    if len(seeds) > 1:
        found["spread"] = {name: stdev(values) for name, values in by_metric.items()}
        found["score_spread"] = stdev(totals)
    return found


def write_predictions(
    folder: Path,
    spec: TaskSpec,
    split: str,
    logits: NDArray[Any],
    data: EncodedExamples | None = None,
    threshold: float | None = None,
) -> Path:
    """Writes a model's predictions for a test split; see `TaskType.predictions_text`.

    `data` may be left out where each row is a unit.
    """
    path = folder / spec.predictions_file(split)
    kind, how = spec.task_type, (logits, spec.labels or (), spec.submission)
    rows = kind.submission(*how) if data is None else kind.row_submission(*how, data, threshold)
    write_text(path, kind.predictions_text(rows, data))
    return path


def closing_lines(result: dict[str, Any]) -> list[str]:
    """For people: some lines for each task, the mean over several, and the predictions files."""
    tasks, lines = result["tasks"], []
    for name, task in tasks.items():
        lines.append(f"{name:<9} {metrics_line(task['scores'], task.get('spread'))}")
        lines += [f"{'':<9} {line}" for line in (*_circumstances(task), *_classes(task))]
    if len(tasks) > 1:
        over = f"{len(tasks)} tasks: {', '.join(tasks)}"
        lines.append(f"{result['mean_name']} {result['mean']:.4f} over {over}")
    if any(task.get("grid_points", 1) > 1 for task in tasks.values()):
        lines.append("Grid points were chosen on the validation splits that are scored here.")
    return lines + [f"wrote {file}" for file in result["predictions"]]


def _circumstances(task: dict[str, Any]) -> list[str]:
    lines = []
    if ends := task.get("intervals"):
        told = ", ".join(f"{name} {low:.3f} to {high:.3f}" for name, (low, high) in ends.items())
        count = sum(task["rows"].values())
        lines += wrap(f"n = {count:,}; 95% intervals: {told}", WIDTH - 10)
    if seconds := task.get("seconds_per_1000"):
        lines.append(f"1,000 rows take {seconds:.3g} s, from token ids to answers")
        lines += wrap(SLICED, WIDTH - 10) if task.get("sliced") else []
    if constant := task["baseline"]:
        lines.append(f"{constant['name']}: {metrics_line(constant['scores'])}")
    if task["tuned"]:
        best, points, seeds = task["best"], task["grid_points"], len(task["seeds"])
        epochs = several(format(best["epochs"], "g"), "epoch")
        words = [f"lr {best['lr']:g}, batch {best['batch_size']}, {epochs}"]
        words += [f"best of {points} points"] * (points > 1)
        words += [f"{seeds} seeds ± std"] * (seeds > 1)
        lines.append("; ".join(words))
    if task.get("diverged"):
        lines.append(f"diverged: {len(task['diverged'])} of the fine-tunings")
    if task["held_out"]:
        lines.append("no validation file: scored on a held-out tenth of the training rows")
    for name, words in (task.get("details") or {}).get("signatures", {}).items():
        lines += [f"{name}: {words}"] if name in task["scores"] else []
    return lines


def _classes(task: dict[str, Any]) -> list[str]:
    """Precision, recall and F1 of each class, where there are not too many."""
    details = task.get("details") or {}
    known, counted = details.get("classes", ()), details.get("counted", "rows")
    if not 1 < len(known) <= MOST_CLASSES:
        return []
    numbers = ("precision", "recall", "f1")
    rows = [
        (one["name"], *(f"{one[name]:.4f}" for name in numbers), str(one["support"]))
        for one in known
    ]
    return table_lines(("class", *numbers, counted), rows)


def _of_run(folder: Path) -> dict[str, Any]:
    """The task and the data of a run folder; nothing for a checkpoint."""
    file = folder / "config.yaml"
    own = read_yaml(file) if file.exists() else {}
    encoding = {name for kind in TASK_TYPES.values() for name in kind.encode_settings}
    names = ("task", "tasks", "data_dir", "max_length", "skip_malformed", *sorted(encoding))
    defaults = {"task": DEFAULT_TASK} if own else {}
    return {**defaults, **{name: own[name] for name in names if own.get(name) is not None}}


def _identity(model: str) -> str:
    return str(Path(model).resolve()) if Path(model).exists() else model
