"""Does a run's mini-KD score rank students as their final score does?

Students spread over the front are distilled fully and evaluated; each result is in the run
folder at once.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from statistics import fmean
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial
from scipy.optimize import linear_sum_assignment

from kdnas.config import Settings, settings_of
from kdnas.config.choices import Cost
from kdnas.errors import KdnasError
from kdnas.evaluation.answers import settle_answers
from kdnas.evaluation.scores import rows_of_model, scores_of_rows
from kdnas.files.atomic import write_json
from kdnas.recipes.full import RecipeRun, run_recipe
from kdnas.report.fidelity import write_fidelity
from kdnas.report.search_summary import longer
from kdnas.report.trials_table import seconds_of_scores, trial_table
from kdnas.runs.context import Context, run_step
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import progress, say, step
from kdnas.runtime.formatting import several
from kdnas.scoring.rank_agreement import CONFIDENCE, RESAMPLES, agreements
from kdnas.space import Candidate, Pruning
from kdnas.space.candidate import TEACHERS_VOCABULARY
from kdnas.study.attributes import INITIAL
from kdnas.study.pareto import nondominated_ranks
from kdnas.study.study import evaluated
from kdnas.study.whole import open_study_of
from kdnas.tasks import TaskSpec
from kdnas.tasks.metrics import scored_by
from kdnas.teachers.load import Teacher
from kdnas.workflow.planning.forecast import TRAININGS, Forecast, follow, forecast
from kdnas.workflow.preparing.inputs import (
    Inputs,
    check_inputs,
    check_same_data,
    load_given_teacher,
    read_inputs,
)
from kdnas.workflow.preparing.prepare import prepare_full_kd, prepare_teacher, rows_of
from kdnas.workflow.preparing.records import beside_stages
from kdnas.workflow.remember import remember_tau

LEAST = 4
Student = dict[str, Any]


def fidelity(context: Context, count: int, seeds: int) -> dict[str, Any]:
    """Distils and evaluates students of a run; writes RUN/fidelity.json and fidelity.html.

    Args:
        context: Of a run with a study.
        count: Students.
        seeds: Full trainings of each; the mean of their scores is the final one.

    Returns:
        The content of fidelity.json.

    Raises:
        KdnasError: The study has too few finished trials, or another process holds the run.
    """
    run, settings = context.run, context.settings
    with run.alone():
        students, inputs, given, planned = _check(context, count, seeds)
        with follow(planned):
            teacher = prepare_teacher(context, inputs, given)
            metric = inputs.data.spec.main_score
            full = cache(partial(prepare_full_kd, context, inputs, teacher))
            each = itertools.product(range(settings.seed, settings.seed + seeds), students)
            whole = progress(TRAININGS, seeds * count, unit="training")
            with step(TRAININGS), whole as advance:
                for i, (seed, student) in enumerate(each):
                    score = final_scores(context, inputs, full, student, seed)[metric]
                    student["final"][str(seed)] = score
                    say(
                        f"{i % count + 1}/{count}  trial {student['trial']}  {student['label']}  "
                        f"{student['speedup']:.2f}x  mini-KD {1 - student['loss']:.4f}  "
                        f"{metric} {score:.4f}  (seed {seed})"
                    )
                    advance("")
        result = summarise(students, metric)
        write_json(run.folder / "fidelity.json", result)
        write_fidelity(run.folder / "fidelity.html", result, run.folder.name, settings)
        tau, seconds = result["statistics"]["all"]["score"]["tau"], _seconds_a_score(run)
        remember_tau(run, inputs.data.spec, "fidelity", tau, count, seconds)
    return result


def _seconds_a_score(run: Run) -> float:
    """The median of what the scores of a run's study took."""
    return float(seconds_of_scores(trial_table(open_study_of(run), run.settings)).median())


def plan_fidelity(context: Context, count: int, seeds: int) -> Forecast:
    """What `fidelity` would do."""
    with context.run.looked_at():
        return _check(context, count, seeds)[-1]


def _check(
    context: Context, count: int, seeds: int
) -> tuple[list[Student], Inputs, Teacher, Forecast]:
    """The students, and what their trainings begin with."""
    run, settings = context.run, context.settings
    if seeds < 1:
        raise KdnasError(f"invalid --seeds {seeds}: expected 1 or more")
    if count < LEAST:
        raise KdnasError(f"invalid --students {count}: a rank correlation needs {LEAST} or more")
    every = evaluated(open_study_of(run))
    trials = [trial for trial in every if not Pruning.from_params(trial.params)]
    if len(trials) < len(every):
        left_out = several(len(every) - len(trials), "pruned trial")
        say(f"{left_out} left out: only shapes are trained")
    if len(trials) < count:
        instead = f", or ask for --students {len(trials)}" if len(trials) >= LEAST else ""
        more = f"--trials {settings.trials + count - len(trials)}"
        more = more if settings.ends_by_trials else longer(settings)
        raise KdnasError(
            f"--students is {count} ({LEAST} at least), but the study has {len(trials)} finished "
            f"trials of shapes; give it more with `kdnas resume {run.folder} {more}`"
            f"{instead}"
        )
    chosen = choose_students(trials, count, settings.cost)
    students = [student_of(trial, settings) for trial in chosen]
    inputs = read_inputs(context)
    check_inputs(context, inputs)
    given = load_given_teacher(context, inputs)
    check_same_data(context, inputs.data)
    planned = forecast(context, inputs, given, searches=False, trainings=seeds * count)
    return students, inputs, given, planned


def choose_students(trials: Sequence[FrozenTrial], count: int, cost: Cost) -> list[FrozenTrial]:
    """Trials on the best fronts of loss against cost, evenly spread by the log of the speed-up.

    Whole fronts are taken until they hold enough trials. Among those, the ones that lie nearest to
    evenly spaced values are chosen (smallest sum of distances), fastest last.
    """
    # Milliseconds of trials that ran at different times do not compare; their ratios do.
    column, sign = ("speedup", -1) if cost == "latency" else (cost, 1)
    ranks = nondominated_ranks(
        [(t.user_attrs["loss"], sign * float(t.user_attrs[column])) for t in trials]
    )
    last = sorted(ranks)[count - 1]
    pool = [trial for trial, rank in zip(trials, ranks, strict=True) if rank <= last]
    pool.sort(key=lambda t: (t.user_attrs["speedup"], t.number))
    places = np.log([t.user_attrs["speedup"] for t in pool])
    spaced = np.linspace(places[0], places[-1], count)
    _, chosen = linear_sum_assignment(np.abs(spaced[:, None] - places[None]))
    return [pool[i] for i in sorted(chosen)]


def student_of(trial: FrozenTrial, settings: Settings) -> Student:
    """What the study of a run with these settings knows of a trial; no final scores by seed."""
    candidate = Candidate.of_trial(trial.params, settings)
    architecture = candidate.architecture
    numbers = ("params", "macs", "speedup", "loss", "reward")
    return {
        "trial": trial.number,
        "label": candidate.label,
        "recipe": candidate.recipe,
        "vocabulary": candidate.vocabulary,
        "architecture": architecture.params,
        "depth": architecture.num_hidden_layers,
        **{name: trial.user_attrs[name] for name in numbers},
        INITIAL: trial.user_attrs.get(INITIAL),
        "final": {},
    }


def final_scores(
    context: Context,
    inputs: Inputs,
    full: Callable[[str], RecipeRun],
    student: Student,
    seed: int,
) -> dict[str, float]:
    """Every metric of a student after full KD by its recipe; trained once, whatever the metrics.

    It starts afresh, not from its short training: the final score then owes nothing to the score
    that it is compared with.
    """
    label = student["label"]
    name = f"fidelity {label} seed {seed}"
    work = context.run.folder / "work" / "fidelity" / name.replace(" ", "-")
    seeded = context.settings.model_copy(update={"seed": seed})
    settings = settings_of(seeded, student["recipe"])
    recipe = [
        stage.model_dump(mode="json", exclude_defaults=True) for stage in settings.full_stages
    ]
    key = {"architecture": student["architecture"], "seed": seed, "recipe": recipe}
    key |= beside_stages(settings)
    kind = inputs.data.spec.task_type
    key |= {"threshold": True} if kind.has_threshold else {}
    key |= {"bias": True} if kind.has_bias else {}
    vocabulary = inputs.vocabularies[student["vocabulary"]]
    key |= {} if vocabulary.name == TEACHERS_VOCABULARY else {"vocabulary": vocabulary.name}

    spec = inputs.data.spec

    def compute() -> dict[str, Any]:
        job = replace(full(student["recipe"]), settings=settings)
        shape = Candidate.from_params(student["architecture"])
        state = run_recipe(job, replace(shape, recipe=student["recipe"]), work, label)
        model, rows = vocabulary.cut(state.model), rows_of(context, inputs, vocabulary.name)
        scale, exact = job.resources.task_teacher.scale, context.runtime.exact
        # As the student that ships has it.
        settle_answers(model, rows.selection, exact, rows.pad_id, inputs.data.train)
        return rows_of_model(model, rows.evaluation, spec, exact, rows.pad_id, scale)

    scores = _earlier_scores(context, name, key, spec)
    if scores is None:
        scores = scores_of_rows(spec, run_step(context, name, {**key, "rows": True}, compute))
    shutil.rmtree(work, ignore_errors=True)
    return scores


def _earlier_scores(
    context: Context, name: str, key: Mapping[str, Any], spec: TaskSpec
) -> dict[str, float] | None:
    """What earlier versions kept, scores in place of answers; None where the main one is not known.

    Such scores do not tell the class that they are about where their names do not.
    """
    step = context.run.step(name, key)
    if "positive" in scored_by(spec, ()) or not step.done():
        return None
    found: dict[str, float] = step.read()
    return found if spec.main_score in found else None


def summarise(students: list[Student], metric: str) -> dict[str, Any]:
    """The content of fidelity.json: the students, and how well each figure ranks them.

    Every predictor is turned so that more of it is expected to be better; the speed-up is negated.
    """
    final = [fmean(student["final"].values()) for student in students]
    predictors = {
        "score": [1 - s["loss"] for s in students],
        **{name: [s[name] for s in students] for name in ("reward", "params", "macs", "depth")},
        "-speedup": [-s["speedup"] for s in students],
    }
    untrained = [1 - s[INITIAL] for s in students if s.get(INITIAL) is not None]
    if len(untrained) == len(students):  # known to the run, and by its scorer
        predictors["initial"] = untrained
    found = agreements(predictors, final)
    return {
        "metric": metric,
        "seeds": sorted({int(seed) for s in students for seed in s["final"]}),
        "students": students,
        "statistics": {
            group: {name: asdict(value) for name, value in values.items()}
            for group, values in found.items()
        },
        "interval": f"{CONFIDENCE:.0%} percentile bootstrap over students, {RESAMPLES} resamples",
    }
