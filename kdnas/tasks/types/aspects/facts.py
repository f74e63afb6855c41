"""What is known of a kind of task before there are data: its entry, its head, its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from kdnas.tasks.types.metric import Metric


class Facts:
    """The facts that a kind of task states of itself, and the head of its models."""

    name: ClassVar[str]  # its key in `TASK_TYPES`
    head: ClassVar[str]  # what the names of its models' classes end with
    problem_type: ClassVar[str | None] = None  # the config's; None where transformers has none
    # Whether a config that names no problem_type may be of this type: so transformers reads them.
    unnamed_problem: ClassVar[bool] = True
    several_labels: ClassVar[bool] = False  # whether a row may have several, in several columns
    has_classes: ClassVar[bool] = True  # whether an entry lists class names, or its data have them
    has_outputs: ClassVar[bool] = True  # whether a head has outputs of a task's own
    whole_texts: ClassVar[bool] = True  # whether a model's logits are of whole rows
    needs_decoder: ClassVar[bool] = False  # whether its models are encoder-decoders
    generates: ClassVar[bool] = False  # whether predictions come from `generate`, not from logits
    smooths: ClassVar[bool] = False  # whether `task_loss` takes `smoothing` by name
    no_label: ClassVar[float] = -100  # the label that stands for none
    label_dtype: ClassVar[Any] = np.int64
    metrics: ClassVar[Mapping[str, Metric]]
    default_metrics: ClassVar[tuple[str, ...]]  # for an entry that names none, the main one first
    # By main metric, the one that comes before it where one of three classes or more is rare.
    metric_of_rare: ClassVar[Mapping[str, str]] = {}
    # Told beside the metrics of every task of the type: lower is better, in the labels' unit.
    errors: ClassVar[Mapping[str, Metric]] = {}
    # The metric that is 0 for whoever answers always the same; None where there is none.
    skill: ClassVar[str | None] = None
    # Of files beside the hub's sets: keys of FORMATS in `kdnas.tasks.formats.files`, the one that
    # is tried first ahead.
    formats: ClassVar[tuple[str, ...]] = ("table",)
    defaults: ClassVar[Mapping[str, Any]] = {}  # of settings of a run, where they differ
    # Those that need students with all heads, of a teacher whose layers are known.
    defaults_with_heads: ClassVar[Mapping[str, Any]] = {}
    # Keys of a task's entry that one of this type need not give, with their values.
    entry_defaults: ClassVar[Mapping[str, Any]] = {}
    least_texts: ClassVar[int] = 1  # that a row has
    most_texts: ClassVar[int] = 2
    example_texts: ClassVar[tuple[str, str]] = ("a text", "another")  # for `predict_example`
    predict_does: ClassVar[str] = "label texts"  # what it is for, as an imperative
    told_texts: ClassVar[tuple[str, ...]] = ("text", "text_pair")  # beside an answer, in one line
    beside_label: ClassVar[tuple[str, ...]] = ()  # columns that `label_cell` reads, where there
    long_texts: ClassVar[str] = "cut"  # what is done with those longer than a model is given
    # Whether the two texts of a pair are of one kind: either may come first.
    pairs_alike: ClassVar[bool] = True
    answers_by_id: ClassVar[bool] = False  # whether predictions name rows by their ids
    predictions_ending: ClassVar[str] = ".tsv"  # of a predictions file's name
    encode_settings: ClassVar[tuple[str, ...]] = ()  # settings of a run that `encode` takes by name
    has_threshold: ClassVar[bool] = False  # whether `choose_threshold` chooses one
    # That of models from elsewhere, whose config keeps none; None: a type's answers need none.
    given_threshold: ClassVar[float | None] = None
    has_bias: ClassVar[bool] = False  # whether `choose_bias` may
    # Of a file with a teacher's predictions: columns that `read_prediction` takes; none: no file.
    prediction_columns: ClassVar[tuple[str, ...]] = ()
    pipeline_tag: ClassVar[str]  # the hub's tag, also that of the pipeline of transformers
    hub_name: ClassVar[str]  # the hub's name of the task

    def predict_example(self, texts: int) -> str:
        """What `kdnas predict` takes behind a model whose rows have one text, or two."""
        first, second = self.example_texts
        pair = f" --text-pair '{second}'" if max(texts, self.least_texts) > 1 else ""
        return f"'{first}'{pair}"

    @property
    def every_metric(self) -> Mapping[str, Metric]:
        """The metrics and the errors."""
        return {**self.metrics, **self.errors}

    @property
    def auto_class(self) -> Any:
        """The class of transformers that loads a model with its head; a subclass may name one."""
        import transformers

        return getattr(transformers, f"AutoModel{self.head}")

    def is_head(self, class_name: str) -> bool:
        """Whether a class of transformers, by its name, is a model with a head for such tasks."""
        return class_name.endswith(self.head)

    def entry_problems(self, labels: Sequence[str] | None, metrics: Sequence[str]) -> Iterator[str]:
        """What is wrong in an entry of this type beside unknown metrics; nothing by default."""
        yield from ()

    def num_outputs(self, labels: Sequence[str]) -> int:
        """Outputs of the head: one for each class."""
        return len(labels)

    def head_config(self, labels: Sequence[str]) -> dict[str, Any]:
        """Config fields that describe the head."""
        # Where transformers has none for such heads, what a teacher's config says of another goes.
        fields: dict[str, Any] = {"num_labels": self.num_outputs(labels)}
        fields["problem_type"] = self.problem_type
        if self.has_classes:
            fields["id2label"] = dict(enumerate(labels))
            fields["label2id"] = {name: i for i, name in enumerate(labels)}
        return fields

    def output_names(self, config: Any) -> list[str] | None:
        """The class names in a model's config; None for a type without classes."""
        if not self.has_classes:
            return None
        return [str(config.id2label[i]) for i in range(config.num_labels)]
