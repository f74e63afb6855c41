"""kdnas evaluate: a checkpoint's official scores on one task or many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from numpy.typing import NDArray
from transformers import PreTrainedModel

from kdnas.config import Settings, load_settings, read_yaml
from kdnas.config.arguments import check_known
from kdnas.config.groups import OF_EVALUATION
from kdnas.distillation.training import predict
from kdnas.errors import KdnasError
from kdnas.evaluation.answers import take_unit
from kdnas.evaluation.data import (
    Subject,
    find_tasks,
    prepare,
    read_telling,
    read_tests,
    read_train,
)
from kdnas.evaluation.early import check_model, check_task_chosen, check_tasks
from kdnas.evaluation.foresee import Foreseen, foresee
from kdnas.evaluation.scores import baseline, scores_and_intervals
from kdnas.evaluation.tuning import Outcome, Point, Tuner, plan
from kdnas.files.atomic import make_writable, read_json, write_json, write_text
from kdnas.files.locks import file_lock
from kdnas.runs.run_folder import RUNS, resolve, with_absolute_paths
from kdnas.runs.student import tell_unfinished
from kdnas.runtime.console import following, say, step
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.runtime.jobs import job
from kdnas.students.checkpoint import check_files, undamaged_student
from kdnas.students.pruning import is_sliced, sliced
from kdnas.tasks import DEFAULT_TASK, TASK_TYPES, EncodedExamples, TaskSpec
from kdnas.tasks.metrics import task_score
from kdnas.tasks.types import UNSCALED, threshold_of
from kdnas.teachers.fine_tune import scale_of
from kdnas.teachers.load import load_config, load_teacher

RESULTS = "evaluation.json"
VALIDATION, TEST = "validation", "test"


@job()
def evaluate(
    model: str | PathLike[str],
    task: str | None = None,
    *,
    data_dir: Path | str | None = None,
    fine_tune: bool | None = None,
    grid: bool = False,
    lrs: str | float | Sequence[float] | None = None,
    batch_sizes: str | int | Sequence[int] | None = None,
    epochs: float | None = None,
    seeds: int = 1,
    out: Path | str | None = None,
    predictions: Path | str | None = None,
    config: str | Path | Sequence[str | Path] | None = None,
    split: str = VALIDATION,
    dry_run: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """A checkpoint's scores by the tasks' official metrics, in fp32.

    A checkpoint with a head for the task is scored as it is; another is fine-tuned first.

    Args:
        model: Hub id or folder of an encoder or classifier, or a finished run.
        task: A task, several (`mrpc,rte`), `all` (GLUE), or a YAML file that defines one;
            default: a run's own.
        data_dir: Folder of local data; default: a run's own, else KDNAS_DATA_DIR, else the hub. A
            run's own task has the run's data: KDNAS_DATA_DIR does not count.
        fine_tune: Whether to; None: where there are several tasks or it lacks the task's head.
        grid: Tries GRID_LRS with GRID_BATCH_SIZES; the best by validation score counts.
        lrs: Learning rates to try instead; default: one, 5e-5.
        batch_sizes: Batch sizes to try instead; default: one, 32.
        epochs: Of each fine-tuning; default: 3.
        seeds: Seeds at the best point.
        out: Keeps what was fine-tuned, so that a stopped evaluation goes on from there; default:
            runs/MODEL-evaluation.
        predictions: Folder for predictions on the test splits.
        config: YAML file or files with settings.
        split: `test` scores the test splits, with a checkpoint as it is; nothing is chosen there.
        dry_run: Only plans the fine-tunings.
        options: Other settings: `label_map`, `max_length`, `max_train_rows`, `max_eval_rows`,
            `seed`, `precision`, `threads`, `device`, and the others of `kdnas evaluate`.

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
    check_known("evaluate", options, OF_EVALUATION)
    settings = _settings_of(model, config, {"task": task, "data_dir": data_dir, **options})
    tests = _scores_tests(split, fine_tune, predictions)
    points = plan(settings, grid, lrs, batch_sizes, epochs, seeds)
    tuning = {"grid": grid, "lrs": lrs, "batch-sizes": batch_sizes, "epochs": epochs}
    tuning["seeds"] = seeds > 1
    if tests or fine_tune is False:
        _refuse_tuning("--split test" if tests else "--no-fine-tune", tuning)
    name = _checkpoint_of(model)
    load_config(name)  # fails early where there is no such checkpoint
    specs = find_tasks(settings, fine_tune, predictions is not None, tests)
    fine_tune = True if len(specs) > 1 and fine_tune is None and not tests else fine_tune
    runtime = start_runtime(
        device=settings.device, precision=settings.precision, threads=settings.threads
    )
    subjects = [prepare(name, spec, settings, fine_tune) for spec in specs]
    if tests:
        _check_heads(name, subjects)
    _refuse_idle(name, subjects, tuning)
    job = _Job(
        name=name,
        settings=settings,
        subjects=subjects,
        trains={one.spec.name: read_train(one, settings) for one in subjects if one.tuned},
        points=points,
        seeds=seeds,
        runtime=runtime,
        folder=Path(out or RUNS / f"{_short(name)}-evaluation"),
        stays=out is not None,
        predictions=None if predictions is None else Path(predictions),
    )
    return _planned(job).described if dry_run else _carry_out(job)


@dataclass(frozen=True)
class _Job:
    """What an evaluation reads and where it writes.

    Attributes:
        name: The checkpoint: hub id or folder.
        trains: The training rows of each task that is fine-tuned.
        points: Of the grid.
        stays: Whether scores stay in the folder where nothing is fine-tuned, too.
        predictions: Folder for predictions on test splits.
    """

    name: str
    settings: Settings
    subjects: Sequence[Subject]
    trains: dict[str, EncodedExamples]
    points: Sequence[Point]
    seeds: int
    runtime: Runtime
    folder: Path
    stays: bool
    predictions: Path | None


def _settings_of(
    model: str | PathLike[str],
    config: str | Path | Sequence[str | Path] | None,
    given: Mapping[str, Any],
) -> Settings:
    """Settings from files and from the options that were given, else those of a run.

    The run's data are those of its own task; of another KDNAS_DATA_DIR counts where it has none.
    """
    flags = {name: value for name, value in given.items() if value is not None}
    check_model(fspath(model))
    of_run = _of_run(Path(model))
    settings = load_settings(config, flags, of_run)
    is_own = bool(of_run) and with_absolute_paths(settings).task == of_run["task"]
    if (
        settings.task is None and "task" in settings.model_fields_set
    ):  # a run's of the embedded task
        settings = settings.model_copy(update={"task": DEFAULT_TASK})
    check_task_chosen(settings, config)
    check_tasks(settings)
    return with_absolute_paths(settings) if is_own else resolve(settings)


def _scores_tests(split: str, fine_tune: bool | None, predictions: Path | str | None) -> bool:
    """Whether test splits are scored, in place of validation."""
    if split == VALIDATION:
        return False
    if split != TEST:
        raise KdnasError(f"invalid --split {split}: expected {VALIDATION} or {TEST}")
    if fine_tune:
        raise KdnasError(
            "--split test and --fine-tune contradict each other: the best epochs and rates would "
            "be chosen on the test split; fine-tune first, then score the checkpoint"
        )
    if predictions is not None:
        raise KdnasError(
            "--split test and --predictions contradict each other: one scores the test split, the "
            "other writes what the model says of it; give one of them"
        )
    return True


def _refuse_tuning(given: str, tuning: dict[str, Any]) -> None:
    """Raises KdnasError where an option of fine-tuning was given beside one that rules it out."""
    for flag in [flag for flag, value in tuning.items() if value]:
        raise KdnasError(f"{given} and --{flag} contradict each other: give one of them")


def _refuse_idle(name: str, subjects: Sequence[Subject], tuning: dict[str, Any]) -> None:
    """Raises KdnasError where an option of fine-tuning was given and nothing is fine-tuned."""
    given = next((flag for flag, value in tuning.items() if value), None)
    if given and not any(one.tuned for one in subjects):
        raise KdnasError(
            f"--{given} is for fine-tuning, and {name!r} has a head for task "
            f"{subjects[0].spec.name!r}: give --fine-tune, too, or leave --{given} out"
        )


def _check_heads(name: str, subjects: Sequence[Subject]) -> None:
    """Raises KdnasError where a checkpoint would have to be fine-tuned before it is scored."""
    if headless := [one.spec.name for one in subjects if one.tuned]:
        raise KdnasError(
            f"{name!r} has no head for task {headless[0]!r}: fine-tune it first, then score it on "
            "the test split"
        )


def _checkpoint_of(model: str | PathLike[str]) -> str:
    """The checkpoint to score: a finished run's student, else what was given; undamaged."""
    if not (Path(model) / "config.yaml").exists():
        check_files(fspath(model))
        return fspath(model)
    tell_unfinished(Path(model))
    return str(undamaged_student(Path(model)))


def _short(name: str) -> str:
    """Names a folder after a checkpoint."""
    place = Path(name).resolve()
    return f"{place.parent.name}-{place.name}" if place.name == "student" else place.name


def _check_folders(job: _Job) -> None:
    """Refuses folders before anything is measured."""
    if job.trains or job.stays:
        with claimed(job.folder, job.name):
            pass
    if job.predictions:
        make_writable(job.predictions)


def _planned(job: _Job) -> Foreseen:
    """What an evaluation will do, after a few steps of training where it trains."""
    return foresee(job.subjects, job.trains, job.points, job.seeds, job.runtime, job.folder)


def _carry_out(job: _Job) -> dict[str, Any]:
    """Says the plan, and does it."""
    _check_folders(job)
    planned = _planned(job)
    for line in planned.lines if job.trains else ():
        say(line)
    with following(planned.plan) if job.trains else nullcontext():
        return _evaluate_all(job)


def _evaluate_all(job: _Job) -> dict[str, Any]:
    """Scores each task and their mean; what was fine-tuned is kept after each."""
    benchmark, *others = {one.spec.benchmark for one in job.subjects}
    named = f"{benchmark} mean" if benchmark and not others else "mean"
    result: dict[str, Any] = {"model": job.name, "tasks": {}, "predictions": []}
    for subject in job.subjects:
        stays = subject.tuned or job.stays
        with claimed(job.folder, job.name) if stays else nullcontext():
            _evaluate_task(subject, job, result)
            result["mean"] = fmean(task["score"] for task in result["tasks"].values())
            result["mean_name"] = named
            if stays:
                write_json(job.folder / RESULTS, {**result, "model": _identity(job.name)})
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


def _evaluate_task(subject: Subject, job: _Job, result: dict[str, Any]) -> None:
    """Adds the scores and the predictions of one task to the result."""
    name, train = subject.spec.name, job.trains.get(subject.spec.name)
    tests = read_tests(subject, job.settings) if job.predictions else []
    if train is not None:
        found, model = _tuned(subject, train, job, keep=bool(tests))
    else:
        found, model = _as_it_is(subject, job)
    constant = baseline(subject.spec, list(subject.splits.values()), subject.splits)
    how = {
        "tuned": subject.tuned,
        "rows": {split: data.row_count for split, data in subject.splits.items()},
        "held_out": subject.held_out,
        "baseline": constant and {name: constant[name] for name in ("name", "scores")},
    }
    result["tasks"][name] = {**found, **how}
    for spec, split, data in tests:
        assert job.predictions and model
        logits = predict(model, data, job.runtime.exact, pad_id=subject.pad_id)
        threshold = threshold_of(model.config)
        file = write_predictions(job.predictions, spec, split, logits.numpy(), data, threshold)
        result["predictions"].append(str(file))


def _tuned(
    subject: Subject, train: EncodedExamples, job: _Job, *, keep: bool
) -> tuple[dict[str, Any], PreTrainedModel | None]:
    """Scores over the grid and its seeds, and, to keep, the best model."""
    name = subject.spec.name
    tuner = Tuner(subject, train, job.runtime, job.folder / name)
    with step(name):
        say(f"{name}: fine-tuning {subject.model}; results go to {job.folder}")
        outcomes = tuner.tune(job.points, job.seeds)
    diverged = [one.point.label for one in tuner.done if not one.scores]
    found = {**_over_seeds(outcomes), "grid_points": len(job.points), "diverged": diverged}
    return found, tuner.best_model() if keep else None


def _as_it_is(subject: Subject, job: _Job) -> tuple[dict[str, Any], PreTrainedModel]:
    """Scores of a checkpoint with a head for the task; KdnasError where it has none.

    Only its unit is made that of the labels, as a search does with such a teacher.
    """
    words, options = subject.label_map, subject.options
    scored = list(subject.splits.values())
    teacher = load_teacher(
        subject.model, subject.spec, label_map=words, options=options, scored=scored
    )
    if not teacher.has_head:
        raise KdnasError(
            f"{subject.model!r} lacks weights of the head that its config describes; "
            "--fine-tune trains one"
        )
    _fit_unit(teacher.model, subject, job)
    model = sliced(teacher.model)
    return {**_scored(subject, model, job.runtime), "sliced": is_sliced(model)}, model


def _fit_unit(model: PreTrainedModel, subject: Subject, job: _Job) -> None:
    """Gives a head from elsewhere the unit of the labels, by training rows, where it has another.

    What kdnas saved has it already, and so has a task whose labels have no scale.
    """
    own = hasattr(subject.config, "kdnas_task_type")
    labelled = [data for data in subject.splits.values() if data.labels is not None]
    if own or all(scale_of(data) == UNSCALED for data in labelled):
        return
    try:
        rows = read_telling(subject, job.settings)
    except KdnasError as error:
        say(f"the outputs of {subject.model} are taken to be in the unit of the labels: {error}")
        return
    assert rows.labels is not None
    logits = predict(model, rows, job.runtime.exact, pad_id=subject.pad_id).numpy()
    unit = subject.spec.task_type.unit_of(logits, rows.labels)
    take_unit(model, unit, f"the outputs of {subject.model}")


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


def _of_run(folder: Path) -> dict[str, Any]:
    """The task and the data of a run folder; nothing for a checkpoint."""
    file = folder / "config.yaml"
    own = read_yaml(file) if file.exists() else {}
    encoding = {name for kind in TASK_TYPES.values() for name in kind.encode_settings}
    names = ("tasks", "data_dir", "max_length", "max_eval_rows", "skip_malformed")
    known = {name: own.get(name) for name in (*names, *sorted(encoding))}
    task = {"task": own.get("task")} if own else {}
    return {**task, **{name: value for name, value in known.items() if value is not None}}


def _identity(model: str) -> str:
    return str(Path(model).resolve()) if Path(model).exists() else model
