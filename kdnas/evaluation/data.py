"""What is evaluated: the tasks that are named, their data, and whether a checkpoint fits them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.evaluation.answers import telling_rows
from kdnas.recipes.run_data import encode_evaluation, encode_options, input_length
from kdnas.runtime.console import say
from kdnas.tasks import (
    EncodedExamples,
    Examples,
    TaskSpec,
    benchmark_names,
    encode,
    load_data,
    load_spec,
    load_specs,
)
from kdnas.tasks.class_weights import with_class_weights
from kdnas.tasks.defaults import with_type_defaults
from kdnas.tasks.encode import padding_id
from kdnas.tasks.load import open_source
from kdnas.tasks.sampling import training_sample
from kdnas.teachers.load import check_family, load_parts
from kdnas.teachers.sound import check_inputs
from kdnas.teachers.trained_head import (
    has_class,
    has_head,
    head_of_another_task,
    order_by_names,
    output_names,
)

_TOLD = 3  # outputs


@dataclass(frozen=True)
class Subject:
    """A checkpoint and a task."""

    model: str  # hub id or folder
    spec: TaskSpec  # its labels known
    splits: dict[str, EncodedExamples]  # what is scored
    tokenizer: Any
    config: Any
    length: int  # tokens at which inputs are cut
    options: Mapping[str, Any]  # by which the task's type encodes
    tuned: bool  # whether it has to be fine-tuned first
    held_out: bool  # whether a tenth of the training data stands in for a validation split
    label_map: Sequence[str] = ()  # the head's outputs in the order of the labels

    @property
    def pad_id(self) -> int:
        return padding_id(self.config, self.tokenizer)

    def encode(self, examples: Examples, name: str) -> EncodedExamples:
        data = encode(examples, self.tokenizer, self.length, name, self.options)
        return check_inputs(data, self.config)


def find_tasks(
    settings: Settings, tuned: bool | None, predict: bool, tests: bool = False
) -> list[TaskSpec]:
    """The tasks that `--task` names; `all`: those of GLUE that have data, with a notice of others.

    Args:
        tuned: Whether training data are needed; None: if there are several tasks.
        predict: Whether test splits are wanted, too.
        tests: Whether test splits are scored in place of the evaluation splits.

    Raises:
        KdnasError: No task is named, a name is unknown, or a named task has no data.
    """
    if not settings.task:
        raise KdnasError("--task is missing; name a task, several (a,b), all, or a YAML file")
    whole = settings.task == "all"
    names = benchmark_names() if whole else settings.task.split(",")
    loaded = load_specs([name.strip() for name in names], settings.tasks, "--task")
    specs = {name: spec.on_tests if tests else spec for name, spec in loaded.items()}
    needed = ["train"] if tuned or (tuned is None and len(specs) > 1 and not tests) else []
    missing: dict[str, str] = {}
    failed: dict[str, str] = {}  # hub data sets: each further attempt would take half a minute
    for name, spec in specs.items():
        place = spec.hub.path if spec.hub and settings.data_dir is None else name
        if reason := failed.get(place) or _problem(
            spec, settings.data_dir, [*needed, *(spec.evaluation if tests else ())]
        ):
            missing[name] = failed[place] = reason
    if missing:
        first = next(iter(missing.values()))
        found = f"no data for {', '.join(missing)}: {first}"
        if not whole or len(missing) == len(specs):
            raise KdnasError(found if len(missing) > 1 or whole else first)
        say(f"left out, {found}")
    there = [spec for name, spec in specs.items() if name not in missing]
    untested = [s.name for s in there if predict and not _test_splits(s, settings)]
    if untested and (not whole or len(untested) == len(there)):
        raise KdnasError(f"--predictions: no test file for {', '.join(untested)}")
    if untested:
        say(f"no test file, and so no predictions, for {', '.join(untested)}")
    return there


def prepare(model: str, spec: TaskSpec, settings: Settings, tuned: bool | None) -> Subject:
    """Reads the splits that are scored, and checks that the checkpoint can be scored on them.

    With `tuned` None it is fine-tuned if it has no head for the task. Raises KdnasError where
    checkpoint or data cannot be used, or it is not to be fine-tuned and has no head for the task.
    """
    config, tokenizer = load_parts(model)
    check_family(model, config, spec.task_type)
    settings = with_type_defaults(settings, spec)
    task = load_data(
        spec,
        settings.data_dir,
        splits=(),
        optional=spec.evaluation,
        skip_malformed=settings.skip_malformed,
        most_scored=settings.max_eval_rows,
    )
    if not task.splits:
        raise KdnasError(f"task {spec.name!r} has no {' or '.join(spec.evaluation)} split to score")
    words = settings.label_map.split(",") if settings.label_map else []
    tuned = _needs_tuning(model, config, task.spec, tuned, mapped=bool(words))
    length = input_length(settings, tokenizer, config)
    options = encode_options(settings, task.spec.task_type, config)
    splits = encode_evaluation(task, tokenizer, length, options)
    for data in splits.values():
        check_inputs(data, config)
    held_out = task.held_out is not None
    parts = (model, task.spec, splits, tokenizer, config, length, options)
    label_map = _label_map(words, model, config, task.spec, tuned=tuned)
    if not (tuned or label_map):
        _tell_positions(model, config, task.spec)
    return Subject(*parts, tuned, held_out, label_map)


def read_train(subject: Subject, settings: Settings) -> EncodedExamples:
    """The training examples, at most `max_train_rows` of them, with weights of classes.

    Raises KdnasError where there are none, or weights are asked for and the task takes none.
    """
    encoded = subject.encode(_train_texts(subject, settings), "train")
    return with_class_weights(encoded, subject.spec, settings.class_weights)


def read_telling(subject: Subject, settings: Settings) -> EncodedExamples:
    """The training examples that show how the outputs of a given head belong to the labels.

    Raises KdnasError where there are none.
    """
    train = _train_texts(subject, settings)
    return subject.encode(train.take(telling_rows(len(train), settings.seed)), "train")


def _train_texts(subject: Subject, settings: Settings) -> Examples:
    """The training examples, at most `max_train_rows` of them; KdnasError where there are none."""
    optional = subject.spec.evaluation if subject.held_out else ()
    task = load_data(
        subject.spec,
        settings.data_dir,
        splits=("train",),
        optional=optional,
        skip_malformed=settings.skip_malformed,
    )
    train, rows = task.splits["train"], settings.max_train_rows
    if rows and rows < len(train):
        train = train.take(training_sample(train, rows, settings.seed))
    return train


def read_tests(subject: Subject, settings: Settings) -> list[tuple[TaskSpec, str, EncodedExamples]]:
    """The test splits to predict, each with its task: the subject's, or a companion's.

    Raises KdnasError where a row of one cannot be read.
    """
    found = []
    for spec, splits in _test_splits(subject.spec, settings):
        data = load_data(spec, settings.data_dir, splits=splits, optional=(), skip_malformed=True)
        for split in splits:
            examples = data.splits[split]
            if examples.dropped:  # the others would stand at wrong places
                raise KdnasError(
                    f"task {spec.name!r}: {examples.dropped} row(s) of its {split} split are "
                    "malformed; a predictions file needs every row"
                )
            found.append((spec, split, subject.encode(examples, split)))
    return found


def _label_map(
    words: Sequence[str], model: str, config: Any, spec: TaskSpec, *, tuned: bool
) -> Sequence[str]:
    """A label map, where the head needs one: that of a config is often for the teacher alone.

    Heads that kdnas saved have the labels as the names of their outputs.
    """
    why = "a new head is trained" if tuned else ""
    if getattr(config, "kdnas_task_type", None) and order_by_names(config, spec):
        why = "its outputs have the names of the labels"
    if words and why:
        say(f"--label-map is left out for {model}: {why}")
    return () if why else words


def _tell_positions(model: str, config: Any, spec: TaskSpec) -> None:
    """Says which label an output is taken for where only its place tells."""
    labels = spec.labels or ()
    if not labels or order_by_names(config, spec):
        return
    outputs = output_names(config)[:_TOLD]
    pairs = [f"{name} for {label}" for name, label in zip(outputs, labels, strict=False)]
    more = " and so on" if len(labels) > len(pairs) else ""
    say(
        f"the outputs of {model} do not have the names of the labels and are taken in their "
        f"order, {', '.join(pairs)}{more}; --label-map gives another order"
    )


def _needs_tuning(
    model: str, config: Any, spec: TaskSpec, tuned: bool | None, *, mapped: bool
) -> bool:
    """Whether a checkpoint is fine-tuned; `mapped`: its outputs are matched by a label map.

    Raises KdnasError where it has no head for the task, or one of another, and needs it.
    """
    headed = has_head(config, spec)
    if tuned is False and not headed:
        wanted = f"with {spec.num_labels} output(s) " if spec.task_type.has_outputs else ""
        raise KdnasError(
            f"{model!r} has no head {wanted}for task {spec.name!r} ({_head_of(config, spec)}); "
            "give a checkpoint that was fine-tuned for it; kdnas evaluate fine-tunes this one if "
            "you leave out --no-fine-tune"
        )
    outputs = head_of_another_task(config, spec) if headed and not mapped else None
    if tuned is None and outputs:
        raise KdnasError(
            f"the outputs of {model!r} are called {outputs}, the classes of task {spec.name!r} "
            f"{', '.join(spec.labels or ())}; give --fine-tune to train it for the task, "
            "--label-map to say which is which, or --no-fine-tune to match them by position"
        )
    return not headed if tuned is None else tuned


def _head_of(config: Any, spec: TaskSpec) -> str:
    """What a checkpoint has in place of a head for a task."""
    if not has_class(config, spec.task_type):
        saved = ", ".join(config.architectures or ())
        return f"it was saved as {saved}" if saved else "its config names no architectures"
    problem = getattr(config, "problem_type", None)
    return f"its head has {config.num_labels}{f', for {problem}' if problem else ''}"


def _test_splits(spec: TaskSpec, settings: Settings) -> list[tuple[TaskSpec, list[str]]]:
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


def _problem(spec: TaskSpec, data_dir: Path | None, needed: Sequence[str]) -> str | None:
    """Why a task cannot be evaluated; None where it can."""
    try:
        source = open_source(spec, data_dir)
        lacking = [split for split in needed if not source.has(split)]
        if not any(source.has(split) for split in ("train", *spec.evaluation)):
            lacking = [spec.evaluation[0]]
        for split in lacking:
            source.read(split)  # raises, and names the missing file
    except KdnasError as error:
        return str(error)
    return None
