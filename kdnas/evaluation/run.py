"""Scores a checkpoint on one task or on many."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from transformers import PreTrainedModel

from kdnas.config import Settings
from kdnas.distillation.training import predict
from kdnas.errors import KdnasError
from kdnas.evaluation.find_tasks import find_tasks
from kdnas.evaluation.fine_tuned import Tuned
from kdnas.evaluation.folder import claimed, keep
from kdnas.evaluation.grid import Tuning
from kdnas.evaluation.scores import evaluate_model
from kdnas.evaluation.subject import Subject
from kdnas.files.atomic import make_writable
from kdnas.runs.run_folder import resolve
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.tasks import TaskSpec
from kdnas.tasks.metrics import task_score
from kdnas.tasks.submission import write_predictions
from kdnas.teachers.load import load_config, load_teacher


def evaluate_checkpoint(model: str, settings: Settings) -> dict[str, float]:
    """A checkpoint's scores on `settings.task`, as it is, by the task's metrics.

    Raises:
        KdnasError: The checkpoint or the data cannot be used, or it has no head for the task.
    """
    result = evaluate(model, settings, Tuning.of(settings), fine_tune=False)
    scores: dict[str, float] = next(iter(result["tasks"].values()))["scores"]
    return scores


def evaluate(
    model: str,
    settings: Settings,
    tuning: Tuning,
    *,
    fine_tune: bool | None = None,
    out: Path | None = None,
    predictions: Path | None = None,
) -> dict[str, Any]:
    """A checkpoint's scores on all tasks that `settings.task` names, in fp32.

    Args:
        model: Hub id or folder of an encoder or classifier.
        settings: Tasks, data, device.
        tuning: How it is fine-tuned, where it is.
        fine_tune: Whether to; None: where there are several tasks or it lacks the task's head.
        out: Keeps what was fine-tuned, so that a stopped evaluation goes on from there; default:
            runs/MODEL-evaluation.
        predictions: Folder for predictions on the test splits.

    Returns:
        `tasks`: for each its mean `scores`, their `spread` over seeds, its `score` (the mean of
        its metrics) and how it came about; `mean`: of those scores; `predictions`: files.

    Raises:
        KdnasError: The checkpoint or the data cannot be used.
    """
    settings = resolve(settings)
    load_config(model)  # a checkpoint that is not there is told of before data are looked for
    specs = find_tasks(settings, fine_tune, predictions is not None)
    if len(specs) > 1 and fine_tune is None:
        fine_tune = True
    runtime = start_runtime(
        device=settings.device, precision=settings.precision, threads=settings.threads
    )
    folder = out or Path("runs") / f"{_short_name(model)}-evaluation"
    if predictions:
        make_writable(predictions)
    result: dict[str, Any] = {"model": model, "tasks": {}, "predictions": []}
    for spec in specs:
        subject = Subject.of(model, spec, settings, fine_tune)
        tests = subject.tests() if predictions else []
        kept = subject.tuned or out is not None
        with claimed(folder, model) if kept else nullcontext():
            if subject.tuned:
                say(f"{spec.name}: fine-tuning {model}; results go to {folder}")
                tuned = Tuned(subject, tuning, runtime, folder / spec.name)
                result["tasks"][spec.name] = _scored_when_tuned(tuned)
                scored = tuned.model() if tests else None
            else:
                scored = _as_it_is(model, subject.spec)
                result["tasks"][spec.name] = _scored_as_it_is(subject, scored, runtime)
            result["mean"] = fmean(task["score"] for task in result["tasks"].values())
            result["mean_name"] = _mean_name(specs)
            for answered, split, data in tests:
                assert predictions is not None
                logits = predict(scored, data, runtime.exact, pad_id=subject.pad_id)
                file = write_predictions(predictions, answered, split, logits.numpy())
                result["predictions"].append(str(file))
            if kept:
                keep(folder, result)
    return result


def _short_name(model: str) -> str:
    """A checkpoint's folder name; a run's for the student in it."""
    place = Path(model).resolve()
    return f"{place.parent.name}-{place.name}" if place.name == "student" else place.name


def _as_it_is(model: str, spec: TaskSpec) -> PreTrainedModel:
    teacher = load_teacher(model, spec)
    if not teacher.has_head:
        raise KdnasError(
            f"{model!r} lacks weights of the head that its config tells of; --fine-tune trains one"
        )
    return teacher.model


def _scored_as_it_is(subject: Subject, model: Any, runtime: Runtime) -> dict[str, Any]:
    data, spec = subject.evaluation, subject.spec
    scores = evaluate_model(model, data, spec, runtime.exact, subject.pad_id)
    return {"scores": scores, "score": task_score(scores), **_circumstances(subject)}


def _scored_when_tuned(tuned: Tuned) -> dict[str, Any]:
    runs = tuned.run()
    by_metric = {name: [scores[name] for _, scores in runs] for name in runs[0][1]}
    totals = [task_score(scores) for _, scores in runs]
    several = len(runs) > 1
    return {
        "scores": {name: fmean(values) for name, values in by_metric.items()},
        **({"spread": {n: stdev(v) for n, v in by_metric.items()}} if several else {}),
        "score": fmean(totals),
        **({"score_spread": stdev(totals)} if several else {}),
        **_circumstances(tuned.subject),
        "best": asdict(runs[0][0]),
        "grid_points": len(tuned.tuning.grid),
        "seeds": {point.seed: scores for point, scores in runs},
        "diverged": tuned.diverged,
    }


def _circumstances(subject: Subject) -> dict[str, Any]:
    rows = {split: len(data) for split, data in subject.evaluation.items()}
    return {"tuned": subject.tuned, "rows": rows, "held_out": subject.stands_in}


def _mean_name(specs: list[TaskSpec]) -> str:
    first, *others = {spec.benchmark for spec in specs}
    return f"{first} mean" if first and not others else "mean"
