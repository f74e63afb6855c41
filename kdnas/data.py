"""The data of a run: what students are distilled on, what they are trained and scored on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kdnas.config import Settings
from kdnas.console import say
from kdnas.distill.masking import mask_tokens
from kdnas.distill.proxy import Indices, draw_proxy
from kdnas.errors import KdnasError
from kdnas.tasks import EncodedExamples, Examples, TaskData, TaskSpec, encode, load_corpus
from kdnas.tasks.sample import stratified_sample
from kdnas.teacher.load import longest_input


@dataclass(frozen=True)
class RunData:
    """Encoded examples.

    Attributes:
        spec: The task, its labels known.
        train: The task's training examples.
        evaluation: The examples that are scored, by split.
        distillation: What mini-KD and full KD see: the corpus, or the training examples, masked
            where that was asked for.
        proxy: The examples of `distillation` that mini-KD sees.
        examples: The texts of `train`.
        corpus_texts: Those of the corpus; empty where there is none.
        length: Tokens at which inputs are cut.
    """

    spec: TaskSpec
    train: EncodedExamples
    evaluation: dict[str, EncodedExamples]
    distillation: EncodedExamples
    proxy: Indices
    examples: Examples
    corpus_texts: list[str]
    length: int


def prepare_data(task: TaskData, settings: Settings, tokenizer: Any, config: Any) -> RunData:
    """Encodes a task's examples and the corpus for a teacher.

    Raises:
        KdnasError: The corpus cannot be read, the proxy would be too small, or latencies cannot
            be measured as asked.
    """
    check_latency_length(settings, config)
    length = input_length(settings, tokenizer, config)
    train = task.splits["train"]
    for split, examples in task.splits.items():
        if examples.dropped:
            say(f"{split}: {examples.dropped} unusable row(s) left out")
    if settings.max_train_rows and settings.max_train_rows < len(train):
        rows = settings.max_train_rows
        train = train.take(stratified_sample(train.labels, len(train), rows, settings.seed))
    encoded = encode(train, tokenizer, length)
    corpus, texts = encoded, []
    if settings.corpus:
        texts = load_corpus(settings.corpus, settings.corpus_rows)
        corpus = encode(Examples(texts), tokenizer, length)
    return RunData(
        task.spec,
        encoded,
        encode_evaluation(task, tokenizer, length),
        mask_tokens(corpus, tokenizer, settings.mask_probability, settings.seed),
        draw_proxy(corpus, settings.proxy_fraction, settings.batch_size, settings.seed),
        train,
        texts,
        length,
    )


def encode_evaluation(task: TaskData, tokenizer: Any, length: int) -> dict[str, EncodedExamples]:
    """The splits that a task is scored on.

    Raises:
        KdnasError: One of them has no labels.
    """
    present = [split for split in task.spec.evaluation if split in task.splits]
    for split in present:
        if task.splits[split].labels is None:
            raise KdnasError(f"task {task.spec.name!r}: its {split} split has no labels to score")
    return {split: encode(task.splits[split], tokenizer, length) for split in present}


def input_length(settings: Settings, tokenizer: Any, config: Any) -> int:
    """Tokens at which inputs are cut: what is asked for, as far as the model can read."""
    return min(settings.max_length, longest_input(config), int(tokenizer.model_max_length))


def check_latency_length(settings: Settings, config: Any) -> None:
    """Refuses to time inputs that do not fit.

    Raises:
        KdnasError: The teacher cannot read so many tokens.
    """
    longest = longest_input(config)
    if settings.latency_length > longest:
        raise KdnasError(
            f"--latency-length is {settings.latency_length}; the teacher reads at most {longest}"
        )
