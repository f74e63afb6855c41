"""What is refused at once: options, names, places and data, before torch is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kdnas.config import Settings, validated
from kdnas.config.assistants import assistants_in, problem_of_assistants
from kdnas.config.groups import OF_A_TRIAL
from kdnas.config.names import joined
from kdnas.errors import KdnasError
from kdnas.evaluation.early import check_data_variable
from kdnas.files.cache import check_cache, limit_in_bytes
from kdnas.files.checkpoints import check_checkpoint
from kdnas.runs.run_folder import Run, absolute_assistants, resolve, with_absolute_paths
from kdnas.runs.tracking import check_tracker
from kdnas.runtime.shown import shown
from kdnas.tasks import DEFAULT_TASK, TaskData, load_data, load_spec
from kdnas.tasks.class_weights import check_class_weights
from kdnas.tasks.defaults import with_type_defaults
from kdnas.tasks.formats.predictions import check_file
from kdnas.tasks.load import fewer_scored, open_source
from kdnas.tasks.teacher_predictions import with_predictions

# What was read to check it, for the one who reads it next.
_read: dict[tuple[object, ...], TaskData] = {}


def check_settings(settings: Settings) -> None:
    """Raises KdnasError where a new run with these settings would be refused for what it reads."""
    check_data_variable()
    check_begun(resolve(settings))


def check_begun(settings: Settings) -> None:
    """Raises KdnasError where a run that has begun would be refused for what it reads.

    KDNAS_DATA_DIR is none of that: the run has its data from where it began with them.
    """
    settings = with_absolute_paths(settings)
    limit_in_bytes(settings.cache_limit)
    check_tracker(settings.track)
    check_cache()
    for name in (settings.teacher, settings.student_base, settings.general_teacher):
        if name:
            check_checkpoint(name)
    spec = load_spec(settings.task or DEFAULT_TASK, settings.tasks)
    check_class_weights(spec, settings.class_weights)
    if settings.teacher_predictions:
        check_file(settings.teacher_predictions)
    if settings.data_dir or spec.embedded:  # what is on the hub takes long, also to be refused
        key = _key(settings)
        if key not in _read:  # a command may check twice: before torch is loaded, and after
            _read.clear()
            _read[key] = _load(settings)


def open_to_resume(
    folder: Path, files: Sequence[Path] = (), *, finish: bool = False, **changes: Any
) -> Run:
    """A run that is to go on with changes to its settings; `finish`: with no further candidate.

    Raises:
        KdnasError: As of `Run.open` and `check_begun`; or `finish` stands beside a new total.
    """
    for name in ("trials", "budget") if finish else ():
        if changes.get(name) is not None:
            raise KdnasError(f"--finish and --{name} contradict each other: give one of them")
    run, before = Run.open(folder, files, **changes), Run.open(folder).settings
    now = run.settings
    if (now.recipe, now.stages) != (before.recipe, before.stages):  # as a new run by that recipe
        run.settings = with_type_defaults(now, load_spec(now.task or DEFAULT_TASK, now.tasks))
    check_begun(run.settings)
    return run


def task_data(settings: Settings) -> TaskData:
    """The data of a run's task, as read by `check_settings` or now.

    Raises:
        KdnasError: The task is unknown, or its data cannot be used.
    """
    return _read.pop(_key(settings), None) or _load(settings)


def check_purpose(settings: Settings, *, searches: bool) -> None:
    """Raises KdnasError where a search is given a shape, or `kdnas distill` none."""
    if searches and settings.pruned and not settings.searches:
        raise KdnasError(
            f"invalid --pruned {settings.pruned}: a search chooses its students; use --search-over "
            "shape,pruning in its place, or make this one student with kdnas distill"
        )
    if searches and not settings.searches:
        raise KdnasError(
            f"invalid --architecture {settings.architecture}: a search finds the shape; leave it "
            "out, or distil this one shape with kdnas distill"
        )
    if searches and settings.speedup is not None and settings.speedup < 1:
        raise KdnasError(
            f"invalid --speedup {settings.speedup:g}: expected a number of at least 1, or none for "
            "students of any speed"
        )
    if settings.searches and not searches:
        raise KdnasError(
            "no student given: give --architecture, such as 6x256, or --pruned ziplm and --speedup "
            "or --sparsity, with --teacher and --task; or a RUN with --trial N or --speedup X"
        )


def check_trial_options(run: Path, options: Iterable[str]) -> None:
    """Raises KdnasError where options of a run of its own stand beside that of a trial."""
    for name in options:
        if name not in OF_A_TRIAL:
            raise KdnasError(
                f"--{name.replace('_', '-')} does not go with a RUN: {run} has its own settings; "
                "leave RUN out to distil a shape in a run of its own"
            )


def shape_flags(trial: int | None, speedup: object, flags: dict[str, Any]) -> dict[str, Any]:
    """The flags of a run of its own; those of a trial are refused.

    Several speed-ups, `2,4,8`, are the setting `speedups`.

    Raises:
        KdnasError: A trial is named, or a speed-up is no number.
    """
    if trial is not None:
        raise KdnasError(f"--trial {shown(trial)} needs a RUN: give the folder of a search")
    if speedup is None:
        return flags
    if not isinstance(speedup, str) or "," not in speedup:
        return {**flags, "speedup": speedup}
    try:
        return {**flags, "speedups": tuple(float(part) for part in speedup.split(","))}
    except ValueError:
        raise KdnasError(
            f"invalid --speedup {shown(speedup)}: expected a number above 1, or several with "
            "commas between them, such as 2,4,8"
        ) from None


def check_choice(trial: int | None, speedup: object) -> float | None:
    """Refuses what names no trial; returns the speed-up as a number.

    Raises:
        KdnasError: Neither or both of trial and speed-up are given, or one is out of range.
    """
    if (trial is None) == (speedup is None):
        raise KdnasError("give either --trial N or --speedup X")
    if trial is not None and (not isinstance(trial, int) or trial < 0):
        raise KdnasError(
            f"invalid --trial {shown(trial)}: expected the number of a trial, 0 or more"
        )
    if isinstance(speedup, str) and "," in speedup:
        raise KdnasError(
            f"invalid --speedup {shown(speedup)}: several speed-ups need --pruned, without a RUN; "
            "of a RUN give one"
        )
    return validated({"speedup": speedup}).speedup


def check_assistants_of_trial(trial: int | None, given: object) -> tuple[str, ...]:
    """Those that teach the student of a trial, as the words of a list.

    Raises:
        KdnasError: No trial is named, or the list contradicts itself.
    """
    words = assistants_in(absolute_assistants(joined(given)))
    if words and trial is None:
        raise KdnasError("--assistants needs the student that they teach: give --trial N")
    if problem := problem_of_assistants(words):
        raise KdnasError(problem)
    return words


def _load(settings: Settings) -> TaskData:
    spec = load_spec(settings.task or DEFAULT_TASK, settings.tasks)
    data = load_data(spec, settings.data_dir, skip_malformed=settings.skip_malformed)
    if said := settings.teacher_predictions:
        data = with_predictions(data, said, labels_stand_in=settings.labels_stand_in)
    # After the matching: rows that are not scored are still none to learn from.
    return fewer_scored(data, settings.max_eval_rows)


def _key(settings: Settings) -> tuple[object, ...]:
    """What decides the data that are read; also the state of local files, which may change.

    The task's entry may stand in a file that changes, too. Of a linked file its target counts.
    """
    spec = load_spec(settings.task or DEFAULT_TASK, settings.tasks)
    folder = getattr(open_source(spec, settings.data_dir), "folder", None)
    there = [] if folder is None else sorted(folder.iterdir())
    files = [(path.name, path.stat() if path.exists() else path.lstat()) for path in there]
    said = settings.teacher_predictions
    files += [(str(said), said.stat())] if said is not None and said.is_file() else []
    state = tuple((name, about.st_mtime_ns, about.st_size) for name, about in files)
    return (
        repr(spec.model_dump()),
        spec.names_metrics,
        str(settings.data_dir),
        settings.skip_malformed,
        settings.max_eval_rows,
        settings.labels_stand_in,
        state,
    )
