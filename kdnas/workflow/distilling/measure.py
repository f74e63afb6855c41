"""Step 6: scores and costs of finished students, beside the teacher's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from optuna.study import Study
from transformers import AutoConfig, PreTrainedModel

from kdnas import __version__
from kdnas.config import Settings, settings_of
from kdnas.evaluation.scores import scores_and_intervals
from kdnas.files.artifact import content_of, key_of
from kdnas.files.atomic import read_json
from kdnas.measure import count_params
from kdnas.measure.latency import CellPasses, cells_for, generates, latency_grid
from kdnas.measure.onnx import runtime_name
from kdnas.measure.quiet import how_measured
from kdnas.recipes.full import stage_on_labels
from kdnas.recipes.run_data import RunData
from kdnas.recipes.stages import longer_for
from kdnas.report.model import (
    VERSION,
    Baseline,
    Comparison,
    ControlModel,
    Details,
    Environment,
    EvaluatedModel,
    Kept,
    LatencyCell,
    PrunedFacts,
    Report,
    Seeds,
    Selection,
    Student,
    TrainedStage,
)
from kdnas.report.search_summary import search_of
from kdnas.report.searched import Search
from kdnas.report.trials_table import trial_table
from kdnas.report.verdict import verdict
from kdnas.runs.context import Context, run_step
from kdnas.runtime.machine import machine
from kdnas.space import AnyArchitecture, Candidate
from kdnas.students.checkpoint import load_student
from kdnas.students.pruning import architecture_of, sliced
from kdnas.students.pruning.facts import pruned_facts
from kdnas.study.study import evaluated
from kdnas.study.winner import Winner
from kdnas.tasks import TaskSpec
from kdnas.tasks.comparison import Scored, difference, share_kept
from kdnas.tasks.types import THRESHOLD
from kdnas.teachers.load import load_teacher, name_of_base, name_of_teacher
from kdnas.workflow.distilling.facts import data_facts, disagreement
from kdnas.workflow.preparing.check_teacher import evaluated_teacher
from kdnas.workflow.preparing.floor import floor
from kdnas.workflow.preparing.prepare import Prepared
from kdnas.workflow.preparing.scored_steps import key_of_scores

T = TypeVar("T")

# Steps about a saved student.
MEASURED, SCORED = "evaluate", "score"


@dataclass(frozen=True)
class Control:
    """A student that the winner is compared with, or the winner itself.

    Attributes:
        name: What a person reads.
        candidate: Its shape.
        folder: The checkpoint that stands for it.
        distilled: Whether its candidate's recipe trained it.
        title: The name of its folders.
        trainings: All its checkpoints, by seed.
    """

    name: str
    candidate: Candidate
    folder: Path
    title: str = ""
    trainings: dict[int, Path] = field(default_factory=dict)
    distilled: bool = True


def saved_model(folder: Path, spec: TaskSpec) -> PreTrainedModel:
    """A saved student with its head for a task; a pruned one in its sliced form."""
    return sliced(load_teacher(str(folder), spec).model)


def measured(prepared: Prepared, candidate: Candidate, folder: Path) -> dict[str, Any]:
    """Scores and costs of a saved student, measured once on each machine."""

    def compute() -> dict[str, Any]:
        model = saved_model(folder, prepared.inputs.data.spec)
        costs = _costs(prepared, candidate, model)
        pruned = pruned_facts(model, prepared.meter.length)
        found = {"costs": costs, **_scores(prepared, candidate, model)}
        return {**found, **({"pruned": pruned} if pruned else {})}

    return _once_a_machine(prepared, MEASURED, candidate, folder, compute)


def _costs(prepared: Prepared, candidate: Candidate, model: PreTrainedModel) -> dict[str, Any]:
    """Costs of a shape, measured once on each machine: whatever it learnt, it is equally fast."""
    context, shape = prepared.context, candidate.architecture
    if candidate.pruning:
        shape = architecture_of(model.config)
    timed = Candidate(shape, vocabulary=candidate.vocabulary)
    key = {"shape": timed.params, **context.machine}
    return run_step(
        context, f"costs {timed.label}", key, lambda: asdict(prepared.meter.at_length(model))
    )


def scored(prepared: Prepared, candidate: Candidate, folder: Path) -> dict[str, Any]:
    """The official scores of a saved student, computed once."""

    def compute() -> dict[str, Any]:
        return _scores(prepared, candidate, saved_model(folder, prepared.inputs.data.spec))

    return _once_a_machine(prepared, SCORED, candidate, folder, compute)


def _scores(prepared: Prepared, candidate: Candidate, model: PreTrainedModel) -> dict[str, Any]:
    """The official scores of a loaded student."""
    rows, spec = prepared.rows(candidate.vocabulary), prepared.inputs.data.spec
    exact = prepared.context.runtime.exact
    return scores_and_intervals(model, rows.evaluation, spec, exact, rows.pad_id)


def latency_table(prepared: Prepared, candidate: Candidate, folder: Path) -> list[dict[str, Any]]:
    """Latencies of a saved student and the teacher by batch size and length, measured once."""
    settings, meter = prepared.context.settings, prepared.meter
    longest, own = prepared.inputs.data.length, (settings.latency_batch, settings.latency_length)
    cells = cells_for(longest, *own)
    passes = CellPasses.of(settings.latency_repeats, writes=generates(meter.teacher))
    costs = measured(prepared, candidate, folder)["costs"]
    known = {own: costs["latency"]} if costs.get("latency") else {}  # older runs have none

    def compute() -> list[dict[str, Any]]:
        student, teacher = meter.timed(load_student(folder)), meter.timed_teacher
        return latency_grid(student, teacher, cells, settings.latency_quiet, passes, known)

    return _once_a_machine(prepared, "latency", candidate, folder, compute, cells=cells)


def _once_a_machine(
    prepared: Prepared,
    title: str,
    candidate: Candidate,
    folder: Path,
    compute: Callable[[], T],
    **key: Any,
) -> T:
    """A step about a saved student; latencies belong to a machine and are not read on another."""
    name, known = _step_of(prepared.context, title, candidate.params, folder)
    known = {**key, **known}
    if title in (MEASURED, SCORED):
        data = prepared.inputs.data
        known = key_of_scores(prepared.context, name, known, data.spec, data.evaluation)
    return run_step(prepared.context, name, known, compute)


def is_measured(context: Context, folder: Path) -> bool:
    """Whether the student of a folder has its scores already, on this machine."""
    made = key_of(folder) or {}
    if "candidate" not in made:
        return False
    keys = (_step_of(context, title, made["candidate"], folder) for title in (MEASURED, SCORED))
    steps = [context.run.step(*one) for one in keys]
    # By whatever metrics.
    return any(replace(s, key={**(key_of(s.path) or {}), **s.key}).done() for s in steps)


def _step_of(
    context: Context, title: str, params: Mapping[str, Any], folder: Path
) -> tuple[str, dict[str, Any]]:
    """Name and key of a step about a saved student, whose candidate has some params."""
    key = {"candidate": params, "content": content_of(folder), **context.machine}
    return " ".join((title, *folder.relative_to(context.run.folder).parts)), key


def comparisons(spec: TaskSpec, student: Scored, others: Mapping[str, Scored]) -> list[Comparison]:
    """The student against each other model, on the same rows."""
    found = {name: difference(spec, student, rows) for name, rows in others.items()}
    return [
        Comparison(name=name, difference=d.value, interval=d.interval, p=d.p)
        for name, d in found.items()
        if d is not None
    ]


def kept(spec: TaskSpec, student: Scored, teacher: Scored) -> Kept | None:
    """The share of the teacher's score that the student keeps."""
    share = share_kept(spec, student, teacher)
    return None if share is None else Kept(share=share.value, interval=share.interval)


def details(spec: TaskSpec, rows: Scored) -> Details | None:
    """What lies below the main score, for task types that have such a thing."""
    part, as_rows = rows[spec.evaluation[0]], spec.task_type.as_rows
    predicted, truth = as_rows(part["predicted"]), as_rows(part["truth"])
    found = spec.task_type.details(predicted, truth, spec.labels or ())
    return None if found is None else Details(**found)


def make_report(
    prepared: Prepared,
    study: Study | None,
    random: Study | None,
    winner: Winner,
    shipped: Control,
    controls: list[Control],
    selection: Selection | None,
    speedup: float | None,
    seeds: Mapping[str, Seeds | None],
) -> Report:
    """The report of a distilled student; measures what is not measured yet.

    Args:
        prepared: Of the run.
        study: The search's, if there was one.
        random: That of random search, if there is one.
        winner: The search's best trial, or the shape that was given.
        shipped: The student that ships, and where its checkpoint was made.
        controls: The other students that were trained in full.
        selection: How it was chosen among them, if it was.
        speedup: The limit that it was chosen under, if any.
        seeds: By the name of a student, the scores of its trainings with several seeds.
    """
    context, inputs, teacher = prepared.context, prepared.inputs, prepared.teacher
    spec, candidate, folder = inputs.data.spec, shipped.candidate, shipped.folder
    student = _student(prepared, study, winner, shipped, seeds.get(shipped.name))
    known = evaluated_teacher(context, inputs, teacher)
    lows = [low for low in (known["baseline"], floor(context, inputs)) if low]
    made = measured(prepared, candidate, folder)
    rows = made["rows"]
    others = {c.name: measured(prepared, c.candidate, c.folder)["rows"] for c in controls}
    others |= {low["name"]: low["rows"] for low in lows}
    grid = latency_table(prepared, candidate, folder)
    report = Report(
        version=VERSION,
        kdnas=__version__,
        **_task_fields(inputs.data),
        verdict="",
        speedup=student.speedup,
        speedup_wanted=speedup,
        teacher=_teacher_model(prepared, known, made["costs"]["teacher_latency_ms"]),
        student=student,
        baselines=[Baseline(name=b["name"], scores=b["scores"]) for b in lows],
        comparisons=comparisons(spec, rows, others),
        kept=kept(spec, rows, known["rows"]),
        details=details(spec, rows),
        selection=selection,
        data=data_facts(inputs.data),
        disagreement=disagreement(spec, inputs.data.scored, rows, known["rows"]),
        student_base=name_of_base(context.settings),
        controls=[_control_model(prepared, c, seeds.get(c.name)) for c in controls],
        search=_search(prepared, study, random, winner) if study else None,
        latency=[LatencyCell(**cell) for cell in grid],
        recipe=_stages(prepared, shipped, student.architecture),
        seconds=context.run.seconds(),
        environment=_environment(context),
    )
    return report.model_copy(update={"verdict": verdict(report)})


def _task_fields(data: RunData) -> dict[str, Any]:
    """What a report says of the task, and of the rows that are scored."""
    spec = data.spec
    return {
        "task": spec.name,
        "task_type": spec.type,
        "dataset": spec.hub.path if spec.hub else spec.name,
        "dataset_config": spec.hub.name if spec.hub else None,
        "dataset_name": " ".join(filter(None, (spec.benchmark, spec.name.upper()))),
        "evaluation": list(spec.evaluation),
        "examples": {split: part.row_count for split, part in data.evaluation.items()},
        "main_score": spec.main_score,
    }


def _student(
    prepared: Prepared, study: Study | None, winner: Winner, made: Control, seeds: Seeds | None
) -> Student:
    """What a report says of the student that ships."""
    fields, candidate = _model_fields(prepared, made), made.candidate
    settings = prepared.context.settings
    return Student(
        name=candidate.label,
        trial=_trial_of(study, settings, winner, candidate) if study else None,
        latency_iqr_ms=measured(prepared, candidate, made.folder)["costs"]["latency_iqr_ms"],
        threshold=(read_json(made.folder / "config.json") or {}).get(THRESHOLD),
        seeds=seeds,
        pruned=_pruned(prepared, made),
        content=content_of(made.folder),
        **fields,
    )


def _stages(prepared: Prepared, made: Control, shape: AnyArchitecture) -> list[TrainedStage]:
    """The stages that trained a student, with its epochs, and the recipe's where it had more."""
    settings = settings_of(prepared.context.settings, made.candidate.recipe)
    whole, usual = prepared.inputs.space.teacher, list(settings.full_stages)
    stages = [longer_for(shape, whole, stage, settings) for stage in usual]
    if not made.distilled:
        stages, usual = ([stage_on_labels(settings, some)] for some in (stages, usual))
    return [
        TrainedStage(
            **stage.model_dump(mode="json", exclude_defaults=True),
            recipe_epochs=None if stage.epochs == plain.epochs else plain.epochs,
        )
        for stage, plain in zip(stages, usual, strict=True)
    ]


def _pruned(prepared: Prepared, made: Control) -> PrunedFacts | None:
    """How a student was pruned; None where it was not."""
    pruning = made.candidate.pruning
    if not pruning:
        return None
    facts = measured(prepared, made.candidate, made.folder)["pruned"]
    return PrunedFacts(method=pruning.method, asked=pruning.target, **facts)


def _teacher_model(
    prepared: Prepared, known: Mapping[str, Any], latency_ms: float
) -> EvaluatedModel:
    """What a report says of the teacher, whose evaluation is `known`."""
    return EvaluatedModel(
        name=name_of_teacher(prepared.context.settings),
        architecture=prepared.inputs.space.teacher,
        params=count_params(prepared.teacher.model),
        macs=prepared.meter.teacher_macs,
        latency_ms=latency_ms,
        speedup=1.0,
        scores=known["scores"],
        intervals=known["intervals"],
        seconds_per_1000=known.get("seconds_per_1000"),
        own_costs=not prepared.teacher.recorded,
    )


def _control_model(prepared: Prepared, control: Control, seeds: Seeds | None) -> ControlModel:
    """What a report says of a control."""
    fields = _model_fields(prepared, control)
    return ControlModel(name=control.name, folder=control.folder.name, seeds=seeds, **fields)


def _environment(context: Context) -> Environment:
    """Machine, versions, and what latency was measured on."""
    settings = context.settings
    return Environment(
        **context.runtime.describe(),
        **machine(),
        transformers=version("transformers"),
        latency_batch=settings.latency_batch,
        latency_length=settings.latency_length,
        latency_runtime=runtime_name(settings.latency_runtime),
        latency_measured=how_measured(settings.latency_quiet),
    )


def _search(prepared: Prepared, study: Study, random: Study | None, winner: Winner) -> Search:
    """How the search went."""
    context, space = prepared.context, prepared.inputs.space
    settings, size = context.settings, len(space.candidates)
    choices = {"recipes": space.every_recipe, "vocabularies": space.vocabularies}
    on_offer = {name: names for name, names in choices.items() if len(names) > 1}
    tables = trial_table(study, settings), trial_table(random, settings) if random else None
    return search_of(context.run, settings, *tables, size, winner.trial, on_offer)


def _trial_of(study: Study, settings: Settings, winner: Winner, candidate: Candidate) -> int | None:
    """The trial that tried a candidate, the winner first; None where none did."""
    trials = [winner, *(Winner.of(trial, settings) for trial in evaluated(study))]
    return next((one.trial for one in trials if one.candidate == candidate), None)


def _model_fields(prepared: Prepared, made: Control) -> dict[str, Any]:
    """What an EvaluatedModel says of a checkpoint."""
    candidate, several = made.candidate, bool(prepared.context.settings.offered)
    shape: AnyArchitecture = candidate.architecture
    if candidate.pruning:
        shape = architecture_of(AutoConfig.from_pretrained(made.folder))
    found = measured(prepared, candidate, made.folder)
    costs = {name: found["costs"][name] for name in ("params", "macs", "latency_ms", "speedup")}
    scores = {name: found.get(name) for name in ("scores", "intervals", "seconds_per_1000")}
    recipe = candidate.recipe if several and made.distilled else None
    vocabulary = candidate.vocabulary if prepared.context.settings.vocabularies else None
    names = {"recipe": recipe, "vocabulary": vocabulary}
    return {"architecture": shape, **names, **costs, **scores}
