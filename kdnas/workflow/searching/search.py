"""Step 4: the search, and random search beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from textwrap import wrap

from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.config import Settings
from kdnas.runs.context import Context
from kdnas.runtime.console import say
from kdnas.runtime.formatting import WIDTH
from kdnas.runtime.side_by_side import Ask, side_by_side
from kdnas.scoring.limits import Limits
from kdnas.space import Candidate, SearchSpace
from kdnas.study.attributes import INITIAL
from kdnas.study.deadline import Deadline
from kdnas.study.join import check_same_teacher, identity, publish
from kdnas.study.optimize import (
    RANDOM_SEARCH,
    expected_trials,
    optimize,
    standing_shown,
)
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.study.record import rows_on_record
from kdnas.study.samplers import make_sampler
from kdnas.study.storage import disconnect, storage_url
from kdnas.study.study import control_name, create_study, evaluated
from kdnas.study.warm_start import may_begin, published, usual_candidate, warm_start
from kdnas.study.whole import CONTROL, check_whole
from kdnas.tasks import DEFAULT_TASK
from kdnas.teachers.cache import fingerprint
from kdnas.teachers.load import name_of_teacher
from kdnas.workflow.preparing.count_jobs import count_jobs
from kdnas.workflow.preparing.inputs import check_same_data
from kdnas.workflow.preparing.prepare import Prepared, source_fingerprint
from kdnas.workflow.preparing.trials_spent import search_end, trials_left
from kdnas.workflow.searching.hand_picked import first_picks
from kdnas.workflow.searching.learn_from import teach
from kdnas.workflow.searching.pacing import has_time, keep_time
from kdnas.workflow.searching.screening import screened


def open_run_study(context: Context, space: SearchSpace, control: str | None = None) -> Study:
    """The run's study with its sampler, or that of a control, named by its sampler.

    Raises:
        KdnasError: The storage cannot be used, the study is that of another search, or it lacks
            trials that the run folder has.
    """
    run, settings = context.run, context.settings
    joined = identity(run)
    ours = joined or {
        "teacher": name_of_teacher(settings),
        "task": settings.task or DEFAULT_TASK,
        "objective": settings.objective,
    }
    if not control:
        check_whole(run)
    title = control_name(settings.study, control) if control else settings.study
    url = storage_url(settings.storage, run.folder)
    study = create_study(url, title, None, settings.objective, ours)
    study.sampler = _sampler(settings, space, study, control)
    if not (control or joined):
        publish(study, settings)
    return study


def _sampler(
    settings: Settings, space: SearchSpace, study: Study, control: str | None
) -> BaseSampler:
    """The sampler of a run, or of its control, for as many trials as it is expected to have."""
    trials = expected_trials(study, settings.trials)
    if not control:
        pruner = SuccessiveHalvingPruner(settings.rungs, settings.reduction)
        trials = pruner.expected_candidates(trials)
    return make_sampler(control or settings.sampler, space, settings.seed, trials)


def search(prepared: Prepared, study: Study) -> None:
    """Scores candidates until the study has its total.

    Raises:
        KdnasError: The teacher or the data are not those that the study began with.
    """
    context, inputs = prepared.context, prepared.inputs
    settings, run = context.settings, context.run
    _check_same(prepared, study)
    if trials_left(context, space=inputs.space) == 0:
        return
    jobs = _jobs(prepared, control=False)
    tick = keep_time(context, inputs.space, study, jobs, control=False)
    teach(context, inputs.space, study, prepared.meter.teacher_params)
    if settings.warm_start and may_begin(study):
        warm_start(study, inputs.space, settings, prepared.meter, _first(prepared, study))
        _check_same(prepared, study)  # until a candidate is scored, another process may change it
    with run.timed("search"):
        _optimize(prepared, study, jobs, tick)
    for line in wrap(too_short(study.get_trials(deepcopy=False), settings), WIDTH):
        say(line)
    _ended(context, control=False)


def finish_search(prepared: Prepared, study: Study) -> None:
    """Sees to it that a search that is to end now has a student to ship.

    Where candidates wait on rungs, and none was trained to the end, the best goes on to it, as
    where time ends a search.

    Raises:
        KdnasError: As of `search`.
    """
    _check_same(prepared, study)
    if evaluated(study):
        return
    say("no candidate was trained to the end yet: the best of those on rungs goes on")
    before, over = Deadline.of(study), Deadline(until=0.0, trials=1, seconds=1.0)
    over.write(study)
    try:
        with prepared.context.run.timed("search"):
            _optimize(prepared, study, 1, lambda: None)
    finally:
        before.write(study) if before else Deadline.clear(study)


def _check_same(prepared: Prepared, study: Study) -> None:
    """Refuses a teacher or data other than those that a study began with."""
    context, inputs, data = prepared.context, prepared.inputs, prepared.inputs.data
    check_same_data(context, data)
    now = fingerprint(prepared.teacher, data.train, data.distillation)
    before = source_fingerprint(context, inputs)
    source = before.read() if before.done() else None
    check_same_teacher(study, context.settings, source, now)


def too_short(trials: Sequence[FrozenTrial], settings: Settings) -> str:
    """What to say where most students are worse after their short training than before it."""
    scored = [t.user_attrs for t in trials if t.user_attrs.get(INITIAL) is not None]
    known = [attrs for attrs in scored if "loss" in attrs]
    worse = sum(attrs["loss"] > attrs[INITIAL] for attrs in known)
    if worse <= len(known) / 2:
        return ""
    more = f"--mini-epochs (now {settings.mini_epochs:g})"
    if settings.proxy_fraction < 1:
        more += f" or --proxy-fraction (now {settings.proxy_fraction:g})"
    return (
        f"{worse} of {len(known)} students are worse after mini-KD than before it, which is too "
        f"short to rank them; start another run with a higher {more}"
    )


def _first(prepared: Prepared, study: Study) -> list[Candidate]:
    """What a search begins with: a person's pick within its limits, then the best untrained ones.

    Without a score of untrained students, what a person would pick at several depths.
    """
    settings, space = prepared.context.settings, prepared.inputs.space
    like = usual_candidate(space)
    limited = bool(Limits.of(settings))
    picked = first_picks(prepared, like) if limited else []
    trials = expected_trials(study, settings.trials)
    best = screened(prepared, [*picked, *published(space)], like, trials)
    return list(dict.fromkeys((*picked[:1], *(best or picked))))


def random_search(prepared: Prepared, study: Study, *, finish: bool = False) -> Study | None:
    """Random search with the search's budget, as a control; a candidate of both is paid for once.

    With `finish`, it is read as it is. Returns its study; None where it is switched off, or nothing
    in it was scored.
    """
    context, space = prepared.context, prepared.inputs.space
    settings = context.settings
    if settings.random_control == "off" or settings.sampler == "random":
        return None
    control = open_run_study(context, space, CONTROL)
    jobs = _jobs(prepared, control=True)
    if not finish and trials_left(context, control=True, space=space) > 0:
        if has_time(context, jobs):
            tick = keep_time(context, space, control, jobs, control=True)
            with context.run.timed(RANDOM_SEARCH):
                _optimize(prepared, control, jobs, tick, beside=study)
        _ended(context, control=True)
    return control if evaluated(control) else None


def _jobs(prepared: Prepared, *, control: bool) -> int:
    """Candidates of a search, or of random search, that are scored side by side."""
    left = trials_left(prepared.context, control=control, space=prepared.inputs.space)
    return count_jobs(prepared.context, math.ceil(left), prepared.meter.teacher_params)


def _optimize(
    prepared: Prepared,
    study: Study,
    jobs: int,
    tick: Callable[[], None],
    beside: Study | None = None,
) -> None:
    """Spends a study's budget, first side by side; what is left then, this process does."""
    context, space = prepared.context, prepared.inputs.space
    run, control = context.run, CONTROL if beside else None
    settings = _settings_for(context.settings, beside)
    study.sampler = _sampler(settings, space, study, control)
    given = (settings, run.folder, run.log)

    def work(ask: Ask) -> None:
        """What each process does, with connections of its own."""
        ours = open_run_study(context, space, control)
        theirs = open_run_study(context, space) if beside else None
        known = [t.number for t in ours.get_trials(deepcopy=False) if t.state.is_finished()]
        optimize(ours, space, prepared.evaluate_with(ask), *given, theirs, known=known)

    if jobs > 1:
        say(f"{jobs} candidates side by side, one thread each (--jobs)")
        for each in filter(None, (study, beside)):
            disconnect(each._storage)
        with standing_shown(study, settings, control=beside is not None) as show:

            def look() -> None:
                tick()
                show()

            side_by_side(jobs, work, prepared.meter.of_candidate, look)
    known = rows_on_record(run, control=beside is not None)
    optimize(study, space, prepared.evaluate, *given, beside, known=known, tick=tick)


def _ended(context: Context, *, control: bool) -> None:
    """Keeps that a search has used its time: more trials take a larger budget."""
    if context.time.limited:
        search_end(context, control=control).write({})


def _settings_for(settings: Settings, beside: Study | None) -> Settings:
    """The settings of a study; where time ends the search, random search has as many trials."""
    if beside is None or settings.ends_by_trials:
        return settings
    pruner = SuccessiveHalvingPruner(settings.rungs, settings.reduction)
    spent = pruner.spent(beside.get_trials(deepcopy=False)) / pruner.full_cost
    return settings.model_copy(update={"trials": max(1, math.ceil(spent))})
