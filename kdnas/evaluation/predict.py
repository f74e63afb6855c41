"""Labels for texts: `kdnas predict`, and `kdnas.predict` in Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from kdnas.config import Settings, load_settings
from kdnas.distillation import training
from kdnas.distillation.batches import PAD_MULTIPLE, padded
from kdnas.errors import KdnasError
from kdnas.evaluation.early import check_model
from kdnas.evaluation.texts import Row, is_paired, rows_of, task_of
from kdnas.recipes.run_data import encode_options
from kdnas.runs.run_folder import holds_run
from kdnas.runs.student import tell_unfinished
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.runtime.jobs import job
from kdnas.runtime.shown import printable
from kdnas.students.checkpoint import check_files, load_checked
from kdnas.students.pruning import sliced
from kdnas.tasks import Examples, TaskSpec, TaskType, encode, task_type_of
from kdnas.tasks.encode import padding_id
from kdnas.tasks.examples import shown
from kdnas.tasks.types import threshold_of
from kdnas.teachers.load import check_family, load_config, load_teacher
from kdnas.teachers.sound import check_inputs
from kdnas.teachers.tokenizer import longest_input

CHUNK = 512
FIRST_CHUNK = 32  # so that the first answers come soon

# `text`, where known `text_pair` and `id`, and the answer: `label`, `score`, `probabilities`.
Prediction = dict[str, Any]


@dataclass(frozen=True)
class Classifier:
    """A model with a trained head."""

    model: PreTrainedModel
    tokenizer: Any
    length: int  # tokens at which inputs are cut
    runtime: Runtime  # in fp32
    options: Mapping[str, Any]  # by which the task's type encodes
    spec: TaskSpec | None = None  # of the run that it comes from

    @property
    def task_type(self) -> TaskType:
        return task_type_of(self.model.config)

    @property
    def labels(self) -> list[str]:
        """Names of the classes; empty where there are none."""
        return self.task_type.output_names(self.model.config) or []


@job(alone=False)
def predict(
    model: str | PathLike[str],
    texts: str | Sequence[str] | Sequence[Sequence[str]],
    *,
    pairs: str | Sequence[str] | None = None,
    probabilities: bool = False,
    device: str | None = None,
    threads: int | str | None = None,
) -> list[Prediction]:
    """Labels texts with a student, or any other classifier of a supported family.

    Args:
        model: A run folder, a checkpoint folder or a hub id.
        texts: One text or several; what is longer than the model reads is cut. For token
            classification also lists of words.
        pairs: The second texts, for a task on pairs.
        probabilities: Also give what a black-box teacher's file needs: for token classification the
            `words` and the `probabilities` of each one's tags; for question answering the `starts`
            and `ends`, lists of [character, probability], with None for no answer.
        device: `cpu`, `cuda`, `mps`; default: the best there is.
        threads: CPU threads; default: torch's.

    Returns:
        For each text, in order, `{"text", "label", "score", "probabilities"}`; for multi-label
        `{"text", "labels", "probabilities"}`; for a regression `{"text", "score"}`; for token
        classification `{"text", "entities"}`, each of these `{"type", "text", "start", "end",
        "score"}`; for question answering `{"text", "text_pair", "answer", "score", "start",
        "end"}`, with places in the second text, the context, and an empty answer for none; for
        sequence-to-sequence `{"text", "generated"}`.

    Raises:
        KdnasError: The model cannot be used or has no head, texts and pairs do not match, or
            probabilities are asked of a model that writes.
    """
    if not isinstance(texts, Iterable):
        raise KdnasError(
            f"invalid texts, {type(texts).__name__}: expected a text or a list of texts"
        )
    classifier = load_classifier(model, device=device, threads=threads)
    seconds = [pairs] if isinstance(pairs, str) else pairs
    given = [texts] if isinstance(texts, str) else list(texts)
    rows = rows_of(given, seconds, classifier.task_type)
    return list(predict_rows(classifier, rows, probabilities=probabilities))


def load_classifier(
    model: str | PathLike[str], *, device: str | None = None, threads: int | str | None = None
) -> Classifier:
    """Loads the student of a run, a checkpoint folder or a hub id.

    Raises KdnasError where it is not there, not finished, damaged, or without a head.
    """
    check_model(fspath(model))
    place = Path(model)
    is_run = (place / "config.yaml").exists()
    if is_run:
        tell_unfinished(place)
    runtime = start_runtime(device=device, precision="fp32", threads=threads)
    loaded, tokenizer = load_checked(place) if is_run else _load_checkpoint(fspath(model))
    settings = _settings_of(place)
    longest = longest_input(loaded.config)
    length = min(longest, int(tokenizer.model_max_length))
    if settings is not None:  # what was trained and scored
        length = min(length, settings.max_length)
    # A batch is padded to a multiple, which must fit, too.
    length = length if padded(length) <= longest else longest // PAD_MULTIPLE * PAD_MULTIPLE
    options = _options_of(loaded.config, settings)
    return Classifier(loaded, tokenizer, length, runtime, options, task_of(settings))


def predict_rows(
    classifier: Classifier,
    rows: Iterable[Row],
    chunk: int = CHUNK,
    *,
    probabilities: bool = False,
) -> Iterator[Prediction]:
    """A prediction for each row, in order, as rows come in.

    Args:
        chunk: Rows that are read before they are answered; similar lengths share a batch.
        probabilities: As `predict` takes it.

    Raises:
        KdnasError: A row has a second text and the task none, or the reverse; or probabilities are
            asked of a model that writes.
    """
    if probabilities and classifier.task_type.generates:
        raise KdnasError(
            f"--probabilities does not go with {classifier.task_type.name}: the model writes a "
            "text and gives no probabilities; leave it out"
        )
    source, size = iter(rows), min(FIRST_CHUNK, chunk)
    while part := list(islice(source, size)):
        yield from _predict_chunk(classifier, part, probabilities)
        size = chunk


def prediction_line(classifier: Classifier, said: Prediction) -> str:
    """The answer and then the text, in one line."""
    answer = classifier.task_type.answer_line(said, classifier.labels)
    texts = " | ".join(said[name] for name in classifier.task_type.told_texts if name in said)
    return printable("  ".join(filter(None, (answer, " ".join(texts.split())))))


def _predict_chunk(
    classifier: Classifier, rows: Sequence[Row], probabilities: bool
) -> Iterator[Prediction]:
    paired, spec = any(row.text_pair is not None for row in rows), classifier.spec
    if spec and is_paired(spec) and any(row.text_pair is None for row in rows):
        raise KdnasError(
            f"task {spec.name!r} reads pairs; give a second text for each text (--text-pair)"
        )
    if spec and not is_paired(spec) and paired:
        raise KdnasError(f"task {spec.name!r} reads one text a row; leave out the second texts")
    model, tokenizer, kind = classifier.model, classifier.tokenizer, classifier.task_type
    if paired and kind.most_texts < 2:
        raise KdnasError(
            f"the model is for {kind.name}, which reads one text a row; give no second"
        )
    lone = next((row for row in rows if row.text_pair is None), None)
    if kind.least_texts > 1 and lone:
        raise KdnasError(
            f"the model is for {kind.name}, which reads two texts a row; give a second text for "
            "each text (--text-pair)"
        )
    if paired and lone:
        raise KdnasError(
            f"the text {shown(lone.text)!r} has no second text, and others have one; give each one "
            "(empty where there is none), or none"
        )
    words = [kind.read_text(row.text)[1] if row.words is None else row.words for row in rows]
    examples = Examples(
        [row.text for row in rows],
        [row.text_pair or "" for row in rows] if paired else None,
        task_type=kind.name,
        words=[spans for spans in words if spans is not None] or None,
        classes=tuple(classifier.labels),
    )
    data = encode(examples, tokenizer, classifier.length, options=classifier.options)
    check_inputs(data, model.config)
    pad_id = padding_id(model.config, tokenizer)
    logits = training.predict(model, data, classifier.runtime, pad_id=pad_id).numpy()
    threshold = threshold_of(model.config)
    said = kind.row_answers(logits, classifier.labels, data, threshold)
    more: list[Prediction] = [{}] * len(rows)
    if probabilities:
        more = kind.row_probabilities(logits, classifier.labels, data)
    for row, answer, beside in zip(rows, said, more, strict=True):
        known = {"id": row.id, "text": row.text, "text_pair": row.text_pair}
        there = {name: value for name, value in known.items() if value is not None}
        yield {**there, **answer, **beside}


def _load_checkpoint(name: str) -> tuple[PreTrainedModel, Any]:
    check_files(name)
    config = load_config(name)
    problem, kind = getattr(config, "problem_type", None), task_type_of(config)
    check_family(name, config, kind)
    if kind.problem_type and problem not in (None, kind.problem_type):
        raise KdnasError(f"{name} is for {problem}, which kdnas does not know yet")
    teacher = load_teacher(name, None)
    if not teacher.has_head:
        raise KdnasError(
            f"{name} has no trained head, so its outputs mean nothing; give a student of kdnas "
            "search, or a checkpoint that was fine-tuned for a task"
        )
    return sliced(teacher.model), teacher.tokenizer


def _settings_of(place: Path) -> Settings | None:
    """Those of the run that a folder is, or that its student lies in."""
    if not place.exists():  # a hub id is no folder below this one
        return None
    place = place.resolve()
    for folder in (place, *place.parents):
        if holds_run(folder) or (folder == place and (folder / "config.yaml").exists()):
            with suppress(KdnasError):  # of another version; the model works all the same
                return load_settings((), {}, folder / "config.yaml")
            return None
    return None


def _options_of(config: Any, settings: Settings | None) -> dict[str, Any]:
    """By which a run encodes; of a model from elsewhere, what its config says."""
    kind = task_type_of(config)
    if settings is None:
        return kind.encode_options({}, config)
    return encode_options(settings, kind, config)
