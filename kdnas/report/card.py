"""The model card that travels with the student: its text, and metadata as the hub reads them.

The metadata's schema: https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from kdnas.config import Settings
from kdnas.files.atomic import read_json
from kdnas.measure.latency import NEW_TOKENS
from kdnas.report.about import every_setting, labels_in_words, shown
from kdnas.report.family import family_table
from kdnas.report.model import Report, TrainedStage
from kdnas.report.origin import made_in_words
from kdnas.runtime.formatting import as_score, in_millions, several
from kdnas.students.checkpoint import CARD
from kdnas.tasks import TASK_TYPES, embedded_teacher
from kdnas.teachers.load import EMBEDDED_NAME

TEMPLATE = Path(__file__).parent / "templates" / "card.md"
TAGS, OF_A_SEARCH = ["kdnas", "knowledge-distillation"], "neural-architecture-search"
# What the metadata tell of a search, by its fields.
SEARCH = {"sampler": "sampler", "trials": "seen", "space": "space", "seed": "seed"}
DATA = {
    "corpus": "a corpus",
    "task": "the task's rows",
    "transfer": "a transfer set",
    "pseudo-labels": "the task's rows with targets by the teacher",
}
HUB_SECONDS = 3.0
# Options that name folders, services or the machine of whoever ran it, or stand elsewhere.
PLACES = {
    *("teacher", "task", "out", "data_dir", "corpus", "general_teacher", "storage", "study"),
    *("teacher_predictions", "student_base", "learn_from"),
    *("tasks", "stages", "recipes", "offered", "cache_limit", "track", "worker_timeout"),
    *("threads", "jobs", "device", "force"),
}
# Names of folders of the transformers trainer, which configs remember.
CHECKPOINT = re.compile(r"(^|/)checkpoint-\d+$")


def model_card(report: Report, settings: Settings | None = None) -> str:
    """The text of the card; `settings` are those of its run, where they are known."""
    teacher, *others = report.models
    card = ModelCard.from_template(
        card_data(report),
        template_path=str(TEMPLATE),
        heading=html.escape(_name(report), quote=False),
        report=report,
        pruned=report.student.pruned,
        family=family_table(report),
        seed=_seed(report, settings),
        environment=report.environment,
        written=f" read, {NEW_TOKENS} written" if TASK_TYPES[report.task_type].generates else "",
        long_texts=TASK_TYPES[report.task_type].long_texts,
        made=made_in_words(report),
        teacher=_teacher(report),
        auto_class=TASK_TYPES[report.task_type].auto_class.__name__,
        answer=TASK_TYPES[report.task_type].torch_answer(report.student.threshold),
        models=[("this student", report.student), teacher, *others[1:]],
        metrics=list(report.student.scores),
        stages="; ".join(map(_stage, report.recipe)),
        hyperparameters=[(stage.name, _hyperparameters(stage)) for stage in report.recipe],
        options=[] if settings is None else _options(settings),
        labels=lambda split: _cell(labels_in_words(split)),
        assumed=[_cell(line) for line in report.data.assumed] if report.data else [],
        params=lambda model: in_millions(model.params),
        several=several,
        as_score=as_score,
    )
    return f"{card}\n"


def card_data(report: Report) -> ModelCardData:
    """The metadata; what is not known is left out."""
    search, results = report.search, _results(report)
    on_hub = report.dataset_config or "/" in report.dataset
    return ModelCardData(
        model_name=_name(report),
        eval_results=results,
        library_name="transformers",
        pipeline_tag=TASK_TYPES[report.task_type].pipeline_tag,
        **origin_of(report.student_base or report.teacher.name),
        datasets=[report.dataset] if on_hub else None,
        metrics=sorted({result.metric_type for result in results}),
        tags=[*TAGS, *([OF_A_SEARCH] if search else [])],
        widget=_widget(report),
        kdnas={
            "version": report.kdnas,
            "architecture": report.student.name,
            "speedup": report.speedup,
            **({key: getattr(search, name) for key, name in SEARCH.items()} if search else {}),
        },
    )


def _seed(report: Report, settings: Settings | None) -> int | None:
    """The seed of the run, where it is known."""
    if report.search:
        return report.search.seed
    return settings.seed if settings else None


def _widget(report: Report) -> list[dict[str, str]] | None:
    """A training text for the hub's widget, which takes no pairs."""
    example = report.data.example if report.data else []
    return [{"text": example[0]}] if len(example) == 1 else None


def _results(report: Report) -> list[EvalResult]:
    results, task = [], TASK_TYPES[report.task_type]
    metrics = task.every_metric
    for key, value in report.student.scores.items():
        name, _, of_class = key.partition(" (")  # `f1 (spam)`
        plain, split = name, report.evaluation[0]
        if (
            name not in task.every_metric
        ):  # of several splits: `accuracy_matched` on validation_matched
            known = {s: plain.removesuffix(f"_{s.partition('_')[2]}") for s in report.evaluation}
            split, name = next((s, m) for s, m in known.items() if m in metrics)
        metric = metrics[name]
        results.append(
            EvalResult(
                task_type=task.pipeline_tag,
                task_name=task.hub_name,
                dataset_type=report.dataset,
                dataset_name=report.dataset_name,
                dataset_config=report.dataset_config,
                dataset_split="train" if report.data and report.data.stands_in == split else split,
                metric_type=metric.hub_type,
                metric_name=f"{metric.hub_name} ({of_class}" if of_class else metric.hub_name,
                metric_value=value,
            )
        )
    return results


def _stage(stage: TrainedStage) -> str:
    losses = [name for name, weight in stage.losses.items() if weight]
    epochs = several(format(stage.epochs, "g"), "epoch")
    if stage.recipe_epochs is not None:
        epochs += f", {stage.recipe_epochs:g} in the recipe, more for a small student,"
    return f"{stage.name} ({', '.join(losses)}; {DATA[stage.data]}; {epochs} at {stage.lr:g})"


def _hyperparameters(stage: TrainedStage) -> str:
    values = stage.model_dump(mode="json", exclude={"name"}, exclude_none=True)
    return _cell(", ".join(f"{key} {shown(value)}" for key, value in values.items()))


def _options(settings: Settings) -> list[tuple[str, str]]:
    """The options of a run by panel, without what only its machine knows."""
    panels: dict[str, list[str]] = {}
    for panel, name, value in every_setting(settings):
        if name not in PLACES:
            panels.setdefault(panel, []).append(f"{name} {_without_folders(shown(value))}")
    return [(panel, _cell(", ".join(values))) for panel, values in panels.items()]


def _without_folders(value: str) -> str:
    """A setting, or several with commas between them, without folders of this machine."""
    parts = value.split(",")
    return ",".join(Path(part).name if Path(part).is_absolute() else part for part in parts)


def _cell(text: str) -> str:
    """Text of other hands as a cell or a line of Markdown and HTML."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def _teacher(report: Report) -> str:
    """The teacher's name without the folders of this machine."""
    name = report.teacher.name
    return Path(name).name if Path(name).is_absolute() else name


def _name(report: Report) -> str:
    size = report.student.architecture.label.partition(" ")[0]
    teacher = Path(_teacher(report)).name
    pruned = report.student.pruned
    how = f"-{pruned.method}-{pruned.asked.rpartition(',')[2].strip('%')}" if pruned else ""
    return f"{teacher}-{report.task}-{size}{how}"


def origin_of(teacher: str) -> dict[str, Any]:
    """What the card and config of a teacher (hub id or folder) say of its origin.

    Returns:
        `base_model`, the hub id of the teacher or of what a local teacher was trained from, and
        the teacher's `license` and `language`; None for what is not known.
    """
    folder = Path(teacher)
    if folder.is_dir() or folder.is_absolute():
        data = _card_in(folder)
        config = read_json(folder / "config.json") or {}
        names = [data.get("base_model"), config.get("_name_or_path")]
    else:
        data, names = _card_of(teacher), [teacher]
    base = next(filter(_is_hub_id, names), None)
    return {"base_model": base, "license": data.get("license"), "language": data.get("language")}


def _is_hub_id(name: Any) -> bool:
    """Whether a name can be one: `bert-base-uncased` or `org/model`, and no local folder."""
    if not isinstance(name, str) or not name or Path(name).exists():
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") <= 1 and not CHECKPOINT.search(name)


def _card_of(teacher: str) -> dict[str, Any]:
    """The metadata of a hub model: of the installed package, or from the hub."""
    try:
        if teacher == EMBEDDED_NAME:
            return _card_in(embedded_teacher())
        known: Any = HfApi().model_info(teacher, timeout=HUB_SECONDS).card_data
        return dict(known.to_dict()) if known else {}
    except Exception:  # no package, no network, no access: our card then says less
        return {}


def _card_in(folder: Path) -> dict[str, Any]:
    try:
        return dict(ModelCard.load(folder / CARD, ignore_metadata_errors=True).data.to_dict())
    except Exception:  # no card, or one that the hub's reader refuses
        return {}
