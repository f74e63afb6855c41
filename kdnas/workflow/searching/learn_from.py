"""Earlier runs that a search learns from: read before it begins, then part of its study."""

from __future__ import annotations

from pathlib import Path

from optuna.study import Study

from kdnas.config.names import split
from kdnas.errors import KdnasError
from kdnas.report.data import read_report, teacher_shape
from kdnas.runs.context import Context
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.runtime.formatting import several
from kdnas.space import Architecture, SearchSpace
from kdnas.study.attributes import LESSONS
from kdnas.study.join import identity
from kdnas.study.lessons import MOST, EarlierStudy, Lesson, make_lessons
from kdnas.study.storage import storage_url
from kdnas.study.study import evaluated, load_control
from kdnas.study.whole import CONTROL, open_study_of
from kdnas.workflow.preparing.trials_spent import study_of


def check_lessons(context: Context, space: SearchSpace) -> None:
    """Raises KdnasError where a search that has not begun cannot learn from a run it names."""
    study = study_of(context)
    if context.settings.learn_from and (study is None or not _has_begun(study)):
        read_lessons(context, space)


def teach(context: Context, space: SearchSpace, study: Study, teacher_params: int) -> None:
    """Gives a study that has no trial yet what earlier ones say of its candidates.

    The run keeps it, so that a study that was made again has it, too, whatever became of the
    earlier runs. A worker on another machine leaves this to the process that began the study.
    """
    known = LESSONS in study.user_attrs
    if not context.settings.learn_from or known or identity(context.run):
        return
    kept = context.run.step("lessons", {})
    if not _has_begun(study):
        kept.write(read_lessons(context, space, teacher_params))
    elif not kept.done():
        return
    lessons = kept.read()
    study.set_user_attr(LESSONS, lessons)
    count = len(split(context.settings.learn_from))
    runs = several(count, "earlier run")
    say(f"learning from {several(len(lessons), 'student')} of {runs} (--learn-from)")


def read_lessons(
    context: Context, space: SearchSpace, teacher_params: int | None = None
) -> list[Lesson]:
    """What the runs of --learn-from say of a space whose teacher has so many parameters.

    Raises:
        KdnasError: One of them is no run, has no finished trial, or has nothing in common with the
            space.
    """
    settings, found = context.settings, list[Lesson]()
    folders = split(settings.learn_from or "")
    for number, folder in enumerate(map(Path, folders)):
        if folder.resolve() == context.run.folder.resolve():
            raise KdnasError(f"invalid --learn-from {folder}: it is this run; name earlier ones")
        try:
            share = MOST // len(folders)
            earlier = _earlier(folder)
            lessons = make_lessons(earlier, space, settings, share, number, teacher_params)
        except KdnasError as error:
            raise KdnasError(f"invalid --learn-from {folder}: {error}") from None
        if not lessons:
            raise KdnasError(
                f"invalid --learn-from {folder}: its students have no counterpart in this space "
                "(an encoder has none in an encoder-decoder, nor a recipe that is not searched "
                "here); leave it out"
            )
        found += lessons
    return found


def _earlier(folder: Path) -> EarlierStudy:
    """The study of a run, with random search beside it."""
    run = Run.open(folder)
    study = open_study_of(run)
    url = storage_url(run.settings.storage, run.folder)
    control = load_control(url, run.settings.study, CONTROL)
    trials = [*evaluated(study), *(evaluated(control) if control else ())]
    if not trials:
        raise KdnasError(
            f"its study has no finished trial; continue it with `kdnas resume {folder}`, or leave "
            "it out"
        )
    report = read_report(run.folder)
    teacher = report.teacher.architecture if report else teacher_shape(run)
    if not isinstance(teacher, Architecture):
        raise KdnasError("the shape of its teacher is not on this machine; leave it out")
    return EarlierStudy(teacher, trials, run.settings)


def _has_begun(study: Study) -> bool:
    """Whether a study has begun, with lessons or without."""
    return LESSONS in study.user_attrs or bool(study.get_trials(deepcopy=False))
