"""kdnas evaluate: a checkpoint's official scores on one task or many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from transformers import PreTrainedModel

from kdnas.config import Settings, load_settings, read_yaml
from kdnas.distillation.training import predict
from kdnas.errors import KdnasError
from kdnas.evaluation.data import Subject, find_tasks, prepare, read_tests, read_train
from kdnas.evaluation.scores import evaluate_model
from kdnas.evaluation.tuning import (
    GRID_BATCH_SIZES,
    GRID_LRS,
    Outcome,
    Tuning,
    best_model,
    numbers,
    tune,
)
from kdnas.files.atomic import make_writable, read_json, write_json
from kdnas.files.locks import file_lock
from kdnas.runs.run_folder import resolve
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.students.checkpoint import finished_student
from kdnas.tasks import DEFAULT_TASK, TaskSpec
from kdnas.tasks.metrics import task_score
from kdnas.tasks.submission import write_predictions
from kdnas.teachers.load import load_config, load_teacher

RESULTS = "evaluation.json"


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
        options: Other settings: `max_length`, `max_train_rows`, `seed`, `precision`, `threads`,
            `device`.

    Returns:
        `tasks`: for each its mean `scores`, their `spread` over seeds, its `score` (the mean of
        its metrics) and how it came about; `mean`: of those scores; `predictions`: files.

    Raises:
        KdnasError: The checkpoint, the data or an option cannot be used.
    """
    given = {"task": task, "data_dir": data_dir, **options}
    flags = {k: v for k, v in given.items() if v is not None}
    settings = load_settings(config, flags, _of_run(Path(model)))
    tuning = plan(settings, grid, lrs, batch_sizes, epochs, seeds)
    settings, name = resolve(settings), str(model)
    if (Path(name) / "config.yaml").exists():
        name = str(finished_student(Path(name)))
    load_config(name)  # fails early where there is no such checkpoint
    specs = find_tasks(settings, fine_tune, predictions is not None)
    if len(specs) > 1 and fine_tune is None:
        fine_tune = True
    runtime = start_runtime(
        device=settings.device, precision=settings.precision, threads=settings.threads
    )
    folder = Path(out or Path("runs") / f"{_short_name(name)}-evaluation")
    answers = None if predictions is None else Path(predictions)
    if answers:
        make_writable(answers)
    result: dict[str, Any] = {"model": name, "tasks": {}, "predictions": []}
    for spec in specs:
        subject = prepare(name, spec, settings, fine_tune)
        kept = subject.tuned or out is not None
        with claimed(folder, name) if kept else nullcontext():
            _evaluate_task(subject, settings, tuning, runtime, folder, answers, result)
            result["mean"] = fmean(task["score"] for task in result["tasks"].values())
            result["mean_name"] = _mean_name(specs)
            if kept:
                _keep(folder, result)
    return result


def plan(
    settings: Settings,
    grid: bool = False,
    lrs: str | Sequence[float] | None = None,
    batch_sizes: str | Sequence[int] | None = None,
    epochs: float | None = None,
    seeds: int = 1,
) -> Tuning:
    """The fine-tunings that are asked for; what is not given is as for a teacher.

    Raises:
        KdnasError: A value is not a positive number.
    """
    usual_lrs = GRID_LRS if grid else (settings.teacher_lr,)
    usual_sizes = GRID_BATCH_SIZES if grid else (settings.batch_size,)
    return Tuning(
        usual_lrs if lrs is None else numbers("--lrs", lrs, float),
        usual_sizes if batch_sizes is None else numbers("--batch-sizes", batch_sizes, int),
        settings.teacher_epochs if epochs is None else epochs,
        seeds,
        settings.seed,
    )


@contextmanager
def claimed(folder: Path, model: str) -> Iterator[None]:
    """Holds a folder for the evaluation of one model by one process.

    Raises:
        KdnasError: It holds something else, cannot be written, or another process holds it.
    """
    make_writable(folder)
    what = f"another process evaluates into {folder}"
    with file_lock(folder / ".lock", what, 0, refusal=f"{what}; choose another --out"):
        _check_folder(folder, model)
        yield


def _evaluate_task(
    subject: Subject,
    settings: Settings,
    tuning: Tuning,
    runtime: Runtime,
    folder: Path,
    predictions: Path | None,
    result: dict[str, Any],
) -> None:
    """Adds the scores and the predictions of one task to the result."""
    name = subject.spec.name
    tests = read_tests(subject, settings) if predictions else []
    model: PreTrainedModel | None = None
    if subject.tuned:
        say(f"{name}: fine-tuning {subject.model}; results go to {folder}")
        train = read_train(subject, settings)
        done, seeds = tune(subject, train, tuning, runtime, folder / name)
        result["tasks"][name] = _tuned_result(subject, tuning, done, seeds)
        if tests:
            model = best_model(subject, train, done, runtime, folder / name)
    else:
        model = _with_head(subject)
        exact, pad_id = runtime.exact, subject.pad_id
        scores = evaluate_model(model, subject.splits, subject.spec, exact, pad_id)
        total = task_score(scores)
        result["tasks"][name] = {"scores": scores, "score": total, **_circumstances(subject)}
    for spec, split, data in tests:
        assert predictions and model
        logits = predict(model, data, runtime.exact, pad_id=subject.pad_id)
        file = write_predictions(predictions, spec, split, logits.numpy())
        result["predictions"].append(str(file))


def _with_head(subject: Subject) -> PreTrainedModel:
    teacher = load_teacher(subject.model, subject.spec)
    if not teacher.has_head:
        raise KdnasError(
            f"{subject.model!r} lacks weights of the head that its config describes; --fine-tune "
            "trains one"
        )
    return teacher.model


def _tuned_result(
    subject: Subject, tuning: Tuning, done: Sequence[Outcome], seeds: Sequence[Outcome]
) -> dict[str, Any]:
    by_metric = {name: [one.scores[name] for one in seeds] for name in seeds[0].scores}
    totals = [one.total for one in seeds]
    several = len(seeds) > 1
    return {
        "scores": {name: fmean(values) for name, values in by_metric.items()},
        **({"spread": {n: stdev(v) for n, v in by_metric.items()}} if several else {}),
        "score": fmean(totals),
        **({"score_spread": stdev(totals)} if several else {}),
        **_circumstances(subject),
        "best": asdict(seeds[0].point),
        "grid_points": len(tuning.grid),
        "seeds": {one.point.seed: one.scores for one in seeds},
        "diverged": [one.point.label for one in done if not one.scores],
    }


def _circumstances(subject: Subject) -> dict[str, Any]:
    rows = {split: len(data) for split, data in subject.splits.items()}
    return {"tuned": subject.tuned, "rows": rows, "held_out": subject.held_out}


def _mean_name(specs: Sequence[TaskSpec]) -> str:
    first, *others = {spec.benchmark for spec in specs}
    return f"{first} mean" if first and not others else "mean"


def _of_run(folder: Path) -> dict[str, Any]:
    """The task and the data of a run folder; nothing for a checkpoint."""
    file = folder / "config.yaml"
    own = read_yaml(file) if file.exists() else {}
    names = ("task", "tasks", "data_dir", "max_length")
    defaults = {"task": DEFAULT_TASK} if own else {}
    return {**defaults, **{name: own[name] for name in names if own.get(name) is not None}}


def _short_name(model: str) -> str:
    """A checkpoint's folder name; a run's for the student in it."""
    place = Path(model).resolve()
    return f"{place.parent.name}-{place.name}" if place.name == "student" else place.name


def _keep(folder: Path, result: dict[str, Any]) -> None:
    write_json(folder / RESULTS, {**result, "model": _identity(result["model"])})


def _check_folder(folder: Path, model: str) -> None:
    others = [
        path.name for path in folder.iterdir() if not path.name.startswith((".lock", ".writable"))
    ]
    stored = read_json(folder / RESULTS)
    if others and not isinstance(stored, dict):
        raise KdnasError(f"{folder} is not empty and holds no evaluation; choose another --out")
    if stored and stored["model"] != _identity(model):
        raise KdnasError(
            f"{folder} holds the evaluation of {stored['model']!r}; choose another --out"
        )
    if not stored:
        _keep(folder, {"model": model, "tasks": {}})


def _identity(model: str) -> str:
    return str(Path(model).resolve()) if Path(model).exists() else model
