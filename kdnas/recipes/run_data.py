"""The data of a run: examples to distil on, to train on and to score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdnas.config import Settings, has_general_stages, proxy_has_labels
from kdnas.distillation.batches import DECODER_MULTIPLE, PAD_MULTIPLE, padded
from kdnas.errors import KdnasError
from kdnas.measure.onnx import require_onnx
from kdnas.recipes.similar_texts import similar_pairs
from kdnas.runtime.console import say
from kdnas.tasks import (
    EncodedExamples,
    Examples,
    TaskData,
    TaskSpec,
    TaskType,
    encode,
    read_corpus,
)
from kdnas.tasks.class_weights import with_class_weights
from kdnas.tasks.encode import Indices
from kdnas.tasks.formats.corpus import Corpus
from kdnas.tasks.sampling import draw_proxy, stratified_sample, training_sample
from kdnas.teachers.sound import check_inputs
from kdnas.teachers.tokenizer import longest_input, longest_target

# Indices of so many rows to train on, by a seed.
Draw = Callable[[Examples, int, int], NDArray[np.int64]]
CORPUS_SEED = 0
MOST_SPARE = 1000


@dataclass(frozen=True)
class RunData:
    """Encoded examples.

    Attributes:
        train: The task's training examples.
        evaluation: The examples that are scored, by split.
        scored: Their texts, by split.
        distillation: What mini-KD's proxy is drawn from: the corpus, or without one, or where
            `proxy_has_labels`, the training examples, or the `further` ones where they are more and
            predictions are not scored; masked where that was asked for.
        corpus: The corpus, masked likewise; None where there is none, or for models that write.
        proxy: The examples of `distillation` that mini-KD sees.
        examples: The texts of `train`.
        corpus_texts: Those of the corpus; empty where there is none.
        held_out: The texts of all splits but the training one.
        tokenizer: The teacher's.
        length: Tokens at which inputs are cut.
        spare: Training examples that `max_train_rows` leaves out, at most 1,000 of them.
        assumed: How files were read where that is not the usual way.
        options: By which the task's type encodes.
        further: Texts beside the task's, labelled by a black-box teacher; None where there are
            none, as for `further_texts`.
        proxy_is_own: Whether `distillation` are the task's own rows.
        spare_texts: The texts of `spare`.
        stands_in: The evaluation split that is a tenth of the training rows; None where all have
            files of their own.
        needs_enough: Whether the run began when few `spare` examples were never used, and windows
            counted as examples: it keeps the rows that it has.
    """

    spec: TaskSpec
    train: EncodedExamples
    evaluation: dict[str, EncodedExamples]
    scored: dict[str, Examples]
    distillation: EncodedExamples
    corpus: EncodedExamples | None
    proxy: Indices
    examples: Examples
    corpus_texts: list[str]
    held_out: frozenset[str]
    tokenizer: Any
    length: int
    spare: EncodedExamples | None = None
    assumed: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    further: EncodedExamples | None = None
    further_texts: Examples | None = None
    proxy_is_own: bool = True
    spare_texts: Examples | None = None
    stands_in: str | None = None
    needs_enough: bool = False


def prepare_data(
    task: TaskData,
    settings: Settings,
    tokenizer: Any,
    config: Any,
    draw: Draw = training_sample,
) -> RunData:
    """Encodes a task's examples and the corpus for a teacher; `draw` chooses `max_train_rows`.

    Raises:
        KdnasError: The corpus cannot be read, the proxy would be too small, latencies cannot be
            measured as asked, or the tokenizer gives what the teacher cannot read.
    """
    _check_latency(settings, config)
    length = input_length(settings, tokenizer, config)
    options = encode_options(settings, task.spec.task_type, config)
    train, few = _drawn_rows(task.splits["train"], settings, draw)
    spare = None if few is None else encode(few, tokenizer, length, "selection", options)
    encoded = encode(train, tokenizer, length, "train", options)
    encoded = with_class_weights(encoded, task.spec, settings.class_weights)
    given = read_corpus(settings.corpus, settings.corpus_rows) if settings.corpus else Corpus([])
    corpus = None
    # Without targets, texts teach no decoder.
    if given.texts and not task.spec.task_type.generates:
        share = _share_of_pairs(settings)
        corpus = encode_corpus(given.texts, share, tokenizer, length, task.spec.type, options)
    further = None
    if task.further is not None:
        further = encode(task.further, tokenizer, length, "further texts", options)
    seen = _rows_of_proxy(encoded, corpus, further, settings)

    def masked(data: EncodedExamples) -> EncodedExamples:
        # A corpus's masks, like its texts, are the same for all seeds: its students serve them all.
        seed = CORPUS_SEED if data is corpus else settings.seed
        return mask_tokens(data, tokenizer, settings.mask_probability, seed)

    others = [examples for split, examples in task.splits.items() if split != "train"]
    distillation = masked(seen)
    evaluation = encode_evaluation(task, tokenizer, length, options)
    for part in (encoded, distillation, *evaluation.values(), further):
        if part is not None:
            check_inputs(part, config)
    return RunData(
        task.spec,
        encoded,
        evaluation,
        {split: task.splits[split] for split in evaluation},
        distillation,
        None if corpus is None else check_inputs(masked(corpus), config),
        draw_proxy(seen, settings.proxy_fraction, settings.batch_size, settings.seed),
        train,
        given.texts,
        frozenset(text for e in others for text in (*e.text, *(e.text_pair or ()))),
        tokenizer,
        length,
        spare,
        (*task.assumed, *given.assumed),
        options,
        further,
        task.further,
        proxy_is_own=seen is encoded,
        spare_texts=few,
        stands_in=task.held_out,
    )


def _check_latency(settings: Settings, config: Any) -> None:
    """Refuses a latency that cannot be measured."""
    if settings.latency_runtime == "onnx":
        require_onnx("--latency-runtime onnx")
    if settings.latency_length > longest_input(config):
        raise KdnasError(
            f"invalid --latency-length {settings.latency_length}: the teacher reads "
            f"{longest_input(config)}"
        )


def _drawn_rows(rows: Examples, settings: Settings, draw: Draw) -> tuple[Examples, Examples | None]:
    """Rows to train on, and of those that `max_train_rows` leaves out at most 1,000 spare ones."""
    if not settings.max_train_rows or settings.max_train_rows >= len(rows):
        return rows, None
    chosen = draw(rows, settings.max_train_rows, settings.seed)
    left = rows.take(np.setdiff1d(np.arange(len(rows)), chosen))
    few = left.take(stratified_sample(left, min(MOST_SPARE, len(left)), settings.seed))
    return rows.take(chosen), few


def _share_of_pairs(settings: Settings) -> float:
    """How much of a corpus is read in pairs: where general stages read it by default half."""
    if settings.corpus_pairs is not None:
        return settings.corpus_pairs
    return 0.5 if has_general_stages(settings) else 0.0


def _rows_of_proxy(
    own: EncodedExamples,
    corpus: EncodedExamples | None,
    further: EncodedExamples | None,
    settings: Settings,
) -> EncodedExamples:
    """What mini-KD's proxy is drawn from, see `RunData.distillation`."""
    if further is not None and len(further) > len(own) and not settings.scores_agreement:
        return further
    return own if corpus is None or proxy_has_labels(settings) else corpus


def encode_options(settings: Settings, kind: TaskType, config: Any) -> dict[str, Any]:
    """By which a type of task encodes for a model: from settings and the model's config.

    Raises:
        KdnasError: The longest target is longer than the model's decoder reads.
    """
    given = {name: getattr(settings, name) for name in kind.encode_settings}
    if "max_target_length" in given:
        given["max_target_length"] = _target_length(settings, config)
    return kind.encode_options(given, config)


def _fitting(longest: int, multiple: int) -> int:
    """The longest padded batch that has no more tokens."""
    return longest // multiple * multiple


def _target_length(settings: Settings, config: Any) -> int:
    """Tokens at which targets are cut: the default is no more than the decoder has positions."""
    asked, longest = settings.max_target_length, longest_target(config)
    if asked > longest and asked != Settings.model_fields["max_target_length"].default:
        raise KdnasError(
            f"invalid --max-target-length {asked:,}: the decoder has {longest:,} positions; "
            f"give at most {longest:,}"
        )
    length, multiple = min(asked, longest), DECODER_MULTIPLE
    return length if padded(length, multiple) <= longest else _fitting(longest, multiple)


def encode_corpus(
    texts: list[str],
    pairs: float,
    tokenizer: Any,
    length: int,
    task_type: str,
    options: Mapping[str, Any] | None = None,
) -> EncodedExamples:
    """The texts of a corpus, a share of them in pairs with similar ones."""
    if not pairs:
        return encode(Examples(texts, task_type=task_type), tokenizer, length, "corpus", options)
    alone, both = similar_pairs(texts, pairs)
    singles = Examples(alone, task_type=task_type)
    joined = Examples([a for a, _ in both], [b for _, b in both], task_type=task_type)
    parts = [
        encode(part, tokenizer, length, name, options)
        for name, part in (("corpus", singles), ("corpus, pairs", joined))
        if len(part)
    ]
    return parts[0].joined(parts[1]) if len(parts) == 2 else parts[0]


def encode_evaluation(
    task: TaskData, tokenizer: Any, length: int, options: Mapping[str, Any] | None = None
) -> dict[str, EncodedExamples]:
    """The splits that a task is scored on.

    Raises:
        KdnasError: One of them has no labels.
    """
    present = [split for split in task.spec.evaluation if split in task.splits]
    for split in present:
        if task.splits[split].labels is None:
            raise KdnasError(f"task {task.spec.name!r}: its {split} split has no labels to score")
    parts = {split: task.splits[split] for split in present}
    return {name: encode(part, tokenizer, length, name, options) for name, part in parts.items()}


def input_length(settings: Settings, tokenizer: Any, config: Any) -> int:
    """Tokens at which inputs are cut: --max-length, or less where the model cannot read as many.

    Raises:
        KdnasError: The model reads too few.
    """
    longest = longest_input(config)
    asked = min(settings.max_length, longest, int(tokenizer.model_max_length))
    # A batch is padded to a multiple, which must fit, too.
    length = asked if padded(asked) <= longest else _fitting(longest, PAD_MULTIPLE)
    if not length:
        raise KdnasError(
            f"the teacher reads {longest} tokens at most; give one that reads {PAD_MULTIPLE}"
        )
    if length < settings.max_length:
        say(
            f"--max-length is {settings.max_length:,}; inputs are cut at {length} tokens, as far "
            "as the teacher reads"
        )
    return length


def mask_tokens(
    data: EncodedExamples, tokenizer: Any, probability: float, seed: int
) -> EncodedExamples:
    """The data with some tokens masked, once and for all; special tokens never are.

    Raises:
        KdnasError: The tokenizer has no mask token.
    """
    if not probability:
        return data
    if tokenizer.mask_token_id is None:
        raise KdnasError(
            f"invalid --mask-probability {probability}: the teacher's tokenizer has no mask token; "
            "leave it out"
        )
    rng = np.random.default_rng(seed)
    hidden = rng.random(len(data.input_ids)) < probability
    hidden &= ~np.isin(data.input_ids, tokenizer.all_special_ids)
    ids = np.where(hidden, tokenizer.mask_token_id, data.input_ids).astype(data.input_ids.dtype)
    return replace(data, input_ids=ids)
