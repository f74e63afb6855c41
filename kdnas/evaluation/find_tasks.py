"""Which tasks are to be evaluated, and whether their data are there."""

from __future__ import annotations

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.runtime.console import say
from kdnas.tasks import TaskSpec, benchmark_names, load_spec
from kdnas.tasks.load import open_source

ALL = "all"


def find_tasks(settings: Settings, tuned: bool | None, predict: bool) -> list[TaskSpec]:
    """The tasks that `--task` names.

    `all` stands for the tasks of GLUE; those without data are left out, with a notice.

    Args:
        settings: `task` is a name, several with commas between them, or `all`.
        tuned: Whether training data are needed; None: if there are several tasks.
        predict: Whether test splits are wanted, too.

    Raises:
        KdnasError: No task is named, a name is unknown, or a named task has no data.
    """
    if not settings.task:
        raise KdnasError("--task is missing; name a task, several (a,b), all, or a YAML file")
    whole = settings.task == ALL
    names = benchmark_names() if whole else settings.task.split(",")
    specs = {spec.name: spec for spec in (load_spec(n.strip(), settings.tasks) for n in names)}
    needed = ("train",) if tuned or (tuned is None and len(specs) > 1) else ()
    missing = _missing(specs, settings, needed)
    if missing:
        first = next(iter(missing.values()))
        found = f"no data for {', '.join(missing)}: {first}"
        if not whole or len(missing) == len(specs):
            raise KdnasError(found if len(missing) > 1 or whole else first)
        say(f"left out, {found}")
    there = [spec for name, spec in specs.items() if name not in missing]
    untested = [s.name for s in there if predict and not tasks_to_predict(s, settings)]
    if untested and (not whole or len(untested) == len(there)):
        raise KdnasError(f"--predictions: no test file for {', '.join(untested)}")
    if untested:
        say(f"no test file, and so no predictions, for {', '.join(untested)}")
    return there


def tasks_to_predict(spec: TaskSpec, settings: Settings) -> list[tuple[TaskSpec, list[str]]]:
    """The task, and those that its head answers too, each with the test splits that are there."""
    found = []
    for one in (spec, *(load_spec(name, settings.tasks) for name in spec.companions)):
        try:
            source = open_source(one, settings.data_dir)
            splits = [split for split in one.test_splits if source.has(split)]
        except KdnasError:
            continue
        if splits:
            found.append((one, splits))
    return found


def _missing(
    specs: dict[str, TaskSpec], settings: Settings, needed: tuple[str, ...]
) -> dict[str, str]:
    """Why tasks cannot be evaluated, for those that cannot."""
    missing: dict[str, str] = {}
    failed: dict[str, str] = {}  # hub data sets: asking again in vain takes half a minute each
    for name, spec in specs.items():
        on_hub = spec.hub.path if spec.hub and settings.data_dir is None else name
        reason = failed.get(on_hub) or _lacks(spec, settings, needed)
        if reason:
            missing[name] = failed[on_hub] = reason
    return missing


def _lacks(spec: TaskSpec, settings: Settings, needed: tuple[str, ...]) -> str | None:
    """Why a task cannot be evaluated."""
    try:
        source = open_source(spec, settings.data_dir)
        lacking = [split for split in needed if not source.has(split)]
        if not any(source.has(split) for split in ("train", *spec.evaluation)):
            lacking = [spec.evaluation[0]]
        for split in lacking:
            source.read(split)  # says what is missing, and what would be right
    except KdnasError as error:
        return str(error)
    return None
